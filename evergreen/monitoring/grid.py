"""The grid of a number column: the reference's quantiles, and which bin a value falls into.

A grid of g ascending points has 2g + 1 bins: below the first point (0), exactly at point i
(2i + 1), between point i and i + 1 (2i + 2), above the last (2g). Counts in these bins add up
over partitions without any loss, are exact for columns of up to 513 distinct values, and give the
Kolmogorov-Smirnov distance of others within 1/512.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
CodeArray = npt.NDArray[np.uint16]

QUANTILES = 513  # values kept of a number column
CELLS = 32_768  # of the table that finds a bin, or its neighbourhood
CHUNK = 32_768  # values that are searched at once, so that they stay in the processor's cache
STEPS = 2  # grid points within one cell that are searched without branching
SEARCH = 65_535  # cells that hold grid points: bins stand beside them
MISSING = 65_535  # code of a missing value; of a category: also of none


class Grid:
    """Finds bins quickly: by a table of equal cells, most of which hold no grid point.

    ``points`` are ascending and distinct; ``counts`` are the reference's rows per bin.
    """

    def __init__(self, points: FloatArray, counts: IntArray | None = None) -> None:
        self.points = np.asarray(points, dtype=np.float64)
        self.bins = 2 * len(self.points) + 1
        self.counts = np.zeros(self.bins, dtype=np.int64) if counts is None else counts
        self._padded = np.append(self.points, np.inf)
        self._low, self._scale, self._first, self._crowded, self._known = self._table()

    def codes(self, values: FloatArray) -> CodeArray:
        """Return each finite value's bin; what is not finite gets `MISSING`."""
        codes = np.empty(len(values), dtype=np.uint16)
        for start in range(0, len(values), CHUNK):
            part = slice(start, start + CHUNK)
            codes[part] = self._codes(values[part])
        return codes

    def count(self, codes: CodeArray) -> IntArray:
        """Count codes per bin; missing ones are left out."""
        return np.bincount(codes, minlength=self.bins)[: self.bins].astype(np.int64)

    @cached_property
    def scores(self) -> npt.NDArray[np.float32]:
        """The normal score of each bin: the normal quantile of the reference's mid-rank.

        Bounded, so that no outlier weighs more than the reference's own extreme; 0 is the mean.
        """
        total = int(self.counts.sum())
        if total == 0:
            return np.zeros(self.bins, dtype=np.float32)
        middle = (np.cumsum(self.counts) - self.counts / 2) / total
        edge = 0.5 / (total + 1)
        from scipy.special import ndtri  # a server reads profiles without scipy

        return np.asarray(ndtri(np.clip(middle, edge, 1 - edge)), dtype=np.float32)

    def _codes(self, values: FloatArray) -> CodeArray:
        finite = np.isfinite(values)
        whole = bool(finite.all())
        if len(self.points) == 0:
            return np.where(finite, 0, MISSING).astype(np.uint16)
        plain = values if whole else np.where(finite, values, self.points[0])
        with np.errstate(over="ignore", invalid="ignore"):
            place = plain - self._low
            place *= self._scale
        np.clip(place, 0, CELLS + 1, out=place)
        cell = place.astype(np.int64)  # as wide as NumPy looks up by: nothing is converted
        codes = self._known.take(cell)
        near = np.flatnonzero(codes == SEARCH)
        if len(near):
            codes[near] = self._search(plain[near], cell[near])
        if not whole:
            codes[~finite] = MISSING
        return codes

    def _search(self, values: FloatArray, cell: IntArray) -> IntArray:
        """Return the bins of values whose cells hold grid points."""
        index = self._first.take(cell)
        for _ in range(STEPS):
            index += self._padded.take(index) < values
        crowded = np.flatnonzero(self._crowded.take(cell))
        if len(crowded):
            index[crowded] = np.searchsorted(self.points, values[crowded], side="left")
        return 2 * index + (self._padded.take(index) == values)

    def _table(self) -> tuple[float, float, IntArray, npt.NDArray[np.bool_], CodeArray]:
        """Return where cells begin, how many there are per unit, and what is known of each.

        That is: the grid points in lower cells, whether it holds too many to step over, and the
        bin of its values, `SEARCH` where it holds any. Rounding is monotone, so points in lower
        cells are below and those in higher ones above. Cell 0 is below the central points, the
        last one above; both may be crowded.
        """
        count = len(self.points)
        if count == 0:
            nothing = np.zeros(CELLS + 2, np.int64)
            return 0.0, 0.0, nothing, nothing.astype(np.bool_), nothing.astype(np.uint16)
        low, high = self.points[count // 100], self.points[-1 - count // 100]
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            scale = CELLS / (high - low)
            usable = bool(np.isfinite(scale) and scale > 0)
            low, scale = (low, scale) if usable else (0.0, 0.0)
            cells = np.clip((self.points - low) * scale, 0, CELLS + 1).astype(np.int64)
        occupied = np.bincount(cells, minlength=CELLS + 2)
        first = np.cumsum(occupied) - occupied
        known = np.where(occupied > 0, SEARCH, 2 * first).astype(np.uint16)
        return float(low), float(scale), first, occupied > STEPS, known


def quantiles(ordered: FloatArray) -> FloatArray:
    """Return the values themselves where they are few, else values at evenly spaced ranks."""
    if len(ordered) <= QUANTILES:
        return ordered
    shares = np.arange(QUANTILES) / (QUANTILES - 1)
    # The inverse of the empirical distribution function: no value that the table does not hold.
    ranks = np.maximum(np.ceil(shares * len(ordered)).astype(np.int64) - 1, 0)
    return ordered[ranks]
