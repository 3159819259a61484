"""What a check looks at, what it says, and the words it uses."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any, Literal, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from evergreen.config import UseCase
from evergreen.data.casting import as_number, is_missing
from evergreen.data.conform import conform
from evergreen.data.contract import Column, Contract, Role
from evergreen.data.hashes import Hashes, whole_hashes
from evergreen.data.splits import Split, SplitRows
from evergreen.data.statistics import (
    ColumnStatistics,
    Levels,
    column_statistics,
    has_levels,
)
from evergreen.data.threads import in_threads

FIRST_ROWS = 5
FIRST_COLUMNS = 10
KEPT_LEVELS = 1_000  # of a column whose rows' levels are kept, in a byte or two each

Counted = TypeVar("Counted")


@dataclass(frozen=True)
class Observation:
    """One thing that a check found; the use case says how bad it is, but not beyond ``worst``."""

    message: str
    columns: tuple[str, ...] = ()
    count: int | None = None
    share: float | None = None
    rows: tuple[int, ...] = ()
    worst: Literal["warning", "error"] = "error"


Observations = Iterator[Observation]


@dataclass(frozen=True)
class Table:
    """A raw table with what the checks and the report share, each computed at most once.

    ``hashes`` are those of the whole rows, where ``raw`` holds a part of their columns.
    """

    raw: pd.DataFrame  # index 0 … n-1
    contract: Contract
    use_case: UseCase
    now: datetime
    hashes: Hashes | None = None
    _counts: dict[tuple[str, str], Any] = field(default_factory=dict, repr=False)

    @cached_property
    def conformed(self) -> pd.DataFrame:
        """The table in canonical dtypes."""
        return conform(self.raw, self.contract)

    @cached_property
    def row_hashes(self) -> Hashes:
        """One hash per row of all its values."""
        if self.hashes is not None:
            return self.hashes
        # What has few levels is hashed by these.
        rows = self.conformed.assign(
            **{
                name: pd.Categorical.from_codes(levels.codes, levels.values)
                for (what, name), levels in self._counts.items()
                if what == "levels"
            }
        )
        return whole_hashes(rows)

    def look_at_all(self) -> None:
        """Count what each column holds, on all cores, with a copy or two of it in memory."""
        self.conformed  # noqa: B018  # before threads wait for each other to make it
        for _ in in_threads(self._look, self.columns()):
            pass

    def missing(self, column: Column) -> int:
        """Return how many values of a raw column are missing."""
        if self._complete(column):
            return 0
        return self._once("missing", column, lambda: int(self.missing_in(column).sum()))

    def missing_in(self, column: Column) -> NDArray[np.bool_]:
        """Tell which values of a raw column are missing."""
        return is_missing(self.raw[column.name]).to_numpy()

    def infinite(self, column: Column) -> int:
        """Return how many values of a raw column are infinite numbers."""
        if self._complete(column):
            return 0
        return self._once("infinite", column, lambda: int(self.infinite_in(column).sum()))

    def infinite_in(self, column: Column) -> NDArray[np.bool_]:
        """Tell which values of a raw column are infinite numbers."""
        if column.type not in {"number", "integer"}:
            return np.zeros(len(self.raw), dtype=bool)
        return np.isinf(as_number(self.raw[column.name]).to_numpy())

    def statistics(self, column: Column) -> ColumnStatistics:
        """Return what a conformed column holds."""
        return self._once("statistics", column, lambda: self._statistics(column))

    def levels(self, column: Column) -> Levels:
        """Return the levels of a conformed column of text or labels."""
        found: Levels | None = self._counts.get(("levels", column.name))
        if found is None:
            found = Levels.of(self.conformed[column.name])
            if len(found.values) <= KEPT_LEVELS:
                self._counts["levels", column.name] = found
        return found

    @property
    def target(self) -> Column:
        """The target's column."""
        return self.contract.column(self.contract.target)

    def columns(self, *roles: Role) -> list[Column]:
        """Return the columns with one of the roles (any, if none is given) that are there."""
        return [
            column
            for column in self.contract.columns
            if (not roles or column.role in roles) and column.name in self.raw.columns
        ]

    def _look(self, column: Column) -> None:
        self.statistics(column)
        self.missing(column)
        self.infinite(column)

    def _statistics(self, column: Column) -> ColumnStatistics:
        values = self.conformed[column.name]
        if has_levels(values, column):
            return self.levels(column).statistics()
        return column_statistics(values, column)

    def _complete(self, column: Column) -> bool:
        """Tell whether a column is known to miss nothing, though infinities would be missing."""
        found = self._counts.get(("statistics", column.name))
        return found is not None and not found.missing

    def _once(self, what: str, column: Column, count: Callable[[], Counted]) -> Counted:
        # Threads work on different columns; a cached property would let one at a time.
        key = what, column.name
        if key not in self._counts:
            self._counts[key] = count()
        found: Counted = self._counts[key]
        return found


@dataclass(frozen=True)
class SplitTable:
    """The rows of a conformed table with their split."""

    rows: SplitRows
    split: Split
    contract: Contract

    @property
    def frame(self) -> pd.DataFrame:
        """The rows, or what of their columns splits go by."""
        return self.rows.frame

    def name_rows(self, positions: Iterable[int]) -> tuple[int, ...]:
        """Name rows as the table read did, if the frame's index still tells."""
        index = self.frame.index
        if not pd.api.types.is_integer_dtype(index.dtype):
            return tuple(int(position) for position in positions)
        return tuple(int(index[position]) for position in positions)


def first_rows(mask: NDArray[np.bool_]) -> tuple[int, ...]:
    """Return the positions of the first few rows that a mask marks."""
    return tuple(int(position) for position in np.flatnonzero(mask)[:FIRST_ROWS])


def these_rows(rows: Sequence[int], count: int) -> str:
    """Word the first rows: ``row 7`` or ``rows 3, 7, …``, counted from 0."""
    listed = ", ".join(str(row) for row in rows)
    more = ", …" if count > len(rows) else ""
    return f"row{'s' if count > 1 else ''} {listed}{more}, counted from 0"


def counted(count: int, singular: str, plural: str | None = None) -> str:
    """Word a number with its noun: ``1 row``, ``2,000 rows``."""
    return f"{count:,} {singular if count == 1 else plural or singular + 's'}"


def percent(share: float) -> str:
    """Word a share; one that is neither 0 nor 1 never looks so."""
    text = f"{share:.1%}"
    if text == "0.0%" and share > 0:
        return "less than 0.1%"
    return "more than 99.9%" if text == "100.0%" and share < 1 else text


def quoted(names: Sequence[object], most: int = FIRST_COLUMNS) -> str:
    """Word the first names or values of a list."""
    listed = ", ".join(repr(name) for name in names[:most])
    return listed + (f" and {len(names) - most} more" if len(names) > most else "")
