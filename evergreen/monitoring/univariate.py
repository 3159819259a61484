"""One column of a window beside the reference: small tests on counts, each with its null.

All of them take the rows per bin (or level) of both samples; for columns of at most 513 distinct
values that is everything there is to know, for others it loses what happens within 1/512 of the
rows, which makes p-values a little larger, never smaller.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import stats
from scipy.special import chdtrc, kolmogorov, ndtr

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]

ENOUGH = 5  # expected rows of a level in each sample; rarer levels are taken together
SURELY_ENOUGH = 20  # expected rows for which chi-square's far tail can be trusted
CAREFUL = 0.02  # p-values above need no exact distribution
SURE = 1e-12  # nor do those below
RESAMPLES = 20_000


class Tested(NamedTuple):
    """A statistic and its p-value."""

    statistic: float
    p: float


def ks_test(reference: IntArray, window: IntArray) -> Tested:
    """Return the two-sample Kolmogorov-Smirnov distance and its p-value.

    Null: both samples come from one distribution. The p-value is that of the exact one-sample
    distribution (Simard and L'Ecuyer, 2011) at the effective size nm/(n+m), right for small
    windows beside a large reference; ties make it conservative. `scipy.stats.ks_2samp` does the
    same for samples above 10,000.
    """
    n, m = int(reference.sum()), int(window.sum())
    distance = float(np.abs(np.cumsum(reference) / n - np.cumsum(window) / m).max())
    size = max(1, round(n * m / (n + m)))
    # Stephens (1970): within a few per cent, or above the exact one where both are tiny.
    root = np.sqrt(size)
    rough = float(kolmogorov((root + 0.12 + 0.11 / root) * distance))
    p = float(stats.kstwo.sf(distance, size)) if SURE < rough <= CAREFUL else rough
    return Tested(distance, min(1.0, p))


def rank_test(reference: IntArray, window: IntArray) -> Tested:
    """Test location and scale: the surer of Wilcoxon's and Mood's two-sample tests, p doubled.

    Wilcoxon (1945) and Mood (1954); Lepage (1971) and Cucconi (1968) join the two otherwise. Null:
    both samples come from one distribution; mean and variance of the two rank sums are then
    exactly those of drawing without replacement from the pooled ranks (ties get their middle
    rank), and the sums are normal. Scores are bounded, so that the tail holds from about 30 rows
    on. The statistic is the greater of the two standardised sums.
    """
    pooled = reference + window
    used = pooled > 0
    counts, taken = pooled[used], window[used]
    total, m = int(counts.sum()), int(taken.sum())
    rank = (np.cumsum(counts) - counts / 2) / total - 0.5
    scores = np.stack([rank, rank**2])
    centred = scores - (scores @ counts / total)[:, None]
    finite = (total - m) * m / (total - 1) if total > 1 else 0.0
    variance = (centred**2) @ counts / total * finite
    spread = np.sqrt(variance)
    if not spread.max() > 0:
        return Tested(0.0, 1.0)
    sums = np.abs(centred @ taken)
    # Of two values only, both scores may say the same: then there is one test.
    varied = spread > 1e-9 * m
    statistic = float((sums[varied] / spread[varied]).max())
    return Tested(statistic, min(1.0, float(varied.sum() * 2 * ndtr(-statistic))))


def level_test(reference: IntArray, window: IntArray, seed: int = 0) -> Tested:
    """Pearson's chi-square of homogeneity over levels; rare levels are taken together.

    Null: both samples draw levels alike. Where the p-value is small and a level expects fewer
    than 20 rows, chi-square's tail is not to be trusted: it is replaced by the Monte Carlo
    p-value of 20,000 draws without replacement (both margins fixed), (1 + hits) / (1 + draws);
    where no draw came as far, chi-square's own stays.
    """
    n, m = int(reference.sum()), int(window.sum())
    first, second = _common(reference, window, n, m)
    if len(first) < 2:
        return Tested(0.0, 1.0)
    pooled = first + second
    expected: FloatArray = pooled * np.float64(m / (n + m))
    statistic = _chi_square(second[None, :], expected, m / (n + m))[0]
    p = float(chdtrc(len(first) - 1, statistic))
    least = float(np.minimum(expected, pooled - expected).min())
    # Beyond statistic / freedom of 8 no draw would come near; chi-square is rough but sure there.
    if p >= 0.02 or least >= SURELY_ENOUGH or p < 1e-7:
        return Tested(float(statistic), p)
    draws = np.random.default_rng(seed).multivariate_hypergeometric(
        pooled, m, size=RESAMPLES, method="marginals"
    )
    hits = int((_chi_square(draws, expected, m / (n + m)) >= statistic - 1e-9).sum())
    return Tested(float(statistic), max(p, (1 + hits) / (1 + RESAMPLES)) if hits else p)


def share_test(before: int, n: int, now: int, m: int) -> Tested:
    """Test whether a share (of missing values) changed; two-sided.

    Fisher's exact test, doubled tail, where few rows are expected; else the normal distribution
    with continuity correction. The statistic is the change of the share.
    """
    pooled, total = before + now, n + m
    change = now / m - before / n
    expected = pooled * m / total
    spread = expected * (n / total) * (1 - pooled / total)
    if min(expected, (total - pooled) * m / total) >= SURELY_ENOUGH and spread > SURELY_ENOUGH:
        distance = max(0.0, abs(now - expected) - 0.5) / np.sqrt(spread)
        return Tested(change, float(2 * stats.norm.sf(distance)))
    if pooled in (0, total):
        return Tested(change, 1.0)
    table = stats.hypergeom(total, pooled, m)
    tail = min(float(table.sf(now - 1)), float(table.cdf(now)))
    return Tested(change, min(1.0, 2 * tail))


def new_level_test(rows: int, m: int, singletons: int, n: int) -> Tested:
    """Test for levels that the reference never held; the statistic is their share.

    Null: the reference was drawn from the same levels. The chance of a row with an unseen level
    is then about (levels seen once + 1) / (n + 1) (Good, 1953, "The population frequencies of
    species"), and their number binomial.
    """
    chance = (singletons + 1) / (n + 1)
    return Tested(rows / m, float(stats.binom.sf(rows - 1, m, min(chance, 1.0))) if rows else 1.0)


def psi(reference: IntArray, window: IntArray) -> float:
    """Return the population stability index over given bins, half a row added to each."""
    p = (reference + 0.5) / (reference.sum() + 0.5 * len(reference))
    q = (window + 0.5) / (window.sum() + 0.5 * len(window))
    return float(((q - p) * np.log(q / p)).sum())


def total_variation(reference: IntArray, window: IntArray) -> float:
    """Return half the sum of the absolute differences of shares (0 to 1)."""
    return float(np.abs(reference / reference.sum() - window / window.sum()).sum() / 2)


def deciles(reference: IntArray, window: IntArray) -> tuple[IntArray, IntArray]:
    """Gather bins into about ten of equal rows in the reference, as the index above wants."""
    middle = (np.cumsum(reference) - reference / 2) / max(1, int(reference.sum()))
    place = np.minimum((middle * 10).astype(np.int64), 9)
    return (
        np.bincount(place, reference, 10).astype(np.int64),
        np.bincount(place, window, 10).astype(np.int64),
    )


def _common(reference: IntArray, window: IntArray, n: int, m: int) -> tuple[IntArray, IntArray]:
    """Take levels together that expect fewer than five rows in either sample."""
    pooled = reference + window
    smaller = min(n, m) / (n + m)
    rare = pooled * smaller < ENOUGH
    first = np.append(reference[~rare], reference[rare].sum())
    second = np.append(window[~rare], window[rare].sum())
    used = first + second > 0
    return first[used], second[used]


def _chi_square(window: IntArray, expected: FloatArray, share: float) -> FloatArray:
    """Return Pearson's statistic of each row of window counts, both samples included."""
    squares = (window - expected) ** 2 / expected
    return np.asarray(squares.sum(axis=1) / (1 - share), dtype=np.float64)
