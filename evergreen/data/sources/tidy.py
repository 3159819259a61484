"""The common form of every table that was read, whatever it came from."""

from __future__ import annotations

import datetime
import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from evergreen.errors import InputError

_NUMBERS = {"integer", "floating", "mixed-integer-float", "decimal"}
_DATES = {"date", "datetime", "datetime64"}


def column_names(raw: Sequence[Any], where: str) -> list[str]:
    """Return names without surrounding blanks; nameless columns become ``Unnamed: position``.

    Raises
    ------
    InputError
        Two columns share a name.
    """
    names = [str(name).strip() or f"Unnamed: {place}" for place, name in enumerate(raw)]
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        places = ", ".join(
            f"{name!r} (columns {', '.join(str(i + 1) for i, n in enumerate(names) if n == name)})"
            for name in repeated[:5]
        )
        raise InputError(f"{where}: column names must be unique; found more than once: {places}")
    return names


def tidy(frame: pd.DataFrame, where: str) -> pd.DataFrame:
    """Return the table with text names, a plain index and plain column types.

    Object columns become text, numbers, booleans or dates where all values agree. Columns that mix
    kinds become text; nested values become JSON text; time spans become seconds, datetimes have
    microseconds. Booleans with missing values stay objects.

    Raises
    ------
    InputError
        Two columns share a name, or there are no columns or no rows.
    """
    if len(frame) == 0:
        columns = ", ".join(map(str, frame.columns[:10]))
        raise InputError(
            f"{where}: there are no rows{f', only columns: {columns}' * bool(columns)}"
        )
    if frame.shape[1] == 0:
        raise InputError(f"{where}: there are no columns")
    frame = frame.set_axis(column_names(list(frame.columns), where), axis=1)
    frame = frame.reset_index(drop=True)
    return pd.DataFrame({name: _plain(column) for name, column in frame.items()}, copy=False)


def _plain(column: pd.Series[Any]) -> pd.Series[Any]:
    """Return one column in a plain type."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype(object)
    if str(column.dtype) == "object":
        column = _plain_object(column)
    if column.dtype.kind == "m":
        return column.dt.total_seconds()
    return column.dt.as_unit("us") if column.dtype.kind == "M" else column


def _plain_object(column: pd.Series[Any]) -> pd.Series[Any]:
    kind = pd.api.types.infer_dtype(column, skipna=True)
    if kind == "empty" or kind in _NUMBERS:
        return _numbers(column)
    if kind == "string":
        return column.astype("str")
    if kind == "timedelta":
        return pd.to_timedelta(column)
    if kind in _DATES:
        return _dates(column)
    if kind == "boolean":
        return column.where(column.notna(), None) if column.isna().any() else column.astype(bool)
    return _text(column)


def _numbers(column: pd.Series[Any]) -> pd.Series[Any]:
    """Return integers where all fit and none is missing, else floats."""
    missing = column.isna()
    if not missing.any() and pd.api.types.infer_dtype(column) == "integer":
        try:
            return column.astype("int64")
        except OverflowError:
            return column.astype("float64")
    return column.where(~missing, np.nan).astype("float64")


def _dates(column: pd.Series[Any]) -> pd.Series[Any]:
    """Return datetimes; where some have a time zone and differ in it, all in UTC."""
    try:
        return pd.to_datetime(column)
    except (ValueError, TypeError):
        try:
            return pd.to_datetime(column, utc=True)
        except (ValueError, TypeError):
            return _text(column)


def _text(column: pd.Series[Any]) -> pd.Series[Any]:
    present = column.notna()
    return column.where(~present, column[present].map(as_text)).astype("str")


def as_text(value: Any) -> str:
    """Write a value of any kind as text; nested ones as JSON."""
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).hex()
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, dict | list | tuple | np.ndarray):
        plain = value.tolist() if isinstance(value, np.ndarray) else value
        return json.dumps(plain, default=str, ensure_ascii=False)
    return str(value)
