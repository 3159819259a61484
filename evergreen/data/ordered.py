"""Numbers in ascending order: counted where they lie on a decimal grid, else sorted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.typing import NDArray

from evergreen.data.hashes import parts_of

Floats = NDArray[np.float64]

# Measurements, prices and whole numbers have few decimals. Seven times as quick as sorting, and
# nothing is lost: a number of the grid is that one which its place, divided, gives to the last bit.
PLACES_PER_UNIT = (1.0, 10.0, 100.0, 1e3, 1e4, 1e5, 1e6)
MIN_PLACES = 65_536  # a grid may have so many, or as many as there are numbers


@dataclass(frozen=True)
class Ordered:
    """Finite numbers in ascending order.

    ``values`` are all of them, or, where ``ends`` is given, each different one: ``ends`` says how
    many numbers are at most as great.
    """

    values: Floats
    ends: NDArray[np.int64] | None = None

    @classmethod
    def of(cls, numbers: Floats) -> Ordered:
        """Order finite numbers, by a counting sort if possible (Seward, 1954); they are left alone.

        It takes the room of one copy of them.
        """
        if not len(numbers):
            return cls(numbers)
        low, high = float(numbers.min()), float(numbers.max())
        for scale in PLACES_PER_UNIT:
            if not (high - low) * scale < max(len(numbers), MIN_PLACES):
                break
            if (counted := _counted(numbers, low, scale)) is not None:
                return counted
        return cls(np.sort(numbers))

    def __len__(self) -> int:
        return len(self.values) if self.ends is None else int(self.ends[-1])

    @property
    def distinct(self) -> int:
        """How many different numbers there are."""
        if self.ends is not None or not len(self.values):
            return len(self.values)
        return 1 + sum(
            int((self.values[part.start + 1 : part.stop + 1] != self.values[part]).sum())
            for part in parts_of(len(self.values) - 1)
        )

    def within(self, bound: float) -> bool:
        """Tell whether all numbers are less than a bound, their signs apart."""
        return not len(self) or bool(np.abs(self.values[[0, -1]]).max() < bound)

    def at(self, places: list[int]) -> Floats:
        """Return the numbers at some places: 0 is the least one's."""
        if self.ends is None:
            return self.values[places]
        return self.values[np.searchsorted(self.ends, places, side="right")]

    def below(self, bounds: npt.ArrayLike) -> NDArray[np.int64]:
        """Return how many numbers are less than each bound."""
        return self._until(np.searchsorted(self.values, bounds, side="left"))

    def up_to(self, bounds: npt.ArrayLike) -> NDArray[np.int64]:
        """Return how many numbers are at most as great as each bound."""
        return self._until(np.searchsorted(self.values, bounds, side="right"))

    def _until(self, entries: Any) -> NDArray[np.int64]:
        if self.ends is None:
            return np.asarray(entries)
        return np.where(entries > 0, self.ends[entries - 1], 0)

    def quantile(self, share: float) -> float:
        """Return a quantile of at least one number, as `numpy.quantile` does by default."""
        place = share * (len(self) - 1)
        before = int(place)
        around = self.at([before, min(before + 1, len(self) - 1)])
        with np.errstate(over="ignore"):
            return float(np.quantile(around, place - before))

    def median(self) -> float:
        """Return the median of at least one number, as `numpy.median` does."""
        middle = len(self) // 2
        return float(np.median(self.at([middle - (len(self) + 1) % 2, middle])))

    def histogram(self, edges: Floats) -> NDArray[np.int64]:
        """Count by bins, as `numpy.histogram` does; the edges enclose all numbers."""
        return np.diff(np.append(self.below(edges[:-1]), len(self)))


def _counted(numbers: Floats, low: float, scale: float) -> Ordered | None:
    """Count numbers by their place on a grid; return None if one lies beside it."""
    places = np.empty(len(numbers), dtype=np.int64)
    with np.errstate(over="ignore", invalid="ignore"):
        first = np.rint(low * scale)
        for part in parts_of(len(numbers)):
            place = np.rint(numbers[part] * scale)
            if not (place / scale == numbers[part]).all():
                return None
            places[part] = place - first
    counts = np.bincount(places)
    found = np.flatnonzero(counts)
    return Ordered((found + first) / scale, np.cumsum(counts[found]))
