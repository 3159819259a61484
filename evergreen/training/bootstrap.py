"""Bootstrap intervals: how far a figure could be off by the luck of the rows.

Percentile intervals (Efron & Tibshirani 1993, An Introduction to the Bootstrap, chapter 13). A
resample is a line of counts that says how often each row was drawn; metrics take these counts as
weights, so that all resamples are computed at once. Where rows belong to groups, whole groups are
drawn (Davison & Hinkley 1997, Bootstrap Methods and their Application, section 3.8): rows of one
group are no independent evidence.

Of many rows none are drawn: the standard error that ever more resamples of them come to is
computed from each row's influence on the metric (the infinitesimal jackknife: Efron 1982, The
Jackknife, the Bootstrap and Other Resampling Plans, chapter 6), and the bounds follow from the
normal distribution, to which a metric of so many rows is close.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import NormalDist

import numpy as np

from evergreen.training.metrics import Metric, estimate
from evergreen.training.predictions import FloatArray, IntArray, Predictions
from evergreen.training.results import Interval
from evergreen.training.weighted_metrics import Statistic, weighted_mean

UNMEASURED = Interval(estimate=None, low=None, high=None)

_RESAMPLED = 5_000  # rows; of more, resamples take seconds and say no more
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
    intervals = dict.fromkeys((metric.name for metric in metrics), UNMEASURED)
    statistics = [(m, statistic) for m in metrics if (statistic := m.statistic(predictions))]
    found = _intervals(
        [statistic for _, statistic in statistics],
        [estimate(statistic, len(predictions)) for _, statistic in statistics],
        len(predictions),
        predictions.groups,
        tail=(1 - confidence) / 2,
        resamples=resamples,
        seed=seed,
    )
    for (metric, _), interval in zip(statistics, found, strict=True):
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
    (interval,) = _intervals(
        [weighted_mean(values)],
        [float(values.mean())],
        len(values),
        groups,
        tail=(1 - confidence) / 2,
        resamples=resamples,
        seed=seed,
    )
    return interval


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
    first, second = metric.statistic(challenger), metric.statistic(other)
    if first is None or second is None:
        return UNMEASURED
    gain = _gain(metric, first, second)
    (interval,) = _intervals(
        [gain],
        [estimate(gain, len(challenger))],
        len(challenger),
        challenger.groups,
        tail=1 - confidence,
        resamples=resamples,
        seed=seed,
    )
    return interval


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
    first, second = metric.statistic(challenger), metric.statistic(other)
    if first is None or second is None:
        return UNMEASURED
    ours, theirs = estimate(first, len(challenger)), estimate(second, len(other))
    if ours is None or theirs is None:
        return UNMEASURED
    gain, tail = metric.sign * (ours - theirs), (1 - confidence) / 2
    if max(len(challenger), len(other)) > _RESAMPLED:
        errors = _standard_error(first, challenger.groups), _standard_error(second, other.groups)
        return _normal(gain, float(np.hypot(*errors)), tail)
    (gains,) = _draws([first], len(challenger), challenger.groups, resamples, seed)
    (losses,) = _draws([second], len(other), other.groups, resamples, seed + 1)
    drawn = min(len(gains), len(losses))  # none of too few rows
    return _percentile(gain, metric.sign * (gains[:drawn] - losses[:drawn]), tail)


def wilson(successes: float, rows: float, confidence: float) -> tuple[float, float]:
    """Return Wilson's score bounds of a share (Wilson 1927, JASA 22:209)."""
    if rows <= 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share = successes / rows
    centre = (share + z * z / (2 * rows)) / (1 + z * z / rows)
    half = z / (1 + z * z / rows) * np.sqrt(share * (1 - share) / rows + z * z / (4 * rows**2))
    return max(0.0, float(centre - half)), min(1.0, float(centre + half))


def _gain(metric: Metric, first: Statistic, second: Statistic) -> Statistic:
    """Return the difference as a statistic; one within rounding is none, or would be a sure gain.

    Adding 0 makes the -0 of an error that stays the same a plain 0.
    """

    def gain(weights: FloatArray) -> FloatArray:
        ours, theirs = first(weights), second(weights)
        rounding = 1e-9 * np.maximum(np.abs(ours), np.abs(theirs))
        difference = ours - theirs
        return metric.sign * np.where(np.abs(difference) <= rounding, 0.0, difference) + 0.0

    def influence() -> FloatArray:
        difference = metric.sign * (first.influence() - second.influence())
        rows = len(difference)
        ones = np.ones((1, rows))
        rounding = 1e-9 * float(np.maximum(np.abs(first(ones)), np.abs(second(ones)))[0])
        if float(np.linalg.norm(difference)) / rows <= rounding:  # the standard error of lone rows
            return np.zeros(rows)
        return difference

    return Statistic(gain, influence)


def _intervals(
    statistics: Sequence[Statistic],
    estimates: Sequence[float | None],
    rows: int,
    groups: IntArray | None,
    *,
    tail: float,
    resamples: int,
    seed: int,
) -> list[Interval]:
    """Bound each estimate, cutting ``tail`` off each end; what has none is not measured."""
    pairs = list(zip(statistics, estimates, strict=True))
    if rows > _RESAMPLED:
        return [
            UNMEASURED if figure is None else _normal(figure, _standard_error(one, groups), tail)
            for one, figure in pairs
        ]
    draws = _draws(statistics, rows, groups, resamples, seed)
    return [
        UNMEASURED if figure is None else _percentile(figure, values, tail)
        for (_, figure), values in zip(pairs, draws, strict=True)
    ]


def _standard_error(statistic: Statistic, groups: IntArray | None) -> float:
    """Return what the bootstrap's standard error comes to; NaN for fewer than two groups."""
    influence = statistic.influence()
    rows = len(influence)
    if groups is not None:
        codes, units = _units(groups)
        if units < 2:
            return float("nan")
        influence = np.bincount(codes, weights=influence).astype(np.float64)
    return float(np.linalg.norm(influence)) / rows


def _units(groups: IntArray) -> tuple[IntArray, int]:
    """Number the groups from 0 on, without gaps; return each row's, and how many there are."""
    levels, codes = np.unique(groups, return_inverse=True)
    return codes, len(levels)


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
    codes, units = (None, rows) if groups is None else _units(groups)
    if units < 2:
        return np.empty((len(statistics), 0))
    values = [
        [statistic(weights) for statistic in statistics]
        for weights in _weights(rows, units, codes, resamples, seed)
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


def _percentile(figure: float, values: FloatArray, tail: float) -> Interval:
    """Cut the given share off each end of a bootstrap distribution."""
    defined = values[np.isfinite(values)]
    if len(defined) == 0 or 2 * len(defined) < len(values):
        return Interval(estimate=figure, low=None, high=None)
    low, high = np.quantile(defined, (tail, 1 - tail))
    return Interval(estimate=figure, low=float(low), high=float(high))


def _normal(figure: float, error: float, tail: float) -> Interval:
    """Bound a figure by its standard error; not where that is not known."""
    if not np.isfinite(error):
        return Interval(estimate=figure, low=None, high=None)
    reach = NormalDist().inv_cdf(1 - tail) * error
    return Interval(estimate=figure, low=figure - reach, high=figure + reach)


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
