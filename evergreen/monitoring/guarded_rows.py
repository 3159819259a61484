"""The rows that the guard compares a promoted version and the one before on."""

from __future__ import annotations

from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import numpy as np
import pandas as pd

from evergreen.config import UseCase
from evergreen.data.contract import Contract
from evergreen.monitoring.guard import (
    GuardVerdict,
    Promotion,
    judge_guard,
    newest_promotion,
)
from evergreen.monitoring.retraining import logged_table
from evergreen.promotion.registry import Registry
from evergreen.serving.prediction_history import PredictionHistory, Window
from evergreen.training.metrics import default_metric, metric_named
from evergreen.training.predictions import Predictions, predict

MOST_ROWS: Final = 20_000  # the newest; more would tell no more
LATE: Final = timedelta(days=1)  # labels that come later than this after the period do not count


def guard_champion(
    registry: Registry, use_case: UseCase, log_url: str, now: datetime
) -> GuardVerdict | None:
    """Judge the newest promotion by the labelled rows of its guard period.

    None: there is nothing to guard. The champion is the first, came by a rollback, or has served
    longer than the period (and a day for late labels).

    Raises
    ------
    InputError
        If the log hides a feature, or a version's bundle is damaged.
    UnreachableError
        If registry or log do not answer.
    """
    name, config = use_case.name, use_case.monitoring
    promotion = newest_promotion(registry.log.entries(name))
    if promotion is None or now > promotion.at + config.guard + LATE:
        return None
    contract = registry.contract(name, promotion.version)
    with closing(PredictionHistory(log_url, contract)) as log:
        window = log.window(
            since=promotion.at,
            until=promotion.at + config.guard,
            version=promotion.version,
            last=MOST_ROWS,
            labelled=True,
        )
    new, table = answered(window, contract)
    former = new if not len(new) else _of_former(registry, name, promotion, table, contract, new)
    return judge_guard(
        promotion,
        metric_named(use_case.training.metric or default_metric(use_case.task), use_case.task),
        new,
        former,
        config,
        now=now,
        confidence=use_case.gate.confidence,
        resamples=use_case.evaluation.bootstrap,
        seed=use_case.training.seed,
    )


def answered(window: Window, contract: Contract) -> tuple[Predictions, pd.DataFrame]:
    """Return what a version answered, and the conformed rows, where the truth is known.

    Rows of one request form a group: they are no independent evidence.
    """
    table = logged_table(window, contract).reset_index()
    known = logged_mask(window, contract)
    usable = known & ~np.asarray(pd.isna(window.predictions))
    table = table[usable[known]].drop(columns=table.columns[0])
    probabilities = None if window.probabilities is None else window.probabilities[usable]
    codes, _ = pd.factorize(window.request_ids[usable])
    predictions = Predictions(
        actual=table[contract.target].to_numpy(),
        predicted=window.predictions[usable],
        probabilities=probabilities,
        labels=contract.labels,
        positive=contract.positive,
        groups=codes.astype(np.int64),
    )
    return predictions, table


def logged_mask(window: Window, contract: Contract) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Tell which rows `logged_table` keeps: those whose label is one of the contract's."""
    if contract.labels is None:
        return np.isfinite(window.actual.astype(np.float64))
    return np.array([label in contract.labels for label in window.actual.tolist()], dtype=np.bool_)


def _of_former(
    registry: Registry,
    name: str,
    promotion: Promotion,
    table: pd.DataFrame,
    contract: Contract,
    new: Predictions,
) -> Predictions:
    """Let the version before predict the same rows."""
    with TemporaryDirectory(prefix="evergreen-guard-") as folder:
        bundle = registry.fetch_bundle(name, promotion.former, Path(folder, "bundle"))
        found = predict(bundle.model(), table, contract, model_contract=bundle.contract)
    return Predictions(
        actual=new.actual,
        predicted=found.predicted,
        probabilities=found.probabilities,
        labels=new.labels,
        positive=new.positive,
        groups=new.groups,
    )
