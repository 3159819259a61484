"""Medians of columns that come in pieces: exact, with a small share of the values kept.

By selection from a sample (Floyd and Rivest, Expected time bounds for selection, 1975): a few
rows drawn evenly tell between which two values a column's median surely lies; of all rows, those
below and above are counted, and only those between are kept. Where the counts say that a median
lies elsewhere, it is looked for once more between values further apart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

DEVIATIONS: Final = 5.0  # of a sample's median, on both sides: it errs once in a million columns
KEPT_VALUES: Final = 64_000_000  # of all columns that are looked at together
DRAWN: Final = 10_000  # of a column in memory
BLOCK: Final = 65_536  # values of it that are looked at together, in a processor's cache


class MedianSearch:
    """Counts and values of columns, between bounds that a sample gives.

    Where the columns are so many that too much would be kept, some are looked at first, and others
    in further ways through the table.

    Parameters
    ----------
    sample
        Some rows × columns, drawn evenly; NaN is missing.
    rows
        Of the whole table.
    deviations
        How far apart the bounds are at first, in standard deviations of the sample's rank.
    """

    def __init__(self, sample: FloatArray, rows: int, deviations: float = DEVIATIONS) -> None:
        drawn, columns = sample.shape
        self._sample = sample
        self._deviations = [deviations] * columns
        self._medians: list[float | None] = [None] * columns
        kept = rows * min(1.0, 2 * _reach(drawn, deviations) / max(1, drawn))
        self._together = int(max(1, KEPT_VALUES // max(1.0, kept)))
        self._sought = self._begin()

    def add(self, block: FloatArray) -> None:
        """Go on with the next rows × columns."""
        self.take(self.look(block))

    def look(self, block: FloatArray) -> dict[int, Seen]:
        """Count rows × columns, for `take`; several threads may do so at the same time."""
        return {place: column.look(block[:, place]) for place, column in self._sought.items()}

    def take(self, seen: Mapping[int, Seen]) -> None:
        """Go on with what a look at the next rows has seen."""
        for place, column in seen.items():
            self._sought[place].take(column)

    def medians(self, blocks: Callable[[], Iterable[FloatArray]]) -> FloatArray:
        """Return each column's median, NaN where it has no value.

        All rows were added before; ``blocks`` gives them anew, if that is needed.
        """
        while self._end():
            self._sought = self._begin()
            for block in blocks():
                self.add(block)
        return np.array(self._medians, dtype=np.float64)

    def kept(self) -> int:
        """Return how many values are kept now."""
        return sum(len(part) for column in self._sought.values() for part in column.between)

    def _begin(self) -> dict[int, _Between]:
        unknown = [place for place, median in enumerate(self._medians) if median is None]
        return {
            place: _Between(*_bounds(self._sample[:, place], self._deviations[place]))
            for place in unknown[: self._together]
        }

    def _end(self) -> bool:
        """Take down what was found, and tell whether there is more to look for."""
        for place, column in self._sought.items():
            self._medians[place] = column.median()
            self._deviations[place] = 4 * self._deviations[place] + 1
        self._sought = {}
        return None in self._medians


def median_of(values: FloatArray) -> float:
    """Return the median of values in memory, NaN where there is none; NaN is missing."""
    if len(values) <= DRAWN:
        known = values[~np.isnan(values)]
        return float(np.median(known)) if len(known) else np.nan
    step = len(values) // DRAWN
    search = MedianSearch(values[::step, None], len(values))

    def blocks() -> Iterable[FloatArray]:
        return (values[start : start + BLOCK, None] for start in range(0, len(values), BLOCK))

    for block in blocks():
        search.add(block)
    return float(search.medians(blocks)[0])


@dataclass(frozen=True, slots=True)
class Seen:
    """How many values there are, how many below and at two bounds, and those between."""

    count: int
    below: int
    at_low: int
    at_high: int = 0
    between: FloatArray | None = None


class _Between:
    """What of one column lies below, at and between two bounds."""

    def __init__(self, low: float, high: float) -> None:
        self.low, self.high = low, high
        self.count = self.below = self.at_low = self.at_high = 0
        self.between: list[FloatArray] = []

    def look(self, values: FloatArray) -> Seen:
        missing = np.isnan(values)
        if missing.any():
            values = values[~missing]
        below = int(np.count_nonzero(values < self.low))
        at_low = int(np.count_nonzero(values == self.low))
        if not self.high > self.low:
            return Seen(len(values), below, at_low)
        # Values that equal a bound are counted: there may be millions of them.
        at_high = int(np.count_nonzero(values == self.high))
        between = values[(values > self.low) & (values < self.high)]
        return Seen(len(values), below, at_low, at_high, between)

    def take(self, seen: Seen) -> None:
        self.count += seen.count
        self.below += seen.below
        self.at_low += seen.at_low
        self.at_high += seen.at_high
        if seen.between is not None:
            self.between.append(seen.between)

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
    reach = _reach(len(values), deviations)
    first, last = int(len(values) / 2 - reach), int(len(values) / 2 + reach)
    low = float(values[first]) if first > 0 else -np.inf
    high = float(values[last]) if last < len(values) else np.inf
    return low, high


def _reach(drawn: int, deviations: float) -> float:
    """Return how many ranks to both sides of a sample's median its table's lies, surely."""
    # The rank of the median among n drawn values has a standard deviation of √n / 2.
    return deviations * float(np.sqrt(drawn)) / 2 + 1
