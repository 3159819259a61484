"""A column of a table, read and judged at once: what the API does value by value, in Arrow.

Numbers and moments are cast as wholes. Whatever needs a closer look (text in a number column,
categories, mixed types) is read by the API's own reader, once per distinct value.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from evergreen.data.words import MISSING_WORDS
from evergreen.serving.parsing.fields import MISSING, Breach, Field

_NUMBER: Final = r"^\s*[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?\s*$"
_MOMENT: Final = (
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[T ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6})?)?)?$"
)
_MISSING: Final = pa.array(sorted(MISSING_WORDS | {""}), pa.string())

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class ReadColumn:
    """What a column holds.

    ``values`` are canonical, as `evergreen.serving.runtime.Runtime.predict` takes them; ``unfit``
    says by row why a value cannot be read.
    """

    values: npt.NDArray[Any]
    breaches: tuple[Breach, ...]
    unfit: dict[int, str]


def read_column(field: Field, column: pa.Array, *, written: bool, decimal: str = ".") -> ReadColumn:
    """Read and judge one column.

    Parameters
    ----------
    written
        Whether its texts are cells of CSV, in which NA is missing.
    decimal
        The decimal mark of written numbers.
    """
    kind = column.type
    if _is_text(kind) and field.numeric and decimal != ".":
        column = pc.replace_substring(column, decimal, ".")
    found = _at_once(field, column)
    if found is None:
        return _by_level(field, column, written=written or (_is_text(kind) and field.numeric))
    values, unread = found
    unfit: dict[int, str] = {}
    rows = np.flatnonzero(unread | _not_plain(field, values)).tolist()
    if rows:
        values = values.copy()  # it may be Arrow's own memory
        values[rows], reasons = field.levels(column.take(pa.array(rows)).to_pylist(), written=False)
        unfit = {rows[at]: reason for at, reason in reasons.items()}
    return ReadColumn(values, _without(tuple(field.breaches(values)), unfit), unfit)


def _at_once(field: Field, column: pa.Array) -> tuple[npt.NDArray[Any], Mask] | None:
    """Cast a column as a whole; None where its values need a closer look."""
    kind = column.type
    if field.numeric:
        if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
            return _floats(column), np.zeros(len(column), np.bool_)
        return _written_numbers(column) if _is_text(kind) else None
    if field.column.type == "boolean" and pa.types.is_boolean(kind):
        return _floats(column.cast(pa.int8())), np.zeros(len(column), np.bool_)
    if field.column.type == "timestamp":
        moments = _moments(column, has_format=field.column.format is not None)
        return None if moments is None else (moments, np.zeros(len(column), np.bool_))
    return None


def _not_plain(field: Field, values: npt.NDArray[Any]) -> Mask:
    if not field.numeric:
        return np.zeros(len(values), np.bool_)
    return ~field.plain(values)


def _floats(column: pa.Array) -> npt.NDArray[np.float64]:
    numbers = column.cast(pa.float64(), safe=False)
    if numbers.null_count:
        numbers = pc.fill_null(numbers, np.nan)
    return numbers.to_numpy(zero_copy_only=False)


def _written_numbers(column: pa.Array) -> tuple[npt.NDArray[Any], Mask] | None:
    """Read texts as numbers; the mask tells those that are none."""
    column = _plain_text(column)
    absent = pc.is_in(column, value_set=_MISSING)
    filled = pc.if_else(absent, pa.scalar(None, pa.string()), column)
    unread = np.zeros(len(column), np.bool_)
    try:
        numbers = filled.cast(pa.float64())
    except pa.ArrowInvalid:
        trimmed = pc.ascii_trim_whitespace(filled)
        absent = pc.is_in(trimmed, value_set=_MISSING)
        fits = pc.match_substring_regex(trimmed, _NUMBER)
        unread = pc.fill_null(pc.invert(pc.or_(fits, absent)), False).to_numpy(zero_copy_only=False)
        bare = pc.replace_substring_regex(trimmed, r"^\+", "")
        bare = pc.if_else(pc.and_not(fits, absent), bare, pa.scalar(None, pa.string()))
        try:
            numbers = bare.cast(pa.float64())
        except pa.ArrowInvalid:
            return None
    else:
        # Casting takes "nan" and "inf" for numbers, which the API does not.
        odd = pc.fill_null(pc.invert(pc.is_finite(numbers)), False)
        unread = odd.to_numpy(zero_copy_only=False)
    return _floats(numbers), unread


def _moments(column: pa.Array, *, has_format: bool) -> npt.NDArray[np.datetime64] | None:
    kind = column.type
    if _is_text(kind):
        column = _plain_text(column)
        if has_format or pc.all(pc.match_substring_regex(column, _MOMENT)).as_py() is False:
            return None
        try:
            column = column.cast(pa.timestamp("us"))
        except pa.ArrowInvalid:
            return None
    elif pa.types.is_timestamp(kind):
        column = column.cast(pa.timestamp("us", kind.tz), safe=False)
    elif pa.types.is_date(kind):
        column = column.cast(pa.timestamp("us"))
    else:
        return None
    whole = column.cast(pa.int64())
    if whole.null_count:
        whole = pc.fill_null(whole, np.iinfo(np.int64).min)  # what NumPy takes for NaT
    found: npt.NDArray[np.datetime64] = whole.to_numpy(zero_copy_only=False).view("datetime64[us]")
    return found


def _by_level(field: Field, column: pa.Array, *, written: bool) -> ReadColumn:
    """Read each distinct value once."""
    codes, levels = _encoded(column)
    read, reasons = field.levels(levels, written=written)
    none = len(levels)  # the place of null
    read = np.append(read, np.array([field.reader.missing], dtype=read.dtype))
    breaches = [
        Breach(breach.name, breach.rows[codes], breach.refused) for breach in field.breaches(read)
    ]
    unfit: dict[int, str] = {}
    if reasons:
        wrong = np.zeros(none + 1, np.bool_)
        wrong[list(reasons)] = True
        unfit = {row: reasons[int(codes[row])] for row in np.flatnonzero(wrong[codes]).tolist()}
    return ReadColumn(read[codes], _without(tuple(breaches), unfit), unfit)


def _encoded(column: pa.Array) -> tuple[npt.NDArray[np.int64], list[Any]]:
    """Return the place of each row's value among the distinct ones; null is the place after."""
    if not pa.types.is_dictionary(column.type):
        try:
            column = column.dictionary_encode()
        except pa.ArrowNotImplementedError:  # nested values: each counts as distinct
            values = column.to_pylist()
            return np.arange(len(values)), values
    levels = [None if level != level else level for level in column.dictionary.to_pylist()]  # noqa: PLR0124
    indices = column.indices.cast(pa.int64())
    if indices.null_count:
        indices = pc.fill_null(indices, len(levels))
    return indices.to_numpy(zero_copy_only=False), levels


def _without(breaches: tuple[Breach, ...], unfit: dict[int, str]) -> tuple[Breach, ...]:
    """Take what could not be read out of what is missing."""
    if not unfit:
        return breaches
    rows = list(unfit)
    for breach in breaches:
        if breach.name == MISSING or breach.rows.any():
            breach.rows[rows] = False
    return breaches


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    )


def _plain_text(column: pa.Array) -> pa.Array:
    return column if column.type == pa.string() else column.cast(pa.string())
