"""Columns together: correlations, reconstruction from principal components, a domain classifier.

Rabanser, Günnemann and Lipton, "Failing Loudly" (NeurIPS 2019) compare such tests. Each p-value
here has a null that is exact or asymptotic with a stated variance; none needs a permutation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import stats

from evergreen.monitoring.encoding import NEW
from evergreen.monitoring.grid import MISSING
from evergreen.monitoring.reference import Sample, Structure
from evergreen.monitoring.sample import RowSample
from evergreen.monitoring.scores import ScoreSums

FloatArray = npt.NDArray[np.float64]

CLASSIFIER_ROWS = 1000  # of each side at most
LEAST_ROWS = 40  # of each side, without which the classifier is not asked
LEAST_PAIRS = 30  # rows where both columns are present, for their correlation to count


class CorrelationChange(NamedTuple):
    """The pair whose correlation changed most surely; ``effect`` is the size of its change."""

    statistic: float  # of the pair, standard normal under the null
    p: float  # over all pairs
    effect: float
    pair: tuple[str, str]
    before: float
    now: float
    pairs: int


def correlation_test(
    structure: Structure, window: ScoreSums, left_out: frozenset[str] = frozenset()
) -> CorrelationChange | None:
    """Test whether any correlation of normal scores changed; None where none can be compared.

    Null: every pair is correlated as in the reference. Fisher-transformed correlations differ
    with variance spread / (rows - 3) on each side, where the spread comes from the reference's
    fourth moments (Steiger and Hakstian, 1982); the greatest over m pairs has p = 1 - (1 - p1)^m
    (Šidák, 1967), conservative for dependent pairs.
    """
    before = structure.correlations.array().astype(np.float64)
    now = window.correlations()
    spread = structure.spread.array().astype(np.float64)
    n, m = structure.rows.array().astype(np.float64), window.rows
    upper = np.triu(np.ones(before.shape, dtype=np.bool_), 1)
    kept = np.array([name not in left_out for name in structure.columns])
    upper &= kept[:, None] & kept[None, :]
    usable = upper & np.isfinite(before) & np.isfinite(now) & (np.minimum(n, m) >= LEAST_PAIRS)
    pairs = int(usable.sum())
    if not pairs:
        return None
    with np.errstate(divide="ignore", invalid="ignore"):
        error = np.sqrt(spread * (1 / (n - 3) + 1 / (m - 3)))
        difference = np.arctanh(np.clip(now, -0.995, 0.995)) - np.arctanh(
            np.clip(before, -0.995, 0.995)
        )
        z = np.where(usable, np.abs(difference) / error, 0.0)
    place = int(np.argmax(z))
    row, column = divmod(place, len(before))
    greatest = float(z[row, column])
    single = float(2 * stats.norm.sf(greatest))
    return CorrelationChange(
        statistic=greatest,
        p=float(-np.expm1(pairs * np.log1p(-min(single, 1 - 1e-16)))),
        effect=float(abs(now[row, column] - before[row, column])),
        pair=(structure.columns[row], structure.columns[column]),
        before=float(before[row, column]),
        now=float(now[row, column]),
        pairs=pairs,
    )


class MeanChange(NamedTuple):
    """How far the mean normal scores of all columns moved together."""

    statistic: float  # Hotelling's T squared
    p: float
    effect: float  # the greatest shift of one column's mean score, in its deviations
    column: str  # that moved most


def mean_test(
    structure: Structure, window: ScoreSums, left_out: frozenset[str] = frozenset()
) -> MeanChange | None:
    """Test whether the mean scores moved, all columns at once; None where none can be compared.

    Hotelling (1931), two samples with one covariance, which is the reference's. It finds many
    small shifts, and those that go against the columns' correlations. Null: the window's scores
    have the reference's mean and covariance; T squared (N - p) / (p (N - 1)) is then F with p and
    N - p degrees of freedom, N the reference's rows. Scores are bounded, so that means of some
    dozens of rows are near enough to normal.
    """
    r = structure.correlations.array().astype(np.float64)
    n = np.diag(structure.rows.array()).astype(np.float64)
    m = np.diag(window.rows)
    kept = np.array([name not in left_out for name in structure.columns])
    kept &= np.isfinite(np.diag(r)) & (np.minimum(n, m) >= LEAST_PAIRS)
    places = np.flatnonzero(kept)
    p = len(places)
    if not p or n[places].min() <= 2 * p:
        return None
    centre, scale = structure.centre.array(), structure.scale.array()
    mean = np.diag(window.first)[places] / m[places]
    shift = (mean - centre[places]) / scale[places]
    error = np.sqrt(1 / n[places] + 1 / m[places])
    values, vectors = np.linalg.eigh(np.nan_to_num(r[np.ix_(places, places)]))
    usable = values > 1e-3  # columns that repeat others say nothing of their own
    parts = (shift / error) @ vectors[:, usable]
    statistic = float((parts**2 / values[usable]).sum())
    freedom, rows = int(usable.sum()), float(n[places].min())
    scaled = statistic * (rows - freedom) / (freedom * (rows - 1))
    most = int(np.argmax(np.abs(shift)))
    return MeanChange(
        statistic=statistic,
        p=float(stats.f.sf(scaled, freedom, rows - freedom)),
        effect=float(abs(shift[most])),
        column=structure.columns[places[most]],
    )


class Separation(NamedTuple):
    """How well a classifier tells window rows from reference rows."""

    area: float  # under the ROC curve, on rows that it was not fitted on
    p: float
    rows: tuple[int, int]  # of the reference, of the window
    columns: tuple[int, ...]  # positions of those that it used most, the first few


def classifier_test(reference: Sample, window: RowSample, kept: Sequence[int]) -> Separation | None:
    """Ask boosted trees whether a row is of the window; None with fewer than 40 rows of a side.

    ``kept`` are the positions of the columns that they may look at.

    A classifier two-sample test (Lopez-Paz and Oquab, ICLR 2017), with the area under the ROC
    curve as in the Mann-Whitney test. Null: rows of both sides are exchangeable. One half of the
    rows is judged by trees fitted on the other half, so that the area has mean 1/2 and variance
    (n + m + 1) / (12 n m) whatever the trees learnt; p is one-sided. Rows that occur several times
    weigh so often and count as one observation.
    """
    first = _limited(reference.codes.array(), reference.copies.array())
    second = _limited(window.codes, window.copies)
    if min(len(first[0]), len(second[0])) < LEAST_ROWS or not kept:
        return None
    rows = _table(np.concatenate([first[0], second[0]]))[:, list(kept)]
    weights = np.concatenate([first[1] / first[1].mean(), second[1] / second[1].mean()])
    side = np.repeat([0, 1], [len(first[0]), len(second[0])])
    # Samples are ordered by hash: every other row is a random half.
    half = np.concatenate([np.arange(len(first[0])) % 2, np.arange(len(second[0])) % 2])
    fit, rest = half == 0, half == 1
    scores, gains = _boosted(rows[fit], side[fit], weights[fit], rows[rest])
    area, p = weighted_area(scores, side[rest], weights[rest])
    leading = np.argsort(-gains)[:3]
    return Separation(
        area=area,
        p=p,
        rows=(len(first[0]), len(second[0])),
        columns=tuple(kept[place] for place in leading if gains[place] > 0),
    )


def weighted_area(
    scores: FloatArray, side: npt.NDArray[np.int64], weights: FloatArray
) -> tuple[float, float]:
    """Return the weighted area under the ROC curve and its one-sided p-value against 1/2."""
    values, place = np.unique(scores, return_inverse=True)
    low = np.bincount(place, weights * (side == 0), len(values))
    high = np.bincount(place, weights * (side == 1), len(values))
    below = np.cumsum(low) - low / 2
    area = float((high * below).sum() / (low.sum() * high.sum()))
    n, m = (_effective(weights[side == which]) for which in (0, 1))
    return area, float(stats.norm.sf((area - 0.5) / np.sqrt((n + m + 1) / (12 * n * m))))


def _boosted(
    rows: FloatArray, side: npt.NDArray[np.int64], weights: FloatArray, asked: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Fit shallow boosted trees; return their scores of other rows, and each column's gain."""
    import lightgbm

    share = weights * np.where(side == 1, 1 / (side == 1).sum(), 1 / (side == 0).sum())
    data = lightgbm.Dataset(rows, side, weight=share * len(side) / 2, params=_TREES)
    trees = lightgbm.train(_TREES, data, num_boost_round=30)
    scores = np.asarray(trees.predict(asked, raw_score=True), dtype=np.float64)
    return scores, np.asarray(trees.feature_importance("gain"), dtype=np.float64)


_TREES = {
    "objective": "binary",
    "num_leaves": 8,
    "learning_rate": 0.1,
    "min_data_in_leaf": 10,
    "min_sum_hessian_in_leaf": 1e-3,
    "feature_fraction": 0.8,
    "max_bin": 63,
    "seed": 1,
    "deterministic": True,
    "force_row_wise": True,
    "num_threads": 1,
    "verbosity": -1,
}


def _limited(
    codes: npt.NDArray[np.uint16], copies: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.uint16], FloatArray]:
    """Return the first rows: of least hash, and so an even draw."""
    return codes[:CLASSIFIER_ROWS], copies[:CLASSIFIER_ROWS].astype(np.float64)


def _table(codes: npt.NDArray[np.uint16]) -> FloatArray:
    table = codes.astype(np.float64)
    table[codes == NEW] = -1
    table[codes == MISSING] = np.nan
    return table


def _effective(weights: FloatArray) -> float:
    """Return how many rows of equal weight are as much evidence (Kish, 1965)."""
    return float(weights.sum() ** 2 / (weights**2).sum())
