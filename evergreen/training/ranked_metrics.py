"""Metrics of ranked rows: the areas under curves, and the median. See `weighted_metrics`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from evergreen.training.predictions import FloatArray, IntArray, Predictions
from evergreen.training.weighted_metrics import Statistic, probabilities_of, ratio

# The share of the rows on each side of the median, times the cube root of their number, between
# whose errors the density is measured, for 95 % confidence (Hall & Sheather 1988, JRSS B 50:381).
_BANDWIDTH: Final = 0.972


def roc_auc(predictions: Predictions) -> Statistic:
    """Area under the ROC curve; with more than two labels the mean of one-vs-rest areas.

    Not defined where a class is absent.
    """
    return _one_vs_rest(predictions, _binary_roc_auc, _roc_influence)


def pr_auc(predictions: Predictions) -> Statistic:
    """Average precision; with more than two labels the mean of one-vs-rest.

    Not defined where a class is absent.
    """
    return _one_vs_rest(predictions, _binary_average_precision, _precision_influence)


def median_absolute_error(predictions: Predictions) -> Statistic:
    """Median absolute error, in units of the target."""
    errors = np.abs(predictions.actual - predictions.predicted)
    order = np.argsort(errors)
    ascending = errors[order]

    def statistic(weights: FloatArray) -> FloatArray:
        cumulated = np.cumsum(weights[:, order], axis=1)
        half = cumulated[:, -1:] / 2
        last = len(ascending) - 1
        lower = np.minimum((cumulated < half).sum(axis=1), last)
        upper = np.minimum((cumulated <= half).sum(axis=1), last)
        return (ascending[lower] + ascending[upper]) / 2

    def influence() -> FloatArray:
        rows = len(ascending)
        reach = min(0.5, _BANDWIDTH / rows ** (1 / 3))
        low, high = ascending[[int((0.5 - reach) * (rows - 1)), int((0.5 + reach) * (rows - 1))]]
        sides = np.sign(errors - statistic(np.ones((1, rows))))
        return np.asarray((sides - sides.mean()) * (high - low) / (4 * reach))

    return Statistic(statistic, influence)


@dataclass(frozen=True)
class _Ranking:
    """Rows by falling score. ``starts`` has the first row of each group of tied scores."""

    order: IntArray
    starts: IntArray
    happened: npt.NDArray[np.bool_]  # in that order

    @classmethod
    def of(cls, scores: FloatArray, happened: npt.NDArray[np.bool_]) -> _Ranking:
        order = np.argsort(-scores)
        starts = np.flatnonzero(np.diff(scores[order], prepend=np.inf))
        return cls(order, starts, happened[order])

    def sums(self, weights: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the weight of what happened and of what did not, for each group of ties."""
        ranked = weights[:, self.order]
        positive = ranked * self.happened
        return self._of_groups(positive), self._of_groups(ranked - positive)

    def to_rows(self, groups: FloatArray) -> FloatArray:
        """Give each row, still by falling score, what was found for its group of ties."""
        if len(groups) == len(self.order):
            return groups
        return np.repeat(groups, np.diff(self.starts, append=len(self.order)))

    def _of_groups(self, ranked: FloatArray) -> FloatArray:
        if len(self.starts) == ranked.shape[1]:
            return ranked
        return np.add.reduceat(ranked, self.starts, axis=1)


def _one_vs_rest(
    predictions: Predictions,
    area: Callable[[FloatArray, FloatArray], FloatArray],
    influence_of: Callable[[_Ranking], FloatArray],
) -> Statistic:
    """Rank the rows once per class; average the areas over the classes (NaN if one is absent)."""
    probabilities = probabilities_of(predictions)
    codes = [predictions.positive_code] if predictions.binary else range(probabilities.shape[1])
    rankings = [
        _Ranking.of(probabilities[:, code], predictions.actual_codes == code) for code in codes
    ]

    def statistic(weights: FloatArray) -> FloatArray:
        return np.asarray(np.mean([area(*each.sums(weights)) for each in rankings], axis=0))

    def influence() -> FloatArray:
        total = np.zeros(len(predictions))
        for ranking in rankings:
            positives = np.count_nonzero(ranking.happened)
            if min(positives, len(total) - positives) < 2:  # one row says nothing of others
                return np.full(len(total), np.nan)
            total[ranking.order] += influence_of(ranking)
        return total / len(rankings)

    return Statistic(statistic, influence)


def _binary_roc_auc(hits: FloatArray, misses: FloatArray) -> FloatArray:
    """Chance that a positive row ranks above a negative one, ties counting half."""
    cumulated = np.cumsum(misses, axis=1)
    negatives = cumulated[:, -1]
    above_or_half = cumulated - misses / 2
    positives = hits.sum(axis=1)
    lost = (hits * above_or_half).sum(axis=1)
    return ratio(positives * negatives - lost, positives * negatives)


def _roc_influence(ranking: _Ranking) -> FloatArray:
    """Compare each row's share of pairs won with the area (DeLong et al. 1988, Biometrics 44)."""
    hits, misses = (sums[0] for sums in ranking.sums(_ones(ranking)))
    positives, negatives = hits.sum(), misses.sum()
    below = 1 - (np.cumsum(misses) - misses / 2) / negatives  # negative rows under the score
    above = (np.cumsum(hits) - hits / 2) / positives  # positive rows over the score
    area = float(hits @ below) / positives
    rows = len(ranking.order)
    won = np.where(
        ranking.happened,
        ranking.to_rows((below - area) * (rows / positives)),
        ranking.to_rows((above - area) * (rows / negatives)),
    )
    return np.asarray(won, dtype=np.float64)


def _binary_average_precision(hits: FloatArray, misses: FloatArray) -> FloatArray:
    """Precision at each threshold, weighted by the recall it adds."""
    found = np.cumsum(hits, axis=1)
    retrieved = found + np.cumsum(misses, axis=1)
    gained = np.divide(hits * found, retrieved, out=np.zeros_like(hits), where=retrieved > 0)
    positives = found[:, -1]
    area = ratio(gained.sum(axis=1), positives)
    return np.where(retrieved[:, -1] > positives, area, np.nan)


def _precision_influence(ranking: _Ranking) -> FloatArray:
    """Add up what a row changes at its own threshold and at all that are lower."""
    hits, misses = (sums[0] for sums in ranking.sums(_ones(ranking)))
    found = np.cumsum(hits)
    retrieved = found + np.cumsum(misses)
    precision = found / retrieved
    area = float(hits @ precision) / found[-1]
    as_found = _from_here(hits / retrieved)
    as_retrieved = ranking.to_rows(_from_here(hits * precision / retrieved))
    as_positive = ranking.to_rows(precision + as_found - area)
    gained = np.where(ranking.happened, as_positive, 0.0) - as_retrieved
    return np.asarray(gained * (len(ranking.order) / found[-1]), dtype=np.float64)


def _from_here(values: FloatArray) -> FloatArray:
    """Sum from each place to the end."""
    return np.cumsum(values[::-1])[::-1]


def _ones(ranking: _Ranking) -> FloatArray:
    return np.ones((1, len(ranking.order)))
