"""The reference profile: what a model's table and predictions looked like, in a few kilobytes.

A drift check compares a window with it and needs no training data. A number column keeps 513
quantiles that are values of the table (the smallest value at or above each share k/512), which
gives the Kolmogorov-Smirnov and Wasserstein distances within about 0.001 at 100,000 rows; up to
513 rows they are the column itself.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from evergreen.config import Label, Task
from evergreen.data.contract import Column, Contract
from evergreen.data.threads import in_threads
from evergreen.errors import InputError
from evergreen.monitoring.grid import QUANTILES as QUANTILES  # noqa: PLC0414  (re-export)
from evergreen.monitoring.grid import quantiles
from evergreen.monitoring.reference import Comparison
from evergreen.values import Value

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from evergreen.training.predictions import Predictions

FORMAT = 2  # 1 had no ``comparison``
BINS = 20
MAX_LEVELS = 1000

FloatArray = npt.NDArray[np.float64]


class Histogram(Value):
    """Counts of values in bins of equal width; one more edge than counts."""

    edges: tuple[float, ...]
    counts: tuple[int, ...]


class NumberProfile(Value):
    """The distribution of the finite values of a number or date (in seconds since 1970, UTC).

    ``quantiles`` ascend from the least to the greatest value; empty where there is no value.
    """

    count: int  # finite values
    mean: float | None
    deviation: float | None  # standard deviation, with n in the denominator
    quantiles: tuple[float, ...]
    histogram: Histogram | None


class CategoryProfile(Value):
    """The levels of a category, most frequent first; beyond 1,000 they are only counted."""

    count: int  # values that are not missing
    levels: Mapping[str, int]  # level: rows
    other_levels: int = 0
    other_rows: int = 0


class ColumnProfile(Value):
    """One column of the reference table. Exactly one of ``number`` and ``category`` is there."""

    name: str
    kind: Literal["number", "timestamp", "category"]
    rows: int
    missing: float  # share of the rows
    number: NumberProfile | None = None
    category: CategoryProfile | None = None


class PredictionProfile(Value):
    """What the model predicts, on rows that it was not fitted on where there are such.

    Classification: ``labels`` counts predicted labels (as text), ``actual`` the true ones, and
    ``probabilities`` holds the distribution of each label's probability. Regression: ``values``
    and ``actual_values``.
    """

    rows: int
    labels: Mapping[str, int] = {}
    actual: Mapping[str, int] = {}
    probabilities: Mapping[str, NumberProfile] = {}
    values: NumberProfile | None = None
    actual_values: NumberProfile | None = None


class ReferenceWindow(Value):
    """The first and the last moment (UTC) of the reference table."""

    first: datetime
    last: datetime


class Profile(Value):
    """The reference of all later comparisons."""

    format: int = FORMAT
    use_case: str
    task: Task
    rows: int
    window: ReferenceWindow | None  # None where the table has no timestamp
    columns: tuple[ColumnProfile, ...]
    predictions: PredictionProfile
    comparison: Comparison | None = None  # None in format 1

    def column(self, name: str) -> ColumnProfile:
        """Return one column; raise ``KeyError`` where the profile does not have it."""
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(name)


def make_profile(frame: pd.DataFrame, contract: Contract, predictions: Predictions) -> Profile:
    """Profile the features of a conformed frame, and predictions.

    The predictions may be of other rows than the frame's: those of a model on the rows that it
    was fitted on are too sure of themselves, so the holdout's are the better reference.

    Raises
    ------
    InputError
        If there is no row, or no prediction.
    """
    if frame.empty or not len(predictions):
        raise InputError("There are no rows to make a reference profile of.")
    from evergreen.monitoring.comparison import make_comparison

    columns = tuple(
        in_threads(lambda column: profile_column(frame[column.name], column), contract.features)
    )
    comparison = make_comparison(as_arrow(frame, contract), columns, predictions)
    moments = frame[name] if (name := moment_column(contract)) in frame.columns else None
    return assemble_profile(contract, moments, columns, comparison, predictions)


def assemble_profile(
    contract: Contract,
    moments: pd.Series[Any] | None,
    columns: tuple[ColumnProfile, ...],
    comparison: Comparison,
    predictions: Predictions,
) -> Profile:
    """Put a profile together; ``moments`` are those of the rows, where the table has any."""
    return Profile(
        use_case=contract.use_case,
        task=contract.task,
        rows=comparison.rows,
        window=None if moments is None else _window(moments.dropna()),
        columns=columns,
        predictions=profile_predictions(predictions),
        comparison=comparison,
    )


def profile_predictions(predictions: Predictions) -> PredictionProfile:
    """Profile predicted and actual values."""
    if predictions.labels is None:
        return PredictionProfile(
            rows=len(predictions),
            values=profile_numbers(predictions.predicted),
            actual_values=profile_numbers(predictions.actual),
        )
    probabilities = {}
    if predictions.probabilities is not None:
        probabilities = {
            str(label): profile_numbers(predictions.probabilities[:, position])
            for position, label in enumerate(predictions.labels)
        }
    return PredictionProfile(
        rows=len(predictions),
        labels=_label_counts(predictions.predicted_codes, predictions.labels),
        actual=_label_counts(predictions.actual_codes, predictions.labels),
        probabilities=probabilities,
    )


def profile_numbers(values: npt.ArrayLike) -> NumberProfile:
    """Profile numbers; missing and infinite ones are left out."""
    every = np.asarray(values, dtype=np.float64)
    finite = np.sort(every[np.isfinite(every)])
    if not len(finite):
        return NumberProfile(count=0, mean=None, deviation=None, quantiles=(), histogram=None)
    scale = np.abs(finite[[0, -1]]).max() or 1.0  # so that squares of huge numbers do not overflow
    scaled = finite / scale
    return NumberProfile(
        count=len(finite),
        mean=float(scaled.mean() * scale),
        deviation=float(scaled.std() * scale),
        quantiles=tuple(quantiles(finite).tolist()),
        histogram=_histogram(finite),
    )


def profile_levels(values: pd.Series[Any]) -> CategoryProfile:
    """Profile a category column of text; missing values are left out."""
    counts = values.value_counts()
    ordered = sorted(counts.items(), key=lambda item: (-item[1], str(item[0])))
    kept, rest = ordered[:MAX_LEVELS], ordered[MAX_LEVELS:]
    return CategoryProfile(
        count=int(counts.sum()),
        levels={str(level): int(rows) for level, rows in kept},
        other_levels=len(rest),
        other_rows=sum(int(rows) for _, rows in rest),
    )


def seconds_since_1970(values: pd.Series[Any]) -> FloatArray:
    """Return datetimes (UTC, without a zone) as seconds; missing ones as NaN."""
    micros = values.to_numpy(dtype="datetime64[us]")
    seconds: FloatArray = micros.astype(np.int64) / 1e6
    seconds[np.isnat(micros)] = np.nan
    return seconds


def as_arrow(frame: pd.DataFrame, contract: Contract) -> dict[str, pa.Array]:
    """Return the feature columns of a conformed frame as Arrow arrays."""
    names = [column.name for column in contract.features]
    return dict(zip(names, in_threads(lambda name: _arrow(frame[name]), names), strict=True))


def _arrow(values: pd.Series[Any]) -> pa.Array:
    """Return a conformed column as Arrow reads it."""
    import pyarrow as pa

    array = pa.array(values, from_pandas=True)
    # Text of a frame that was put together or read in parts is in chunks.
    return array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array


def profile_column(values: pd.Series[Any], column: Column) -> ColumnProfile:
    """Profile a feature column of a conformed frame."""
    rows = len(values)
    if column.type in ("category", "identifier"):
        category = profile_levels(values)
        return ColumnProfile(
            name=column.name,
            kind="category",
            rows=rows,
            missing=1 - category.count / rows,
            category=category,
        )
    is_date = column.type == "timestamp"
    number = profile_numbers(seconds_since_1970(values) if is_date else values.to_numpy(np.float64))
    return ColumnProfile(
        name=column.name,
        kind="timestamp" if is_date else "number",
        rows=rows,
        missing=1 - number.count / rows,
        number=number,
    )


def _histogram(ordered: FloatArray) -> Histogram | None:
    if not math.isfinite(float(ordered[-1]) - float(ordered[0])):
        return None  # the range is wider than a float can tell
    try:
        edges = np.histogram_bin_edges(ordered[[0, -1]], bins=BINS)
    except ValueError:  # the range is too narrow, relative to its place, to be divided
        return Histogram(edges=(float(ordered[0]), float(ordered[-1])), counts=(len(ordered),))
    inner = np.searchsorted(ordered, edges[1:-1], side="left")
    counts = np.diff(inner, prepend=0, append=len(ordered))
    return Histogram(edges=tuple(edges.tolist()), counts=tuple(counts.tolist()))


def _label_counts(codes: npt.NDArray[np.int64], labels: tuple[Label, ...]) -> dict[str, int]:
    counts = np.bincount(codes[codes >= 0], minlength=len(labels))
    return {str(label): int(count) for label, count in zip(labels, counts, strict=True)}


def moment_column(contract: Contract) -> str:
    """Return the name of the column that tells when a row came about; empty without one."""
    return next((column.name for column in contract.columns if column.role == "timestamp"), "")


def _window(moments: pd.Series[Any]) -> ReferenceWindow | None:
    if moments.empty:
        return None
    first, last = moments.min().to_pydatetime(), moments.max().to_pydatetime()
    return ReferenceWindow(first=first.replace(tzinfo=UTC), last=last.replace(tzinfo=UTC))
