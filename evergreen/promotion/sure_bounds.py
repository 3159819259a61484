"""Lower bounds that hold whatever the distribution: what two samples surely show.

Every function takes the chance ``alpha`` that its bound may be above the truth. None rests on
large numbers, so the chance is kept with twenty observations as with a million.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_LEAST_ALPHA: Final = 1e-300  # below, SciPy's quantiles are no numbers


def difference_of_shares(
    hits: int, rows: int, other_hits: int, other_rows: int, alpha: float
) -> float:
    """Return a lower bound of a share minus another: exact bounds of both, half of alpha each.

    Clopper & Pearson 1934, Biometrika 26:404; the two errors add up (Bonferroni).
    """
    return _share_above(hits, rows, alpha / 2) - _share_below(other_hits, other_rows, alpha / 2)


def ratio_of_quantiles(
    values: FloatArray, others: FloatArray, quantile: float, alpha: float
) -> float:
    """Return a lower bound of a quantile divided by that of another sample; 0 on too few rows.

    Order statistics bound a quantile (David & Nagaraja 2003, Order Statistics, section 7.1).
    """
    from scipy.stats import binom

    low = int(binom.ppf(alpha / 2, len(values), quantile)) if len(values) else 0
    high = int(binom.isf(alpha / 2, len(others), quantile)) + 1 if len(others) else 1
    if low < 1 or high > len(others):
        return 0.0
    bottom = float(np.partition(others, high - 1)[high - 1])
    top = float(np.partition(values, low - 1)[low - 1])
    return top / bottom if bottom > 0 else 0.0


def distance_of_labels(codes: IntArray, others: IntArray, kinds: int, alpha: float) -> float:
    """Return a lower bound of the total variation distance of two samples of labels.

    The distance is the greatest difference that any set of labels shows. The set is chosen by
    the data, so alpha is shared among all 2^k - 2 sets there are (Weissman et al. 2003,
    Inequalities for the L1 deviation of the empirical distribution, HPL-2003-97R1).
    """
    if len(codes) == 0 or len(others) == 0 or kinds < 2:
        return 0.0
    ours = np.bincount(codes, minlength=kinds)
    theirs = np.bincount(others, minlength=kinds)
    more = ours / len(codes) > theirs / len(others)
    shared = max(alpha / (2.0**kinds - 2), _LEAST_ALPHA) if kinds < 1000 else _LEAST_ALPHA
    hits, other_hits = int(ours[more].sum()), int(theirs[more].sum())
    return difference_of_shares(hits, len(codes), other_hits, len(others), shared)


def distance_of_numbers(values: FloatArray, others: FloatArray, alpha: float) -> float:
    """Return a lower bound of the Kolmogorov-Smirnov distance of two samples.

    Each empirical distribution lies within ``sqrt(ln(2 / a) / (2 n))`` of the truth with
    probability 1 - a (Massart 1990, Annals of Probability 18:1269); half of alpha each.
    """
    if len(values) == 0 or len(others) == 0:
        return 0.0
    reach = sum(math.sqrt(math.log(4 / alpha) / (2 * len(each))) for each in (values, others))
    return kolmogorov_smirnov(values, others) - reach


def total_variation(codes: IntArray, others: IntArray, kinds: int) -> float:
    """Return the total variation distance of two samples of labels: 0 (alike) to 1."""
    ours = np.bincount(codes, minlength=kinds) / len(codes)
    theirs = np.bincount(others, minlength=kinds) / len(others)
    return float(np.abs(ours - theirs).sum() / 2)


def kolmogorov_smirnov(values: FloatArray, others: FloatArray) -> float:
    """Return the greatest distance of two samples' distribution functions: 0 (alike) to 1."""
    first, second = np.sort(values), np.sort(others)
    everywhere = np.concatenate([first, second])
    below = np.searchsorted(first, everywhere, side="right") / len(first)
    others_below = np.searchsorted(second, everywhere, side="right") / len(second)
    return float(np.abs(below - others_below).max())


def _share_above(hits: int, rows: int, alpha: float) -> float:
    if hits == 0 or rows == 0:
        return 0.0
    return _number(_beta().ppf(alpha, hits, rows - hits + 1))


def _share_below(hits: int, rows: int, alpha: float) -> float:
    if hits == rows:  # also where there are none
        return 1.0
    return _number(_beta().isf(alpha, hits + 1, rows - hits))


def _beta() -> Any:
    from scipy.stats import beta

    return beta


def _number(value: Any) -> float:
    return float(value)
