"""From an Arrow column to bins and counts, by what the reference knows of the column."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from evergreen.monitoring.counts import FAR, NEW_LEVELS, ColumnCounts
from evergreen.monitoring.grid import MISSING, CodeArray
from evergreen.monitoring.reading import (
    FloatArray,
    HashArray,
    level_bits,
    number_bits,
    read_levels,
    read_moments,
    read_numbers,
)
from evergreen.monitoring.reference import ColumnReference

NEW: Final = 65_534  # code of a level that the reference does not know


@dataclass(frozen=True)
class EncodedColumn:
    """A column of a batch: bins (or level positions), 64 bits of each value, and the counts."""

    codes: CodeArray
    bits: HashArray
    counts: ColumnCounts


class ColumnEncoder:
    """Encodes batches of one column."""

    def __init__(self, reference: ColumnReference) -> None:
        self.reference = reference
        self.grid = None if reference.grid is None else reference.grid.grid()
        self._positions = {level: place for place, level in enumerate(reference.levels)}

    @property
    def bins(self) -> int:
        """How many bins, or known levels, there are."""
        return len(self._positions) if self.grid is None else self.grid.bins

    def nothing(self) -> ColumnCounts:
        """Return the counts of no rows."""
        return ColumnCounts(bins=np.zeros(self.bins, dtype=np.int64))

    def encode(self, column: pa.Array) -> EncodedColumn:
        """Encode a batch; what cannot be read counts as missing and unreadable."""
        if self.grid is None:
            return self._levels(column)
        read = read_moments if self.reference.kind == "timestamp" else read_numbers
        values, unreadable = read(column)
        return self._numbers(values, unreadable)

    def _numbers(self, values: FloatArray, unreadable: int) -> EncodedColumn:
        assert self.grid is not None  # noqa: S101  (numbers have one)
        codes = self.grid.codes(values)
        bins = self.grid.count(codes)
        absent = len(values) - int(bins.sum())
        infinite = int(np.isinf(values).sum()) if absent else 0
        total, squares = self._sums(values if not absent else values[np.isfinite(values)])
        counts = ColumnCounts(
            bins=bins,
            missing=absent - infinite - unreadable,
            infinite=infinite,
            unreadable=unreadable,
            total=total,
            squares=squares,
        )
        return EncodedColumn(codes, number_bits(values), counts)

    def _sums(self, finite: FloatArray) -> tuple[float, float]:
        reference = self.reference
        with np.errstate(over="ignore"):
            centred = finite - reference.mean
            if reference.deviation > 0:
                centred /= reference.deviation
        np.clip(centred, -FAR, FAR, out=centred)
        return float(centred.sum()), float(centred @ centred)

    def _levels(self, column: pa.Array) -> EncodedColumn:
        levels, unreadable = read_levels(column)
        rows = np.bincount(levels.positions + 1, minlength=len(levels.levels) + 1)
        known = [self._positions.get(level, NEW) for level in levels.levels]
        table = np.array([*known, MISSING], dtype=np.uint16)
        bins = np.zeros(self.bins, dtype=np.int64)
        new: dict[str, int] = {}
        new_rows = 0
        for level, place, count in zip(levels.levels, known, rows[1:].tolist(), strict=True):
            if place != NEW:
                bins[place] += count
            elif count:
                new_rows += count
                if len(new) < NEW_LEVELS:  # levels come in alphabetical order
                    new[level] = count
        counts = ColumnCounts(
            bins=bins,
            missing=int(rows[0]) - unreadable,
            unreadable=unreadable,
            new=new,
            new_rows=new_rows,
        )
        return EncodedColumn(table[levels.positions], level_bits(levels), counts)


class ScoreTable:
    """Normal scores of coded number columns, as a matrix."""

    def __init__(self, encoders: list[ColumnEncoder]) -> None:
        self._tables = []
        for encoder in encoders:
            assert encoder.grid is not None  # noqa: S101  (they are numbers)
            self._tables.append(np.append(encoder.grid.scores, np.float32(0)))

    def scores(
        self, codes: list[CodeArray]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_] | None]:
        """Return scores (n x P; 0 where missing), and what is present; None: everything.

        Columns lie together in memory: all that follows goes along them.
        """
        rows = len(codes[0]) if codes else 0
        scores = np.empty((len(codes), rows), dtype=np.float32).T
        present = None
        for place, (table, column) in enumerate(zip(self._tables, codes, strict=True)):
            absent = column == MISSING
            if absent.any():
                if present is None:
                    present = np.ones((len(codes), rows), dtype=np.bool_).T
                present[:, place] = ~absent
            scores[:, place] = table.take(column, mode="clip")
        return scores, present
