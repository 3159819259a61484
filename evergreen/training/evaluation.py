"""The final evaluation: one model's predictions on rows that it has never seen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evergreen.config import EvaluationConfig
from evergreen.data.conform import suggestion
from evergreen.data.contract import Contract
from evergreen.errors import InputError
from evergreen.training import curves
from evergreen.training.bootstrap import mean_interval, metric_intervals
from evergreen.training.conformal import prediction_interval
from evergreen.training.gains import gain_per_row, outcome_table
from evergreen.training.metrics import metrics_for
from evergreen.training.predictions import Predictions
from evergreen.training.results import Evaluation, Interval, SliceResult
from evergreen.training.slices import slices_of

if TYPE_CHECKING:
    import pandas as pd


def check_evaluation(config: EvaluationConfig, contract: Contract) -> None:
    """Check, before any training, that the evaluation asks for what the table has.

    Raises
    ------
    InputError
        If a slice column, or a class named by an outcome, does not exist.
    """
    names = [column.name for column in contract.columns]
    for number, name in enumerate(config.slices):
        if name not in names:
            raise InputError(
                f"evaluation.slices[{number}]: there is no column {name!r}. "
                + suggestion(name, names)
            )
    if config.outcomes and contract.labels is not None:
        outcome_table(config.outcomes, contract.labels)


def evaluate(
    predictions: Predictions,
    frame: pd.DataFrame,
    contract: Contract,
    config: EvaluationConfig,
    seed: int,
) -> Evaluation:
    """Measure predictions on a conformed frame of the same rows, in the same order.

    Metrics, gain and slices come with bootstrap intervals; what cannot be measured is None.

    Raises
    ------
    InputError
        If a slice column, or a class named by an outcome, does not exist.
    ValueError
        If frame and predictions differ in their number of rows.
    """
    check_evaluation(config, contract)
    if len(frame) != len(predictions):
        raise ValueError(f"{len(frame)} rows, but predictions for {len(predictions)}")
    return Evaluation(
        task=contract.task,
        rows=len(predictions),
        labels=predictions.labels,
        positive=predictions.positive,
        confidence=config.confidence,
        metrics=_metrics(predictions, config, seed),
        gain=_gain(predictions, config, seed),
        gain_unit=config.unit,
        confusion=curves.confusion(predictions),
        calibration=curves.calibration(predictions, config.confidence),
        roc=curves.roc(predictions),
        precision_recall=curves.precision_recall(predictions),
        residuals=curves.residuals(predictions),
        slices=_slices(predictions, frame, contract, config, seed),
        prediction_interval=prediction_interval(predictions, config.confidence),
    )


def _metrics(predictions: Predictions, config: EvaluationConfig, seed: int) -> dict[str, Interval]:
    return metric_intervals(
        metrics_for("regression" if predictions.labels is None else "classification"),
        predictions,
        resamples=config.bootstrap,
        confidence=config.confidence,
        seed=seed,
    )


def _gain(predictions: Predictions, config: EvaluationConfig, seed: int) -> Interval | None:
    values = gain_per_row(predictions, config)
    if values is None:
        return None
    return mean_interval(
        values,
        groups=predictions.groups,
        resamples=config.bootstrap,
        confidence=config.confidence,
        seed=seed,
    )


def _slices(
    predictions: Predictions,
    frame: pd.DataFrame,
    contract: Contract,
    config: EvaluationConfig,
    seed: int,
) -> tuple[SliceResult, ...]:
    return tuple(
        SliceResult(
            column=part.column,
            value=part.value,
            rows=len(part.rows),
            metrics=_metrics(predictions.take(part.rows), config, seed),
        )
        for column in config.slices
        for part in slices_of(frame, contract, column, config.slice_bins)
    )
