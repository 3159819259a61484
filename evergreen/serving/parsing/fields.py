"""One feature column of the contract: reads its values and judges them by the policies.

What the contract declares is a promise: the policies say whether a breach is refused or flagged.
What it merely recorded of the training table (range, categories) is never refused, only flagged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any, Final

import numpy as np

from evergreen.data.contract import Column
from evergreen.serving.parsing.readers import MAX_NUMBER, Unfit, as_text, moment, reader, shown
from evergreen.serving.problems import FieldError
from evergreen.serving.settings import ServingConfig

OUT_OF_RANGE: Final = "out_of_range"  # outside a declared range
BEYOND_TRAINING: Final = "beyond_training"  # outside the range that training saw
UNKNOWN_CATEGORY: Final = "unknown_category"  # outside declared categories
NEW_CATEGORY: Final = "new_category"  # training never saw it
MISSING: Final = "missing"  # where the contract promises a value
FLAGS: Final = (OUT_OF_RANGE, BEYOND_TRAINING, UNKNOWN_CATEGORY, NEW_CATEGORY, MISSING)


@dataclass
class Findings:
    """What was found in a request: refusals, and flags by row (``flag:column``)."""

    errors: list[FieldError] = field(default_factory=list)
    flags: dict[int, list[str]] = field(default_factory=dict)

    def flag(self, row: int, name: str, column: str) -> None:
        """Write a flag down for one row."""
        self.flags.setdefault(row, []).append(f"{name}:{column}")


class Field:
    """A feature column with its reader, its bounds and the policies that bind it."""

    def __init__(self, column: Column, settings: ServingConfig) -> None:
        self.name = column.name
        self.column = column
        self.reader = reader(column.type, column.format)
        self.settings = settings
        self.numeric = column.type in {"number", "integer"}
        self.low, self.high = _bounds(column, declared=True)
        self.seen_low, self.seen_high = _bounds(column, declared=False)
        levels = frozenset(str(level) for level in column.categories or ())
        promised = "categories" in column.declared
        self.categories = levels if promised else None
        self.seen = levels if column.categories is not None and not promised else None
        self.missing = "accept" if column.nullable else settings.missing

    @property
    def allowed(self) -> str:
        """What the column takes, in words."""
        if self.categories is not None:
            levels = sorted(self.categories)
            return "one of " + ", ".join(map(repr, levels[:20])) + (", …" if levels[20:] else "")
        text = self.reader.expected
        if np.isfinite(self.low):
            text += f", at least {self.low:g}"
        if np.isfinite(self.high):
            text += f"{' and' if np.isfinite(self.low) else ','} at most {self.high:g}"
        if self.column.unit:
            text += f", in {self.column.unit}"
        return text + (", or null" if self.missing != "reject" else "")

    def from_json(self, values: Sequence[Any], findings: Findings) -> np.ndarray[Any, Any]:
        """Return the canonical array of a column of JSON values."""
        return self._read(values, self.reader.from_json, findings)

    def from_text(self, values: Sequence[str], findings: Findings) -> np.ndarray[Any, Any]:
        """Return the canonical array of a column of CSV cells."""
        array = self._plain_texts(values)
        if array is None:
            return self._read(values, self.reader.from_text, findings)
        self._judge(array, findings, frozenset())
        return array

    def from_typed(self, values: Sequence[Any], findings: Findings) -> np.ndarray[Any, Any]:
        """Return the canonical array of values from a typed table, cast as in training."""
        return self._read(values, self._from_typed, findings)

    def _from_typed(self, value: Any) -> Any:
        if isinstance(value, date) and self.column.type == "timestamp":
            return moment(value)
        if isinstance(value, Decimal):
            value = float(value)
        if self.reader.dtype is object:
            return self.reader.from_json(as_text(value))
        if isinstance(value, str):
            return self.reader.from_text(value)
        return self.reader.from_json(value)

    def error(self, row: int | None, message: str) -> FieldError:
        """Return a refusal that says what is allowed."""
        return FieldError(self.name, message, self.allowed, row)

    def _read(
        self, values: Sequence[Any], read: Callable[[Any], Any], findings: Findings
    ) -> np.ndarray[Any, Any]:
        array = self._plain_numbers(values)
        refused: set[int] = set()
        if array is None:
            missing = self.reader.missing
            array = np.full(len(values), missing, dtype=self.reader.dtype)
            for row, value in enumerate(values):
                try:
                    found = read(value)
                except Unfit as error:
                    findings.errors.append(self.error(row, str(error)))
                    refused.add(row)
                else:
                    if found is not None:
                        array[row] = found
        self._judge(array, findings, refused)
        return array

    def _plain_numbers(self, values: Sequence[Any]) -> np.ndarray[Any, Any] | None:
        """Return finite JSON numbers as an array at once; None where one needs a closer look."""
        if not self.numeric or not set(map(type, values)) <= {float, int, type(None)}:
            return None
        try:
            array = np.array(values, dtype=np.float64)
        except OverflowError:
            return None
        return self._if_plain(array)  # JSON has no NaN: what is one now was null

    def _plain_texts(self, values: Sequence[str]) -> np.ndarray[Any, Any] | None:
        """Return written numbers as an array at once; None where one needs a closer look."""
        together = "".join(values) if self.numeric else "_"
        # Python's float takes 1_000 and digits of other scripts, which are no numbers here.
        if "_" in together or not together.isascii():
            return None
        try:
            array = np.array(list(map(float, values)), dtype=np.float64)
        except ValueError:
            return None
        return None if np.isnan(array).any() else self._if_plain(array)

    def _if_plain(self, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any] | None:
        """Return numbers that a model can compute with, None where one is not of that kind."""
        plain = np.isnan(array) | (np.abs(array) <= MAX_NUMBER)
        if self.column.type == "integer":
            plain &= np.isnan(array) | (array == np.floor(array))
        return array if plain.all() else None

    def _judge(
        self, array: np.ndarray[Any, Any], findings: Findings, refused: set[int] | frozenset[int]
    ) -> None:
        missing = _is_missing(array)
        if self.missing != "accept" and missing.any():
            for row in _rows(missing, refused):
                self._missing(row, findings)
        if self.numeric:
            self._judge_range(array, findings)
        elif array.dtype == object and (self.categories is not None or self.seen is not None):
            self._judge_categories(array, findings)

    def _missing(self, row: int, findings: Findings) -> None:
        if self.missing == "reject":
            findings.errors.append(self.error(row, "is missing"))
        else:
            findings.flag(row, MISSING, self.name)

    def _judge_range(self, array: np.ndarray[Any, Any], findings: Findings) -> None:
        outside = (array < self.low) | (array > self.high)  # false for NaN
        for row in _rows(outside):
            if self.settings.out_of_range == "flag":
                findings.flag(row, OUT_OF_RANGE, self.name)
                continue
            value = float(array[row])
            side, bound = ("below", self.low) if value < self.low else ("above", self.high)
            findings.errors.append(self.error(row, f"is {value:g}, {side} {bound:g}"))
        beyond = ((array < self.seen_low) | (array > self.seen_high)) & ~outside
        for row in _rows(beyond):
            findings.flag(row, BEYOND_TRAINING, self.name)

    def _judge_categories(self, array: np.ndarray[Any, Any], findings: Findings) -> None:
        known = self.categories if self.categories is not None else self.seen or frozenset()
        for row, level in enumerate(array.tolist()):
            if level is None or level in known:
                continue
            if self.categories is None:
                findings.flag(row, NEW_CATEGORY, self.name)
            elif self.settings.unknown_category == "flag":
                findings.flag(row, UNKNOWN_CATEGORY, self.name)
            else:
                findings.errors.append(self.error(row, f"is {shown(level)}, an unknown category"))


def _bounds(column: Column, *, declared: bool) -> tuple[float, float]:
    """Return a column's declared bounds, or those that training saw; infinite where none are."""

    def bound(name: str, none: float) -> float:
        value = getattr(column, name)
        return none if value is None or (name in column.declared) is not declared else float(value)

    return bound("minimum", -np.inf), bound("maximum", np.inf)


def _is_missing(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    if array.dtype == object:
        return np.fromiter((value is None for value in array), np.bool_, len(array))
    return np.isnat(array) if array.dtype.kind == "M" else np.isnan(array)


def _rows(
    mask: np.ndarray[Any, Any], refused: set[int] | frozenset[int] = frozenset()
) -> Iterator[int]:
    for row in np.flatnonzero(mask).tolist():
        if row not in refused:
            yield row
