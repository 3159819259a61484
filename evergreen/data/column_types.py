"""What type a raw column has, told from its values."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np
import pandas as pd
from pandas.api import types as dtypes
from pandas.tseries.api import guess_datetime_format

from evergreen.config import ColumnType
from evergreen.data.casting import as_number, as_text, as_timestamp, is_missing

MAJORITY = 0.95  # share of a column's values that must be of one type, dates and numbers alike
SAMPLE = 5000
IDENTIFIER_ROWS = 50  # on fewer rows, distinct text is no sign of an identifier
IDENTIFIER_SHARE = 0.95
LONG_TEXT = 100  # characters


class InferredType(NamedTuple):
    """A column's type and, for dates in other than ISO 8601, their strptime format."""

    type: ColumnType
    format: str | None = None


def infer_type(values: pd.Series) -> InferredType:
    """Return the type that at least 95 % of the present values (of a sample) have.

    An integer column that holds missing values arrives as floats: whole numbers count as
    integers there. Truth values must be spelt true/false or yes/no throughout. A column without
    any value counts as numbers.
    """
    if isinstance(values.dtype, pd.CategoricalDtype):
        values = values.astype(object)
    if dtypes.is_bool_dtype(values.dtype):
        return InferredType("boolean")
    if dtypes.is_datetime64_any_dtype(values.dtype):
        return InferredType("timestamp")
    if dtypes.is_timedelta64_dtype(values.dtype):
        return InferredType("number")
    if dtypes.is_integer_dtype(values.dtype):
        return InferredType("integer")
    if dtypes.is_numeric_dtype(values.dtype):
        return InferredType(_number_type(values))
    return _text_type(values)


def evenly(values: pd.Series, count: int) -> pd.Series:
    """Return at least ``count`` values (all, if there are fewer), evenly taken."""
    return values.iloc[:: max(1, len(values) // count)]


def infer_moment_format(values: pd.Series) -> str | None:
    """Return the strptime format of a column that is known to hold moments; None for ISO 8601.

    Whole numbers such as 20240131 or 2024 are dates where all of them are; other numbers are
    seconds (milli-, micro-, nanoseconds) since 1970.
    """
    present = _present(evenly(values, SAMPLE))
    if dtypes.is_datetime64_any_dtype(values.dtype) or present.empty:
        return None
    numbers = as_number(present)
    if numbers.notna().all():
        if numbers.between(19000101, 21001231).all() and _reads(present, "%Y%m%d") == 1:
            return "%Y%m%d"
        return "%Y" if numbers.between(1900, 2100).all() else None
    return _date_format(as_text(present)).format


def _number_type(values: pd.Series) -> ColumnType:
    """Tell the type by a sample; only where that is whole throughout, look at all values."""
    if not _whole(as_number(evenly(values, SAMPLE))):
        return "number"
    numbers = as_number(values)
    gappy = numbers.isna().any() and np.isfinite(numbers).any()
    return "integer" if gappy and _whole(numbers) else "number"


def _whole(numbers: pd.Series) -> bool:
    """Tell whether all finite numbers are whole."""
    finite = numbers[np.isfinite(numbers)]
    return bool((finite == np.floor(finite)).all())


def _text_type(values: pd.Series) -> InferredType:
    """Tell the type by a sample; look at all values only to confirm it."""
    sample = _present(evenly(values, SAMPLE))
    if sample.empty:
        sample = _present(values)
    if sample.empty:
        return InferredType("number")
    text = as_text(sample)
    if _is_boolean(text) and _is_boolean(as_text(_present(values))):
        return InferredType("boolean")
    if _is_numeric(text):
        return InferredType(_written_number_type(values))
    date = _date_format(text)
    if date.share >= MAJORITY:
        return InferredType("timestamp", date.format)
    if _is_identifier(text) and _is_identifier(as_text(_present(values))):
        return InferredType("identifier")
    return InferredType("category")


def _is_boolean(text: pd.Series) -> bool:
    words = {word.strip().lower() for word in text.unique()}
    return words <= {"true", "false"} or words <= {"yes", "no"}


def _is_numeric(text: pd.Series) -> bool:
    """Tell whether text holds numbers. Digits after a leading zero (00501) are a code."""
    codes = text.str.match(r"\s*0\d").any()
    return bool(not codes and as_number(text).notna().mean() >= MAJORITY)


def _written_number_type(values: pd.Series) -> ColumnType:
    """Tell integers from other numbers, where both are written as text."""
    numbers = as_number(values)
    finite = np.isfinite(numbers)
    if (finite & (numbers != np.floor(numbers))).any():
        return "number"
    decimal = as_text(values[finite]).str.contains(r"[.eE]", regex=True)
    return "number" if decimal.any() else "integer"


class _DateFormat(NamedTuple):
    share: float  # of the values that parse
    format: str | None


def _date_format(text: pd.Series) -> _DateFormat:
    """Find the one format that most dates in a sample are written in, and its share.

    Where every date reads both ways (03/04/2024), the day comes first.
    """
    if text.str.contains(r"\d{2}", regex=True).mean() < MAJORITY:
        return _DateFormat(0.0, None)
    guesses = {guess for value in text.iloc[:20] for guess in _guesses(value.strip())}
    formats: list[str | None] = [None, *sorted(guesses)]
    shares = {guess: _reads(text, guess) for guess in formats}
    best = max(formats, key=lambda guess: shares[guess])
    return _DateFormat(shares[best], best)


def _guesses(value: str) -> set[str]:
    """Return the formats with a year that one date may be written in, day or month first."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that the other order is in use
        guesses = {guess_datetime_format(value, dayfirst=day_first) for day_first in (True, False)}
    return {guess for guess in guesses if guess and "%y" in guess.lower()}


def _reads(values: pd.Series, date_format: str | None) -> float:
    return float(as_timestamp(values, date_format).notna().mean())


def _is_identifier(text: pd.Series) -> bool:
    if len(text) < IDENTIFIER_ROWS:
        return False
    distinct = text.nunique() / len(text)
    long = text.str.len().median() > LONG_TEXT
    return bool(distinct > IDENTIFIER_SHARE or (long and distinct > IDENTIFIER_SHARE / 2))


def _present(values: pd.Series) -> pd.Series:
    return values[~is_missing(values)]
