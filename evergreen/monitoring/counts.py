"""What is counted of one column, and of predictions: small, exact, and parts add up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]

NEW_LEVELS = 1000  # new levels that are counted one by one: those first in alphabetical order
FAR = 1e6  # deviations from the mean beyond which a value counts as so far, in sums only


@dataclass(frozen=True, eq=False)
class ColumnCounts:
    """One column of a window.

    ``bins`` counts the grid's bins of a number, the known levels of a category. ``total`` and
    ``squares`` sum (value - mean) / deviation and its square, by the reference's mean and
    deviation. ``new`` counts levels that the reference does not know, ``new_rows`` all their rows.
    """

    bins: IntArray
    missing: int = 0
    infinite: int = 0
    unreadable: int = 0
    total: float = 0.0
    squares: float = 0.0
    new: Mapping[str, int] = field(default_factory=dict)
    new_rows: int = 0

    @property
    def present(self) -> int:
        """Rows with a value that can be compared."""
        return int(self.bins.sum()) + self.new_rows

    def merge(self, other: ColumnCounts) -> ColumnCounts:
        """Return the counts of both parts together."""
        levels = sorted({*self.new, *other.new})[:NEW_LEVELS]
        return ColumnCounts(
            bins=self.bins + other.bins,
            missing=self.missing + other.missing,
            infinite=self.infinite + other.infinite,
            unreadable=self.unreadable + other.unreadable,
            total=self.total + other.total,
            squares=self.squares + other.squares,
            new={level: self.new.get(level, 0) + other.new.get(level, 0) for level in levels},
            new_rows=self.new_rows + other.new_rows,
        )


@dataclass(frozen=True)
class LossSums:
    """Losses of the rows whose truth is known: their number, sum, sum of squares."""

    rows: int = 0
    total: float = 0.0
    squares: float = 0.0

    @classmethod
    def of(cls, losses: npt.NDArray[np.float64]) -> LossSums:
        """Sum losses."""
        return cls(len(losses), float(losses.sum()), float((losses**2).sum()))

    @property
    def mean(self) -> float:
        """The mean loss; NaN without rows."""
        return self.total / self.rows if self.rows else float("nan")

    @property
    def variance(self) -> float:
        """The variance of a loss, with n - 1 in the denominator; 0 below two rows."""
        if self.rows < 2:
            return 0.0
        return max(0.0, (self.squares - self.total**2 / self.rows) / (self.rows - 1))

    def merge(self, other: LossSums) -> LossSums:
        """Return the sums over both parts."""
        return LossSums(
            self.rows + other.rows, self.total + other.total, self.squares + other.squares
        )


@dataclass(frozen=True, eq=False)
class PredictionCounts:
    """The predictions of a window: labels or bins, and how sure the model was."""

    rows: int = 0  # with a prediction
    missing: int = 0
    unknown: int = 0  # labels that the reference does not know
    labels: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))
    bins: Mapping[str, IntArray] = field(default_factory=dict)  # by label; "" of a regression
    sureness: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))
    loss: LossSums = LossSums()

    def merge(self, other: PredictionCounts) -> PredictionCounts:
        """Return the counts of both parts together."""
        return PredictionCounts(
            rows=self.rows + other.rows,
            missing=self.missing + other.missing,
            unknown=self.unknown + other.unknown,
            labels=self.labels + other.labels,
            bins={name: self.bins[name] + other.bins[name] for name in self.bins},
            sureness=self.sureness + other.sureness,
            loss=self.loss.merge(other.loss),
        )
