"""What a check looks at, what it says, and the words it uses."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from evergreen.config import UseCase
from evergreen.data.casting import as_number, is_missing
from evergreen.data.conform import conform
from evergreen.data.contract import Column, Contract, Role
from evergreen.data.hashes import Hashes, whole_hashes
from evergreen.data.splits import Split, SplitRows

FIRST_ROWS = 5
FIRST_COLUMNS = 10


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
    """A raw table with what the checks share, each computed at most once.

    ``hashes`` are those of the whole rows, where ``raw`` holds a part of their columns.
    """

    raw: pd.DataFrame  # index 0 … n-1
    contract: Contract
    use_case: UseCase
    now: datetime
    hashes: Hashes | None = None

    @cached_property
    def conformed(self) -> pd.DataFrame:
        """The table in canonical dtypes."""
        return conform(self.raw, self.contract)

    @cached_property
    def row_hashes(self) -> Hashes:
        """One hash per row of all its values."""
        return whole_hashes(self.conformed) if self.hashes is None else self.hashes

    @cached_property
    def missing(self) -> dict[str, NDArray[np.bool_]]:
        """Which values of each column are missing in the raw table."""
        names = (column.name for column in self.columns())
        return {name: is_missing(self.raw[name]).to_numpy() for name in names}

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

    def numbers(self, *roles: Role) -> Iterator[tuple[Column, pd.Series]]:
        """Yield the columns of numbers, infinities kept."""
        for column in self.columns(*roles):
            if column.type in {"number", "integer"}:
                yield column, as_number(self.raw[column.name])


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
