"""Values of a raw column, read as one of the contract's types.

Every function takes a Series of any dtype and returns a Series of the same index. It never
raises for a value that does not fit: such a value becomes missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
from pandas.api import types as dtypes

from evergreen.config import ColumnType
from evergreen.data.words import EPOCH_SCALES, FALSE_WORDS, TRUE_WORDS


def cast(values: pd.Series, column_type: ColumnType, date_format: str | None = None) -> pd.Series:
    """Return the values in the canonical dtype of a column type.

    number, integer, boolean: float64, missing NaN, infinities kept, fractions kept.
    category, identifier: object column of ``str``, missing None.
    timestamp: datetime64[us] in UTC without a zone, missing NaT.
    """
    if column_type in {"number", "integer"}:
        return as_number(values)
    if column_type == "boolean":
        return as_boolean(values)
    if column_type == "timestamp":
        return as_timestamp(values, date_format)
    return as_text(values)


def is_missing(values: pd.Series) -> pd.Series:
    """Tell which values are missing: null, or text that is empty or blank."""
    missing = values.isna()
    if _is_plain(values.dtype):
        return missing
    if isinstance(values.dtype, pd.StringDtype):
        return missing | (values.str.strip() == "").to_numpy(dtype=bool, na_value=False)
    if values.dtype == object and _holds_only_text(values):
        return missing | is_missing(values.astype("str"))
    blank = [isinstance(value, str) and not value.strip() for value in values]
    return missing | np.array(blank, dtype=bool)


def uncastable(values: pd.Series, column_type: ColumnType, date_format: str | None) -> pd.Series:
    """Tell which values are present but are not of the type (for integers: also fractions)."""
    if column_type in {"category", "identifier"}:  # any text will do
        return pd.Series(np.zeros(len(values), dtype=bool), index=values.index)
    found = cast(values, column_type, date_format)
    wrong = found.isna()
    if wrong.any():
        wrong &= ~is_missing(values)
    if column_type == "integer":
        wrong |= np.isfinite(found) & (found != np.floor(found))
    return wrong


def as_number(values: pd.Series) -> pd.Series:
    """Read numbers; numbers written as text count, durations become seconds."""
    if dtypes.is_timedelta64_dtype(values.dtype):
        return values.dt.total_seconds().astype("float64")
    if dtypes.is_datetime64_any_dtype(values.dtype) or dtypes.is_complex_dtype(values.dtype):
        return pd.Series(np.nan, index=values.index, dtype="float64", name=values.name)
    if dtypes.is_bool_dtype(values.dtype) or dtypes.is_numeric_dtype(values.dtype):
        if values.dtype == np.float64:
            return values
        numbers = values.to_numpy(dtype="float64", na_value=np.nan)
    else:
        numbers = pd.to_numeric(_text_or_scalar(values), errors="coerce").to_numpy("float64")
    return pd.Series(numbers, index=values.index, name=values.name)


def as_boolean(values: pd.Series) -> pd.Series:
    """Read true/false, yes/no, t/f, y/n and 1/0 as 1.0 and 0.0."""
    if _is_plain(values.dtype):
        numbers = as_number(values)
        return numbers.where(numbers.isin([0.0, 1.0]))
    codes, words = pd.factorize(as_text(values).str.strip().str.lower())
    meanings = [1.0 if w in TRUE_WORDS else 0.0 if w in FALSE_WORDS else np.nan for w in words]
    return pd.Series(np.array([*meanings, np.nan])[codes], index=values.index, name=values.name)


def as_text(values: pd.Series) -> pd.Series:
    """Read levels as text; whole numbers are written without a decimal point."""
    if dtypes.is_datetime64_any_dtype(values.dtype):
        values = values.astype(object)
    if values.dtype == object and _holds_only_text(values):
        values = values.astype("str")
    if isinstance(values.dtype, pd.StringDtype):
        return each_level_once(values, lambda levels: [w if w.strip() else None for w in levels])
    if values.dtype != object:
        return each_level_once(values, lambda levels: map(_text, levels))
    texts = np.array([None, *map(_text, values)], dtype=object)[1:]
    texts[is_missing(values).to_numpy()] = None
    return pd.Series(texts, index=values.index, name=values.name, dtype=object)


def each_level_once(values: pd.Series, of: Callable[[Any], Iterable[Any]]) -> pd.Series:
    """Return what ``of`` makes of the distinct values, as objects at their rows; missing: None.

    Rows of one value share one object: a text of its own for each row takes 60 bytes.
    """
    codes, levels = pd.factorize(values)
    made = np.array([*of(levels), None], dtype=object)[codes]
    return pd.Series(made, index=values.index, name=values.name, dtype=object)


def by_level(values: pd.Series, test: Callable[[pd.Series], pd.Series]) -> pd.Series:
    """Return what a test tells of values, asked of each text once; it is true of missing ones."""
    if not isinstance(values.dtype, pd.StringDtype):
        return test(values)
    codes, levels = pd.factorize(values)
    told = np.append(test(pd.Series(levels)).to_numpy(dtype=bool), True)
    return pd.Series(told[codes], index=values.index)


def as_timestamp(values: pd.Series, date_format: str | None = None) -> pd.Series:
    """Read moments: ISO 8601, else ``date_format`` (strptime), else numbers since 1970.

    A moment without a zone is taken as UTC.
    """
    if dtypes.is_datetime64_any_dtype(values.dtype):
        moments = (
            values if values.dt.tz is None else values.dt.tz_convert("UTC").dt.tz_localize(None)
        )
        return moments.astype("datetime64[us]")
    if _is_plain(values.dtype) and date_format is None:
        return _since_1970(as_number(values))
    text = as_text(values)
    moments = pd.to_datetime(text, format="ISO8601", errors="coerce", utc=True)
    if date_format is not None:
        formatted = pd.to_datetime(text, format=date_format, errors="coerce", utc=True)
        moments = formatted.fillna(moments)
    return moments.dt.tz_localize(None).astype("datetime64[us]")


def _since_1970(numbers: pd.Series) -> pd.Series:
    seconds = numbers.to_numpy()
    micros = np.full(len(seconds), np.nan)
    for bound, scale in reversed(EPOCH_SCALES):
        within = np.abs(seconds) < bound
        micros[within] = seconds[within] * scale
    known = np.isfinite(micros)
    moments = np.full(len(seconds), np.datetime64("NaT"), dtype="datetime64[us]")
    moments[known] = np.round(micros[known]).astype("int64").astype("datetime64[us]")
    return pd.Series(moments, index=numbers.index, name=numbers.name)


def _is_plain(dtype: Any) -> bool:
    """Tell whether a dtype holds numbers, truth values, moments or durations only."""
    return bool(
        dtypes.is_numeric_dtype(dtype)
        or dtypes.is_bool_dtype(dtype)
        or dtypes.is_datetime64_any_dtype(dtype)
        or dtypes.is_timedelta64_dtype(dtype)
    ) and not isinstance(dtype, pd.CategoricalDtype)


def _holds_only_text(values: pd.Series) -> bool:
    """Tell whether an object column holds ``str`` and missing values alone."""
    return pd.api.types.infer_dtype(values, skipna=True) in {"string", "empty"}


def _text_or_scalar(values: pd.Series) -> pd.Series:
    """Turn containers (lists, mappings) into text: `pandas.to_numeric` refuses them."""
    if isinstance(values.dtype, pd.CategoricalDtype):
        values = values.astype(object)
    if values.dtype != object:
        return values
    scalar = [value if pd.api.types.is_scalar(value) else str(value) for value in values]
    return pd.Series([*scalar, None], dtype=object).iloc[:-1].set_axis(values.index)


def _text(value: object) -> str | None:
    if isinstance(value, str):
        return value if value.strip() else None
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    if isinstance(value, date):  # datetime and pandas.Timestamp are dates, too
        return value.isoformat()
    return str(value)
