"""Bootstrap intervals: how far a figure could be off by the luck of the rows.

Percentile intervals (Efron & Tibshirani 1993, An Introduction to the Bootstrap, chapter 13). A
resample is a line of counts that says how often each row was drawn; metrics take these counts as
weights, so that all resamples are computed at once. Where rows belong to groups, whole groups are
drawn (Davison & Hinkley 1997, Bootstrap Methods and their Application, section 3.8): rows of one
group are no independent evidence.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import NormalDist

import numpy as np

from evergreen.training.metrics import Metric, score
from evergreen.training.predictions import FloatArray, IntArray, Predictions
from evergreen.training.results import Interval
from evergreen.training.weighted_metrics import Statistic, weighted_mean

UNMEASURED = Interval(estimate=None, low=None, high=None)

# Rows times resamples that are worth their seconds. Beyond, fewer resamples estimate the standard
# error alone, for which some hundred do (Efron & Tibshirani 1993, section 6.4), and the bounds
# follow from the normal distribution, to which a metric of so many rows is close.
_WORK = 5_000_000
_FEWEST = 100
_CELLS = 200_000  # weights computed at once; more would not fit the processor's cache


def metric_intervals(
    metrics: Sequence[Metric],
    predictions: Predictions,
    *,
    resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> dict[str, Interval]:
    """Measure predictions by each metric, with two-sided bounds; keys are metric names.

    Resamples in which a metric is not defined are left out; the bounds are None where these are
    more than half, where there are fewer than two rows (or groups), and where the figure is
    perfect in every resample, for then the rows say nothing of how imperfect the model may be.
    Accuracy alone still gets bounds then, Wilson's (see `wilson`).
    """
    estimates = {metric.name: score(metric, predictions) for metric in metrics}
    measured = [metric for metric in metrics if estimates[metric.name] is not None]
    statistics = [statistic for m in measured if (statistic := m.statistic(predictions))]
    tail = (1 - confidence) / 2
    draws = _draws(statistics, len(predictions), predictions.groups, resamples, seed)
    intervals = dict.fromkeys(estimates, UNMEASURED)
    for metric, values in zip(measured, draws, strict=True):
        interval = _interval(estimates[metric.name], values, tail, resamples)
        intervals[metric.name] = _honest(metric, interval, predictions, confidence)
    return intervals


def mean_interval(
    values: FloatArray,
    *,
    groups: IntArray | None = None,
    resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Return the mean of per-row values with two-sided bounds."""
    if len(values) == 0 or not np.isfinite(values).all():
        return UNMEASURED
    (means,) = _draws([weighted_mean(values)], len(values), groups, resamples, seed)
    return _interval(float(values.mean()), means, (1 - confidence) / 2, resamples)


def paired_gain(
    metric: Metric,
    challenger: Predictions,
    other: Predictions | None,
    *,
    resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Return by how much the challenger is better than the other model on the same rows.

    Both are measured on the same resamples, so that what is hard or easy about a row cancels.
    Positive means better, for errors and losses too. ``low`` and ``high`` are one-sided bounds,
    each of the given confidence. Differences in the tenth digit are rounding: a gain of 0.
    Where one of the two cannot be measured, or there is no other model, nothing is.

    Raises
    ------
    ValueError
        If the two were not predicting the same rows.
    """
    if other is None:
        return UNMEASURED
    if not np.array_equal(challenger.actual, other.actual):
        raise ValueError("a paired comparison needs the same rows in the same order")
    ours, theirs = score(metric, challenger), score(metric, other)
    statistics = [s for arm in (challenger, other) if (s := metric.statistic(arm))]
    if ours is None or theirs is None:
        return UNMEASURED
    first, second = _draws(statistics, len(challenger), challenger.groups, resamples, seed)
    # Adding 0 makes the -0 of an error that stays the same a plain 0.
    gain = metric.sign * _difference(np.array([ours]), np.array([theirs])) + 0.0
    gains = metric.sign * _difference(first, second) + 0.0
    return _interval(float(gain[0]), gains, 1 - confidence, resamples)


def unpaired_gain(
    metric: Metric,
    challenger: Predictions,
    other: Predictions,
    *,
    resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Return by how much the challenger is better than the other model, each on its own rows.

    The two samples are independent and are resampled apart. Positive means better, for errors and
    losses too. ``low`` and ``high`` are two-sided bounds. Where one cannot be measured, nothing is.
    """
    ours, theirs = score(metric, challenger), score(metric, other)
    first, second = metric.statistic(challenger), metric.statistic(other)
    if ours is None or theirs is None or first is None or second is None:
        return UNMEASURED
    (gains,) = _draws([first], len(challenger), challenger.groups, resamples, seed)
    (losses,) = _draws([second], len(other), other.groups, resamples, seed + 1)
    drawn = min(len(gains), len(losses))  # of very many rows there are fewer
    differences = metric.sign * (gains[:drawn] - losses[:drawn])
    return _interval(metric.sign * (ours - theirs), differences, (1 - confidence) / 2, resamples)


def wilson(successes: float, rows: float, confidence: float) -> tuple[float, float]:
    """Return Wilson's score bounds of a share (Wilson 1927, JASA 22:209)."""
    if rows <= 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share = successes / rows
    centre = (share + z * z / (2 * rows)) / (1 + z * z / rows)
    half = z / (1 + z * z / rows) * np.sqrt(share * (1 - share) / rows + z * z / (4 * rows**2))
    return max(0.0, float(centre - half)), min(1.0, float(centre + half))


def _difference(first: FloatArray, second: FloatArray) -> FloatArray:
    """Subtract; a difference within rounding is none, or it would count as a sure gain."""
    rounding = 1e-9 * np.maximum(np.abs(first), np.abs(second))
    difference = first - second
    return np.where(np.abs(difference) <= rounding, 0.0, difference)


def _draws(
    statistics: Sequence[Statistic],
    rows: int,
    groups: IntArray | None,
    resamples: int,
    seed: int,
) -> FloatArray:
    """Compute every statistic on every resample: statistics×B. No columns: too few rows."""
    if not statistics or rows == 0:
        return np.empty((len(statistics), 0))
    codes = None if groups is None else np.unique(groups, return_inverse=True)[1]
    units = rows if codes is None else int(codes.max()) + 1
    if units < 2:
        return np.empty((len(statistics), 0))
    number = min(resamples, max(_FEWEST, _WORK // rows))
    values = [
        [statistic(weights) for statistic in statistics]
        for weights in _weights(rows, units, codes, number, seed)
    ]
    return np.concatenate(values, axis=1)


def _weights(
    rows: int, units: int, codes: IntArray | None, resamples: int, seed: int
) -> Iterator[FloatArray]:
    """Yield the resamples' row counts, some lines (b×rows) at a time."""
    rng = np.random.default_rng(seed)
    step = max(1, _CELLS // rows)
    for start in range(0, resamples, step):
        lines = min(step, resamples - start)
        drawn = rng.integers(0, units, size=(lines, units)) + units * np.arange(lines)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=lines * units).reshape(lines, units)
        yield (counts if codes is None else counts[:, codes]).astype(np.float64)


def _interval(estimate: float | None, values: FloatArray, tail: float, resamples: int) -> Interval:
    """Cut the given share off each end of a bootstrap distribution."""
    defined = values[np.isfinite(values)]
    if estimate is None or len(defined) == 0 or 2 * len(defined) < len(values):
        return Interval(estimate=estimate, low=None, high=None)
    if len(values) < resamples:
        reach = NormalDist().inv_cdf(1 - tail) * float(defined.std(ddof=1))
        return Interval(estimate=estimate, low=estimate - reach, high=estimate + reach)
    low, high = np.quantile(defined, (tail, 1 - tail))
    return Interval(estimate=estimate, low=float(low), high=float(high))


def _honest(
    metric: Metric, interval: Interval, predictions: Predictions, confidence: float
) -> Interval:
    """Keep bounds within what the metric can be; claim no certainty from a perfect score."""
    if interval.estimate is None or interval.low is None or interval.high is None:
        return interval
    best = metric.highest if metric.greater_is_better else metric.lowest
    low, high = max(interval.low, metric.lowest), min(interval.high, metric.highest)
    if low == high == best:
        if metric.name != "accuracy":
            return Interval(estimate=interval.estimate, low=None, high=None)
        groups = predictions.groups
        units = len(predictions) if groups is None else len(np.unique(groups))
        low, high = wilson(units, units, confidence)
    return Interval(estimate=interval.estimate, low=low, high=high)
