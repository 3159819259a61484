"""Transformers of whole columns: deriving new ones, and taking dates apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from evergreen.errors import InputError
from evergreen.expressions import Expression, parse_derived
from evergreen.expressions.operations import finite
from evergreen.features.calendar import date_parts, part_key, split_moments

FloatArray = npt.NDArray[np.float64]

# Trees work in single precision and refuse what does not fit; greater numbers count as this one.
LARGEST: Final = float(np.finfo(np.float32).max)
_CHUNK: Final = 16_384  # rows whose calendar is computed at once, in a processor's cache


class DeriveColumns(TransformerMixin, BaseEstimator):
    """Compute derived columns, and lay out the ones that are used: numbers, categories, dates.

    Takes a frame with at least the input columns, in any order; returns a frame of float64,
    object (text or None) and datetime64 columns, without those that were only read. Infinite
    numbers are missing, and numbers too large for single precision become its largest.

    Parameters
    ----------
    derive
        Name: expression, see `evergreen.expressions`.
    numbers
        The numeric columns to give out, input and derived ones.
    categories, dates
        The columns of these kinds to give out.
    """

    def __init__(
        self,
        derive: Mapping[str, str],
        numbers: Sequence[str],
        categories: Sequence[str] = (),
        dates: Sequence[str] = (),
    ) -> None:
        self.derive = derive
        self.numbers = numbers
        self.categories = categories
        self.dates = dates

    def fit(self, X: pd.DataFrame, y: Any = None) -> DeriveColumns:
        """Remember the input columns."""
        validate_data(self, X, skip_check_array=True)
        return self

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        """Return the columns to go on with.

        Raises
        ------
        InputError
            If a column is absent.
        """
        check_is_fitted(self, "n_features_in_")
        expressions = self.expressions()
        read = {name for expression in expressions.values() for name in expression.columns}
        numbers = {
            name: finite(_column(X, name).to_numpy(dtype=np.float64, na_value=np.nan))
            for name in dict.fromkeys([*self.numbers, *sorted(read)])
            if name not in expressions
        }
        for name, expression in expressions.items():
            numbers[name] = expression.evaluate(numbers)
        categories = {name: _as_text(_column(X, name)) for name in self.categories}
        dates = {name: _as_utc(_column(X, name)) for name in self.dates}
        kept = {name: _in_single_precision(numbers[name]) for name in self.numbers}
        return pd.DataFrame({**kept, **categories, **dates}, index=X.index, copy=False)

    def expressions(self) -> dict[str, Expression]:
        """Return the parsed expressions in an order of evaluation."""
        return parse_derived(self.derive)

    def get_feature_names_out(self, input_features: Any = None) -> npt.NDArray[Any]:
        """Return the names of the columns given out, in order."""
        return np.array([*self.numbers, *self.categories, *self.dates], dtype=object)


class DateParts(TransformerMixin, BaseEstimator):
    """Turn each date column (UTC) into the named parts, as float64; a missing date gives NaN.

    ``weekday`` counts from Monday = 0, ``epoch_days`` are days since 1970-01-01 with fractions.
    """

    def __init__(self, parts: Sequence[str]) -> None:
        self.parts = parts

    def fit(self, X: pd.DataFrame, y: Any = None) -> DateParts:
        """Remember the input columns."""
        validate_data(self, X, skip_check_array=True)
        return self

    def transform(self, X: pd.DataFrame) -> FloatArray:
        """Return rows × (columns × parts), all parts of the first column first."""
        check_is_fitted(self, "n_features_in_")
        width = len(self.parts)
        result = np.empty((len(X), X.shape[1] * width))
        for place, name in enumerate(X.columns):
            moments = X[name].to_numpy()
            for start in range(0, len(X), _CHUNK):
                rows = slice(start, start + _CHUNK)
                result[rows, place * width : (place + 1) * width] = self._parts(moments[rows])
        return result

    def _parts(self, moments: npt.NDArray[Any]) -> FloatArray:
        values = split_moments(moments)
        for key, expression in date_parts(self.parts).items():
            values[key] = expression.evaluate(values)
        return np.column_stack([values[part_key(part)] for part in self.parts])

    def get_feature_names_out(self, input_features: Any = None) -> npt.NDArray[Any]:
        """Return ``column.part`` for each feature."""
        names = self.feature_names_in_ if input_features is None else input_features
        return np.array([f"{name}.{part}" for name in names for part in self.parts], dtype=object)


def _column(frame: pd.DataFrame, name: str) -> pd.Series[Any]:
    if name not in frame.columns:
        raise InputError(f"The model needs the column {name!r}, which the table lacks.")
    return frame[name]


def _in_single_precision(values: FloatArray) -> FloatArray:
    """Return the values, those too large as the largest; as they are where none is."""
    if not (np.abs(values) > LARGEST).any():
        return values
    return np.clip(values, -LARGEST, LARGEST)


def _as_text(column: pd.Series[Any]) -> pd.Series[Any]:
    """Return text or None: pandas may have read the column with NaN for missing."""
    values = column.astype(object)
    return values.where(values.notna(), None)


def _as_utc(column: pd.Series[Any]) -> pd.Series[Any]:
    return pd.to_datetime(column, errors="coerce", utc=True).dt.tz_localize(None)
