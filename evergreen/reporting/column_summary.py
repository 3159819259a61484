"""One column of a table in a line: what is missing, how many values, which, and their shape."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from evergreen.data.contract import Column
from evergreen.data.statistics import ColumnStatistics, Spread, is_numeric
from evergreen.reporting.numbers import MINUS, plain, share, shorten

BARS = 16  # levels; of a histogram, two bins make one
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


def summarize_column(found: ColumnStatistics, column: Column) -> ColumnSummary:
    """Word the statistics of all rows of one column."""
    counts: tuple[int, ...] = ()
    span = typical = NOTHING
    if found.spread is not None:
        span, typical = _of_numbers(found.spread, column)
        halves = np.arange(0, len(found.spread.counts), 2)
        counts = tuple(np.add.reduceat(found.spread.counts, halves).tolist())
    elif found.levels is not None:
        if is_numeric(column):  # a target's labels
            column = column.model_copy(update={"type": "category"})
        span, typical = _of_levels(found.levels)
        counts = tuple(int(each) for each in found.levels.iloc[:BARS])
    return ColumnSummary(
        column=column,
        missing=found.missing,
        missing_share=found.missing / found.rows if found.rows else None,
        distinct=found.distinct,
        span=span,
        typical=typical,
        counts=counts,
    )


def _of_numbers(spread: Spread, column: Column) -> tuple[str, str]:
    if column.type == "boolean":
        mixed = spread.low != spread.high
        yes = spread.counts[-1] / spread.present if mixed else float(spread.low != 0)
        return "no, yes", f"yes in {share(yes)}"
    ends = (spread.low, spread.median, spread.high)
    low, median, high = (readable(each, column) for each in ends)
    if spread.low == spread.high:
        return f"only {low}", f"only {low}"
    return f"{low} to {high}", f"median {median}"


def readable(value: float, column: Column) -> str:
    """Write one value of an ordered column: a date, a whole number, or a rounded one."""
    if column.type == "timestamp":
        return str(pd.Timestamp(value, unit="D").date())
    if column.type == "integer" and value == int(value) and abs(value) < 1e12:
        return f"{int(value):,}".replace("-", MINUS)
    return plain(value)


def _of_levels(sizes: pd.Series[int]) -> tuple[str, str]:
    names = [shorten(str(each), 24) for each in sizes.index[:LEVELS]]
    more = f" and {len(sizes) - LEVELS:,} more" if len(sizes) > LEVELS else ""
    typical = f"{names[0]}, {share(float(sizes.iloc[0] / sizes.sum()))}"
    return ", ".join(names) + more, typical
