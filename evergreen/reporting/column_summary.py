"""One column of a table in a line: what is missing, how many values, which, and their shape."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from evergreen.data.contract import Column
from evergreen.data.hashes import count_distinct
from evergreen.reporting.associations import as_numbers, is_numeric
from evergreen.reporting.numbers import MINUS, plain, share, shorten

BINS = 16
NOTHING = "no values"
LEVELS = 3


@dataclass(frozen=True)
class ColumnSummary:
    """What the table of columns shows. ``counts`` are a histogram's, or the levels' sizes."""

    column: Column
    missing: int
    missing_share: float | None
    distinct: int
    span: str
    typical: str
    counts: tuple[int, ...]


def summarize_column(values: pd.Series, column: Column) -> ColumnSummary:
    """Summarize all rows of one conformed column."""
    present = values.dropna()
    missing = len(values) - len(present)
    counts: tuple[int, ...] = ()
    span = typical = NOTHING
    if len(present) and is_numeric(column) and pd.api.types.is_object_dtype(present):
        column = column.model_copy(update={"type": "category"})  # a target's labels
    if len(present) and is_numeric(column):
        span, typical, counts = _of_numbers(as_numbers(present, column).dropna(), column)
    elif len(present):
        span, typical, counts = _of_levels(present.astype(str))
    return ColumnSummary(
        column=column,
        missing=missing,
        missing_share=missing / len(values) if len(values) else None,
        distinct=_count_distinct(present),
        span=span,
        typical=typical,
        counts=counts,
    )


def _count_distinct(present: pd.Series) -> int:
    # Of floats, sorting is several times as quick as a hash table, and takes a quarter of the room.
    return count_distinct(present.to_numpy()) if present.dtype == "float64" else present.nunique()


def _of_numbers(values: pd.Series, column: Column) -> tuple[str, str, tuple[int, ...]]:
    if not len(values):
        return NOTHING, NOTHING, ()
    low, middle, high = values.min(), values.median(), values.max()
    counts = tuple(int(each) for each in histogram(values.to_numpy(), BINS)[0])
    if column.type == "boolean":
        return "no, yes", f"yes in {share(float((values != 0).mean()))}", counts
    said = [readable(float(each), column) for each in (low, middle, high)]
    if low == high:
        return f"only {said[0]}", f"only {said[0]}", counts
    return f"{said[0]} to {said[2]}", f"median {said[1]}", counts


def readable(value: float, column: Column) -> str:
    """Write one value of an ordered column: a date, a whole number, or a rounded one."""
    if column.type == "timestamp":
        return str(pd.Timestamp(value, unit="D").date())
    if column.type == "integer" and value == int(value) and abs(value) < 1e12:
        return f"{int(value):,}".replace("-", MINUS)
    return plain(value)


def _of_levels(values: pd.Series) -> tuple[str, str, tuple[int, ...]]:
    sizes = values.value_counts()
    names = [shorten(str(each), 24) for each in sizes.index[:LEVELS]]
    more = f" and {len(sizes) - LEVELS:,} more" if len(sizes) > LEVELS else ""
    typical = f"{names[0]}, {share(float(sizes.iloc[0] / len(values)))}"
    return ", ".join(names) + more, typical, tuple(int(each) for each in sizes.iloc[:BINS])


def histogram(values: np.ndarray, bins: int) -> tuple[np.ndarray, np.ndarray]:
    """Return counts and edges between the extremes; one value gets a bin of its own in the middle.

    Ranges so wide or so narrow that floats cannot divide them give one bin.
    """
    low, high = float(values.min()), float(values.max())
    if low == high:
        width = abs(low) * 0.5 or 0.5
        low, high = low - width, high + width
    try:
        return np.histogram(values, bins=bins, range=(low, high))
    except ValueError:
        return np.array([len(values)]), np.array([low, high])
