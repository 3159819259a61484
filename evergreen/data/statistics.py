"""What a conformed column holds, counted once for the checks and for the report."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from evergreen.data.contract import Column
from evergreen.data.ordered import Floats, Ordered
from evergreen.data.threads import in_threads

BINS = 32
EXACT_DAYS = 65_536  # so many tell microseconds apart: the years 1790 to 2149
# Interquartile ranges beyond the quartiles (Tukey, Exploratory Data Analysis, 1977).
FAR_FENCE = 3.0


@dataclass(frozen=True, eq=False)
class Spread:
    """How the numbers of an ordered column are spread (timestamps: days since 1970).

    ``present`` are finite. ``counts`` are a histogram's, with ``edges`` around its bins. Beyond
    Tukey's far ``fences`` lie ``far`` numbers; where the middle half is one number, there are none.
    """

    present: int
    low: float
    median: float
    high: float
    edges: Floats
    counts: tuple[int, ...]
    whole: bool
    fences: tuple[float, float] | None
    far: int


@dataclass(frozen=True, eq=False)
class ColumnStatistics:
    """What a column holds: a ``spread`` of numbers, or ``levels``, unless all is missing.

    ``levels`` says how many rows have each level, the most frequent one first.
    """

    rows: int
    missing: int
    distinct: int
    spread: Spread | None = None
    levels: pd.Series[int] | None = None

    @property
    def present(self) -> int:
        """How many rows have a value."""
        return self.rows - self.missing

    @property
    def constant(self) -> bool:
        """Whether every row has the same value."""
        return self.distinct == 1 and not self.missing


@dataclass(frozen=True, eq=False)
class Levels:
    """The different values of a column as they appear, and each row's place among them (or -1)."""

    values: NDArray[np.object_]
    codes: NDArray[np.signedinteger[Any]]

    @classmethod
    def of(cls, values: pd.Series) -> Levels:
        """Find them in a column of objects."""
        codes, levels = pd.factorize(values.to_numpy())
        return cls(levels, codes.astype(np.min_scalar_type(-len(levels) - 1)))

    def statistics(self) -> ColumnStatistics:
        """Count the rows of each level."""
        counts = np.bincount(self.codes + np.int64(1), minlength=len(self.values) + 1)
        sizes = pd.Series(counts[1:], index=pd.Index(self.values))
        return ColumnStatistics(
            rows=len(self.codes),
            missing=int(counts[0]),
            distinct=len(sizes),
            levels=sizes.sort_values(ascending=False, kind="stable") if len(sizes) else None,
        )


def has_levels(values: pd.Series, column: Column) -> bool:
    """Tell whether a conformed column is one of levels, as a target of labels always is."""
    return values.dtype == object or not is_numeric(column)


def column_statistics(values: pd.Series, column: Column) -> ColumnStatistics:
    """Count what is in a conformed column, with one or two copies of it in memory."""
    if has_levels(values, column):
        return Levels.of(values).statistics()
    rows, missing = len(values), int(values.isna().sum())
    if missing == rows:
        return ColumnStatistics(rows, missing, 0)
    numbers = as_numbers(values, column).to_numpy()
    known = np.isfinite(numbers)
    ordered = Ordered.of(numbers if known.all() else numbers[known])
    exact = column.type != "timestamp" or ordered.within(EXACT_DAYS)
    distinct = ordered.distinct if exact else values.nunique()
    return ColumnStatistics(rows, missing, distinct, spread=_spread(ordered))


def table_statistics(frame: pd.DataFrame, columns: Iterable[Column]) -> dict[str, ColumnStatistics]:
    """Return the statistics of columns of a conformed table, found on all cores."""
    known = [column for column in columns if column.name in frame.columns]
    found = in_threads(lambda column: column_statistics(frame[column.name], column), known)
    return {column.name: each for column, each in zip(known, found, strict=True)}


def histogram_edges(low: float, high: float, bins: int) -> Floats:
    """Return edges between two extremes; one value gets a bin of its own in the middle.

    Ranges so wide or so narrow that floats cannot divide them give one bin.
    """
    if low == high:
        width = abs(low) * 0.5 or 0.5
        low, high = low - width, high + width
    one = np.array([low, high])
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            edges: Floats = np.histogram_bin_edges(one, bins=bins, range=(low, high))
    except ValueError:
        return one
    return edges if np.isfinite(edges).all() else one


def is_numeric(column: Column) -> bool:
    """Return whether a column has an order that ranks can use."""
    return column.type in {"number", "integer", "boolean", "timestamp"}


def as_numbers(values: pd.Series, column: Column) -> pd.Series:
    """Return an ordered column as floats (timestamps: days since 1970), infinities missing."""
    if column.type == "timestamp":
        days = values.to_numpy(dtype="datetime64[us]").astype("float64") / 86_400e6
        return pd.Series(np.where(values.isna(), np.nan, days), index=values.index)
    return as_plain_numbers(values)


def as_plain_numbers(values: pd.Series) -> pd.Series:
    """Return numbers as floats, infinities missing."""
    floats = values
    if values.dtype != np.float64:
        floats = pd.to_numeric(values, errors="coerce").astype("float64")
    infinite: Any = np.isinf(floats.to_numpy())
    return floats.mask(infinite) if infinite.any() else floats


def _spread(ordered: Ordered) -> Spread | None:
    if not len(ordered):
        return None
    low, high = (float(each) for each in ordered.at([0, len(ordered) - 1]))
    fences = _far_fences(ordered)
    far = 0
    if fences is not None:
        far = int(ordered.below(fences[0]) + len(ordered) - ordered.up_to(fences[1]))
    edges = histogram_edges(low, high, BINS)
    return Spread(
        present=len(ordered),
        low=low,
        median=ordered.median(),
        high=high,
        edges=edges,
        counts=tuple(ordered.histogram(edges).tolist()),
        whole=bool((ordered.values == np.floor(ordered.values)).all()),
        fences=fences,
        far=far,
    )


def _far_fences(ordered: Ordered) -> tuple[float, float] | None:
    lower, upper = ordered.quantile(0.25), ordered.quantile(0.75)
    reach = FAR_FENCE * (upper - lower)
    return (lower - reach, upper + reach) if 0 < reach < np.inf else None
