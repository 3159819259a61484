"""One row of JSON, read in microseconds where nothing is unusual about it.

`FastRow` is a msgspec struct compiled from the contract. It takes only rows whose every value is
of its type, inside the range and among the categories that training saw: rows without a flag.
Whatever it does not take goes the long way, `evergreen.serving.parsing.tables`, which knows the
policies and explains what is wrong. The two never disagree on a row that the fast way takes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Final, Literal

import msgspec
import numpy as np
from msgspec import Meta

from evergreen.serving.parsing.fields import Field
from evergreen.serving.parsing.readers import MAX_NUMBER, MAX_TEXT, Unfit

Inputs = dict[str, np.ndarray[Any, Any]]


class NumbersRow(Inputs):
    """One row of numbers; ``block`` (1 × columns, in contract order) holds them all at once."""

    __slots__ = ("block",)

    block: np.ndarray[Any, Any]


Values = tuple[Any, ...]  # one row in contract order, as JSON has it
_INT_MAX: Final = 2**53  # beyond, not every whole number is a float


class FastRow:
    """Reads rows that need no second look."""

    def __init__(self, fields: Sequence[Field]) -> None:
        names = [f"c{position}" for position in range(len(fields))]
        types = [_type(field) for field in fields]
        self.names = tuple(field.name for field in fields)
        self._struct = msgspec.defstruct(
            "Row",
            list(zip(names, types, strict=True)),
            rename=dict(zip(names, self.names, strict=True)),
            forbid_unknown_fields=True,
            gc=False,
        )
        self._row: Callable[[bytes], Any] = msgspec.json.Decoder(self._struct).decode
        self._rows: Callable[[bytes], Any] = msgspec.json.Decoder(list[self._struct]).decode  # type: ignore[name-defined]
        listed = tuple.__class_getitem__(tuple(types))
        features = msgspec.defstruct("Features", [("features", listed)], forbid_unknown_fields=True)
        self._listed: Callable[[bytes], Any] = msgspec.json.Decoder(features).decode
        self._colons = len(fields) + sum(name.count(":") for name in self.names)
        self._texts = any(field.column.type in {"category", "timestamp"} for field in fields)
        self.inputs = _maker(fields)
        self._all_numbers = all(field.reader.dtype is np.float64 for field in fields)
        # Of these types, what JSON had is what the model gets.
        self.verbatim = all(f.column.type in {"number", "integer", "category"} for f in fields)

    def read(self, body: bytes) -> Values | None:
        """Return the values of a row, or None where it needs the long way."""
        if b"\\" in body:
            return None
        try:
            values: Values = msgspec.structs.astuple(self._row(body))
        except (ValueError, RecursionError):
            return self._features(body)
        # A name that stands twice has a colon too many: msgspec would take the last one.
        if body.count(b":") != self._colons + (_colons_in(values) if self._texts else 0):
            return None
        return values

    def read_many(self, body: bytes) -> list[Values] | None:
        """Return the values of a list of rows, or None where one needs the long way."""
        if b"\\" in body:
            return None
        try:
            rows: list[Values] = [msgspec.structs.astuple(row) for row in self._rows(body)]
        except (ValueError, RecursionError):
            return None
        inside = sum(map(_colons_in, rows)) if self._texts else 0
        return rows if body.count(b":") == self._colons * len(rows) + inside else None

    def columns(self, rows: Sequence[Values]) -> Inputs | None:
        """Return a model's inputs of rows that `read_many` took, if all columns are numbers."""
        if not self._all_numbers or not rows:
            return None
        table = np.array(rows, np.float64).T.copy()  # None becomes NaN
        return dict(zip(self.names, table, strict=True))

    def _features(self, body: bytes) -> Values | None:
        if not body.startswith(b'{"features"'):
            return None
        try:
            values: Values = self._listed(body).features
        except (ValueError, RecursionError):
            return None
        inside = _colons_in(values) if self._texts else 0
        return values if body.count(b":") == 1 + inside else None


def _colons_in(values: Values) -> int:
    return sum(value.count(":") for value in values if type(value) is str)


def _type(field: Field) -> Any:
    """Return the type of values that raise no flag."""
    kind = field.column.type
    allowed: Any
    if kind in {"number", "integer"}:
        low = max(field.low, field.seen_low, -MAX_NUMBER)
        high = min(field.high, field.seen_high, MAX_NUMBER)
        if kind == "integer":
            low, high = max(math.ceil(low), -_INT_MAX), min(math.floor(high), _INT_MAX)
        bounds = Meta(ge=low, le=high)
        allowed = Annotated[int, bounds] if kind == "integer" else Annotated[float, bounds]
    elif kind == "boolean":
        allowed = bool
    elif kind == "timestamp":
        allowed = str
    else:
        known = field.categories if field.categories is not None else field.seen
        # Without a list, any text that is neither blank nor holds NUL.
        plain = Meta(max_length=MAX_TEXT, pattern=r"^[^\x00]*[^\s\x00][^\x00]*\Z")
        allowed = Literal[tuple(sorted(known))] if known else Annotated[str, plain]
    return allowed | None if field.missing == "accept" else allowed


def _maker(fields: Sequence[Field]) -> Callable[[Values], Inputs | None]:
    """Return what makes a model's inputs of one row, None where a moment cannot be read."""
    names = tuple(field.name for field in fields)
    if all(field.reader.dtype is np.float64 for field in fields):
        slices = tuple((name, slice(at, at + 1)) for at, name in enumerate(names))

        def numbers(values: Values) -> Inputs:
            array = np.array(values, np.float64)  # None becomes NaN
            row = NumbersRow([(name, array[part]) for name, part in slices])
            row.block = array.reshape(1, -1)
            return row

        return numbers

    def mixed(values: Values) -> Inputs | None:
        inputs: Inputs = {}
        for field, value in zip(fields, values, strict=True):
            dtype = field.reader.dtype
            if isinstance(value, str) and dtype is not object:
                try:
                    value = field.reader.from_json(value)  # noqa: PLW2901
                except Unfit:
                    return None
                if value is None and field.missing != "accept":
                    return None
            inputs[field.name] = np.array([field.reader.missing if value is None else value], dtype)
        return inputs

    return mixed
