"""The metrics: one registry for training, the gate and monitoring.

What cannot be measured on the given rows is None: never an exception, never a made-up number.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from types import MappingProxyType

import numpy as np

from evergreen.config import Task
from evergreen.errors import InputError
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


_CLASSIFICATION = (
    Metric("accuracy", "Accuracy", "classification", True, weighted.accuracy),
    Metric(
        "balanced_accuracy", "Balanced accuracy", "classification", True, weighted.balanced_accuracy
    ),
    Metric("f1", "F1", "classification", True, weighted.f1),
    Metric("roc_auc", "ROC AUC", "classification", True, weighted.roc_auc, True),
    Metric("pr_auc", "PR AUC", "classification", True, weighted.pr_auc, True),
    Metric("log_loss", "Log loss", "classification", False, weighted.log_loss, True, 0.0, math.inf),
    Metric("brier", "Brier score", "classification", False, weighted.brier, True, 0.0, 2.0),
)
_REGRESSION = (
    Metric("mae", "MAE", "regression", False, weighted.mae, highest=math.inf),
    Metric("rmse", "RMSE", "regression", False, weighted.rmse, highest=math.inf),
    Metric("r2", "R²", "regression", True, weighted.r2, lowest=-math.inf),
    Metric(
        "median_absolute_error",
        "Median absolute error",
        "regression",
        False,
        weighted.median_absolute_error,
        highest=math.inf,
    ),
)

METRICS: Mapping[str, Metric] = MappingProxyType(
    {metric.name: metric for metric in _CLASSIFICATION + _REGRESSION}
)


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
    if statistic is None:
        return None
    value = float(statistic(np.ones((1, len(predictions))))[0])
    return value if math.isfinite(value) else None
