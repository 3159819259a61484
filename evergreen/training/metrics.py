"""The metrics: one registry for training, the gate and monitoring.

What cannot be measured on the given rows is None: never an exception, never a made-up number.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from types import MappingProxyType

import numpy as np

from evergreen.config import Task
from evergreen.errors import InputError
from evergreen.training import ranked_metrics as ranked
from evergreen.training import weighted_metrics as weighted
from evergreen.training.predictions import Predictions
from evergreen.training.weighted_metrics import Statistic


@dataclass(frozen=True)
class Metric:
    """One metric. ``lowest`` and ``highest`` bound the values it can take."""

    name: str
    title: str
    task: Task
    greater_is_better: bool
    make: Callable[[Predictions], Statistic]
    needs_probabilities: bool = False
    lowest: float = 0.0
    highest: float = 1.0

    @property
    def sign(self) -> int:
        """1 where greater is better, -1 where less is."""
        return 1 if self.greater_is_better else -1

    def statistic(self, predictions: Predictions) -> Statistic | None:
        """Return the metric as a function of row weights; None where it cannot be measured."""
        if len(predictions) == 0 or not predictions.complete:
            return None
        if (self.task == "classification") != (predictions.labels is not None):
            return None
        if self.needs_probabilities and not predictions.has_probabilities:
            return None
        return self.make(predictions)


def _metric(
    name: str,
    title: str,
    task: Task,
    make: Callable[[Predictions], Statistic],
    *,
    greater_is_better: bool = True,
    needs_probabilities: bool = False,
    within: tuple[float, float] = (0.0, 1.0),
) -> Metric:
    return Metric(name, title, task, greater_is_better, make, needs_probabilities, *within)


_classification = partial(_metric, task="classification")
_error = partial(_metric, task="regression", greater_is_better=False, within=(0.0, math.inf))

_ALL = (
    _classification("accuracy", "Accuracy", make=weighted.accuracy),
    _classification("balanced_accuracy", "Balanced accuracy", make=weighted.balanced_accuracy),
    _classification("f1", "F1", make=weighted.f1),
    _classification("roc_auc", "ROC AUC", make=ranked.roc_auc, needs_probabilities=True),
    _classification("pr_auc", "PR AUC", make=ranked.pr_auc, needs_probabilities=True),
    _classification(
        "log_loss",
        "Log loss",
        make=weighted.log_loss,
        greater_is_better=False,
        needs_probabilities=True,
        within=(0.0, math.inf),
    ),
    _classification(
        "brier",
        "Brier score",
        make=weighted.brier,
        greater_is_better=False,
        needs_probabilities=True,
        within=(0.0, 2.0),
    ),
    _error("mae", "MAE", make=weighted.mae),
    _error("rmse", "RMSE", make=weighted.rmse),
    _metric("r2", "R²", "regression", weighted.r2, within=(-math.inf, 1.0)),
    _error("median_absolute_error", "Median absolute error", make=ranked.median_absolute_error),
)

METRICS: Mapping[str, Metric] = MappingProxyType({metric.name: metric for metric in _ALL})


def metrics_for(task: Task) -> tuple[Metric, ...]:
    """Return a task's metrics, in the order of the registry."""
    return tuple(metric for metric in METRICS.values() if metric.task == task)


def default_metric(task: Task) -> str:
    """Return the name of the metric that drives search and gate where none is chosen."""
    return "log_loss" if task == "classification" else "rmse"


def metric_named(name: str, task: Task) -> Metric:
    """Return a metric by its name.

    Raises
    ------
    InputError
        If there is no such metric for the task; the message suggests one.
    """
    metric = METRICS.get(name)
    if metric is not None and metric.task == task:
        return metric
    known = [metric.name for metric in metrics_for(task)]
    if metric is not None:
        raise InputError(
            f"The metric {name!r} is for {metric.task}, and the task is {task}. "
            f"Choose one of: {', '.join(known)}."
        )
    near = get_close_matches(name.lower(), known, n=1, cutoff=0.5)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise InputError(
        f"There is no metric {name!r}.{hint} The metrics for {task} are: {', '.join(known)}."
    )


def score(metric: Metric, predictions: Predictions) -> float | None:
    """Measure predictions; None where the metric is not defined on these rows."""
    statistic = metric.statistic(predictions)
    return None if statistic is None else estimate(statistic, len(predictions))


def estimate(statistic: Statistic, rows: int) -> float | None:
    """Return the figure of so many rows that weigh the same; None where it is not defined."""
    value = float(statistic(np.ones((1, rows)))[0])
    return value if math.isfinite(value) else None
