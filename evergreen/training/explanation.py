"""Which input columns a model leans on, in the terms of the table, not of encoded features."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from evergreen.config import EvaluationConfig
from evergreen.data.conform import model_frame, target_values
from evergreen.data.contract import Contract
from evergreen.features.origins import feature_origins
from evergreen.training.metrics import Metric, metric_named, score
from evergreen.training.predictions import predict_inputs
from evergreen.training.results import Explanation, Importance
from evergreen.training.shap_values import NoShapError, shap_values

if TYPE_CHECKING:
    import pandas as pd
    from sklearn.pipeline import Pipeline

_REPEATS = 5

Permuted = dict[str, tuple[float | None, float | None]]  # mean and standard deviation


def explain(
    model: Pipeline,
    frame: pd.DataFrame,
    contract: Contract,
    *,
    metric: str,
    config: EvaluationConfig,
    seed: int,
) -> Explanation:
    """Measure each input column's importance on rows of a conformed frame with the target.

    Rows beyond ``config.importance_rows`` are left out by a seeded draw. Permutation importance
    (Breiman 2001) is what the metric named loses when the column is shuffled, in the metric's
    units. SHAP importance is the mean absolute SHAP value, averaged over classes and summed over
    the features made of the column; a feature made of several columns counts for each in equal
    parts. What cannot be computed is None.
    """
    sample = frame.iloc[explained_rows(len(frame), config, seed)]
    inputs, actual = model_frame(sample, contract), target_values(sample, contract)
    permuted = _permutation(
        model, inputs, actual, contract, metric_named(metric, contract.task), seed
    )
    shap: dict[str, float] | None = None
    method, reason = None, None
    try:
        shap, method = _shap(model, inputs)
    except NoShapError as error:
        reason = str(error)
    columns = [
        Importance(
            column=name,
            permutation=permuted[name][0],
            permutation_std=permuted[name][1],
            shap=None if shap is None else shap[name],
        )
        for name in inputs.columns
    ]
    columns.sort(key=lambda column: (-(column.permutation or 0.0), -(column.shap or 0.0)))
    return Explanation(
        metric=metric,
        rows=len(inputs),
        columns=tuple(columns),
        shap_method=method,
        shap_reason=reason,
    )


def explained_rows(
    rows: int, config: EvaluationConfig, seed: int
) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return the positions of those of so many rows that `explain` looks at, in its order."""
    if rows <= config.importance_rows:
        return np.arange(rows)
    return np.random.default_rng(seed).choice(rows, config.importance_rows, replace=False)


def _permutation(
    model: Pipeline,
    inputs: pd.DataFrame,
    actual: np.ndarray[Any, Any],
    contract: Contract,
    metric: Metric,
    seed: int,
) -> Permuted:
    """Shuffle each column some times, all its shuffles predicted at once.

    scikit-learn's `permutation_importance` computes the same with one prediction per shuffle,
    and a pipeline's prediction costs much the same for ten rows as for a thousand.
    """
    usual = score(metric, predict_inputs(model, inputs, actual, contract))
    if usual is None:
        return dict.fromkeys(map(str, inputs.columns), (None, None))
    rng = np.random.default_rng(seed)
    rows = len(inputs)
    copies = inputs.iloc[np.tile(np.arange(rows), _REPEATS)].reset_index(drop=True)
    truths = np.tile(actual, _REPEATS)
    importance: Permuted = {}
    for name in inputs.columns:
        order = np.concatenate([rng.permutation(rows) for _ in range(_REPEATS)])
        shuffled = copies.assign(**{name: inputs[name].to_numpy()[order]})
        predictions = predict_inputs(model, shuffled, truths, contract)
        parts = np.split(np.arange(rows * _REPEATS), _REPEATS)
        scores = [score(metric, predictions.take(part)) for part in parts]
        losses = [metric.sign * (usual - value) for value in scores if value is not None]
        importance[name] = (
            (float(np.mean(losses)), float(np.std(losses))) if losses else (None, None)
        )
    return importance


def column_shap_values(
    model: Pipeline, inputs: pd.DataFrame, background: pd.DataFrame
) -> dict[str, np.ndarray[Any, np.dtype[np.float64]]]:
    """Return SHAP values of a model frame's n rows × outputs, per input column.

    A feature made of several columns counts for each in equal parts. ``background`` is a model
    frame whose mean linear models are explained against; see `shap_values` for outputs and units.

    Raises
    ------
    NoShapError
        If there are none for this model.
    """
    values, _ = _feature_shap(model, inputs, background)
    columns = {str(name): np.zeros((len(values), values.shape[2])) for name in inputs.columns}
    for feature, origins in enumerate(feature_origins(model).values()):
        for column in origins:
            columns[column] += values[:, feature] / len(origins)
    return columns


def _shap(model: Pipeline, inputs: pd.DataFrame) -> tuple[dict[str, float], str]:
    """Return mean absolute SHAP values per input column, and the method."""
    values, method = _feature_shap(model, inputs, inputs)
    strengths = np.abs(values).mean(axis=(0, 2))
    importance = dict.fromkeys(map(str, inputs.columns), 0.0)
    for strength, columns in zip(strengths, feature_origins(model).values(), strict=True):
        for column in columns:
            importance[column] += float(strength) / len(columns)
    return importance, method


def _feature_shap(
    model: Pipeline, inputs: pd.DataFrame, background: pd.DataFrame
) -> tuple[np.ndarray[Any, np.dtype[np.float64]], str]:
    """Return SHAP values of n rows × features × outputs, and the method."""
    features = np.asarray(model[:-1].transform(inputs), dtype=np.float64)
    if len(feature_origins(model)) != features.shape[1]:
        raise NoShapError("two features have the same name, so their columns cannot be told apart")
    reference = features
    if background is not inputs:
        reference = np.asarray(model[:-1].transform(background), dtype=np.float64)
    return shap_values(model[-1], features, reference)
