"""Medians of columns that come in pieces: exact, with a small share of the values kept.

By selection from a sample (Floyd and Rivest, Expected time bounds for selection, 1975): a few
rows drawn evenly tell between which two values a column's median surely lies; of all rows, those
below and above are counted, and only those between are kept. Where the counts say that a median
lies elsewhere, it is looked for once more between values further apart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import compress
from typing import Final

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

DEVIATIONS: Final = 5.0  # of a sample's median, on both sides: it errs once in a million columns


class MedianSearch:
    """Counts and values of columns, between bounds that a sample gives.

    Parameters
    ----------
    sample
        Some rows × columns, drawn evenly; NaN is missing.
    deviations
        How far apart the bounds are, in standard deviations of the sample's rank.
    """

    def __init__(self, sample: FloatArray, deviations: float = DEVIATIONS) -> None:
        self._columns = [_Between(*_bounds(column, deviations)) for column in sample.T]

    def add(self, block: FloatArray) -> None:
        """Go on with the next rows × columns."""
        for column, values in zip(self._columns, block.T, strict=True):
            column.add(values)

    def medians(self) -> list[float | None]:
        """Return each column's median, NaN where it has no value, None where it is not known."""
        return [column.median() for column in self._columns]


def remaining_medians(
    medians: list[float | None],
    sample: FloatArray,
    blocks: Callable[[], Iterable[FloatArray]],
) -> FloatArray:
    """Return all medians, those that a first search has not found from as many more as it takes.

    Each search is one more way through the ``blocks`` of all columns.
    """
    deviations = DEVIATIONS
    while any(unknown := [median is None for median in medians]):
        deviations *= 4
        search = MedianSearch(sample[:, unknown], deviations)
        for block in blocks():
            search.add(block[:, unknown])
        places = compress(range(len(medians)), unknown)
        for place, found in zip(places, search.medians(), strict=True):
            medians[place] = found
    return np.array(medians, dtype=np.float64)


class _Between:
    """What of one column lies below, at and between two bounds."""

    def __init__(self, low: float, high: float) -> None:
        self.low, self.high = low, high
        self.count = self.below = self.at_low = self.at_high = 0
        self.between: list[FloatArray] = []

    def add(self, values: FloatArray) -> None:
        values = values[~np.isnan(values)]
        self.count += len(values)
        self.below += int(np.count_nonzero(values < self.low))
        self.at_low += int(np.count_nonzero(values == self.low))
        if self.high > self.low:
            # Values that equal a bound are counted: there may be millions of them.
            self.at_high += int(np.count_nonzero(values == self.high))
            self.between.append(values[(values > self.low) & (values < self.high)])

    def median(self) -> float | None:
        if not self.count:
            return np.nan
        between = np.sort(np.concatenate(self.between or [np.empty(0)]))
        middle = [self._at(rank, between) for rank in ((self.count - 1) // 2, self.count // 2)]
        known = [value for value in middle if value is not None]
        return float(np.mean(known)) if len(known) == 2 else None

    def _at(self, rank: int, between: FloatArray) -> float | None:
        """Return the value of a rank, from 0, or None where it lies outside the bounds."""
        rank -= self.below
        if rank < 0:
            return None
        for count, value in ((self.at_low, self.low), (len(between), None)):
            if rank < count:
                return float(between[rank]) if value is None else value
            rank -= count
        return self.high if rank < self.at_high else None


def _bounds(column: FloatArray, deviations: float) -> tuple[float, float]:
    values = np.sort(column[~np.isnan(column)])
    # The rank of the median among n drawn values has a standard deviation of √n / 2.
    reach = deviations * np.sqrt(len(values)) / 2 + 1
    first, last = int(len(values) / 2 - reach), int(len(values) / 2 + reach)
    low = float(values[first]) if first > 0 else -np.inf
    high = float(values[last]) if last < len(values) else np.inf
    return low, high
