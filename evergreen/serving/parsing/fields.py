"""One feature column of the contract: reads its values and judges them by the policies.

What the contract declares is a promise: the policies say whether a breach is refused or flagged.
What it merely recorded of the training table (range, categories) is never refused, only flagged.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
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


@dataclass(frozen=True)
class Breach:
    """Rows that break a promise, or that training never saw the like of.

    ``name`` is one of `FLAGS`, ``rows`` a mask, ``refused`` whether the policies refuse them (else
    they are flagged).
    """

    name: str
    rows: np.ndarray[Any, Any]
    refused: bool


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
        self._judge(array, findings, ())
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
        unfit: dict[int, str] = {}
        if array is None:
            array, unfit = self._each(values, read)
            findings.errors += [self.error(row, reason) for row, reason in unfit.items()]
        self._judge(array, findings, unfit.keys())
        return array

    def levels(
        self, values: Sequence[Any], *, written: bool
    ) -> tuple[np.ndarray[Any, Any], dict[int, str]]:
        """Read values one by one, unjudged: CSV cells if ``written``, else as a typed table's.

        Returns
        -------
        The canonical array, and why some of the values (by position) cannot be read; those are
        missing in the array.
        """
        return self._each(values, self.reader.from_text if written else self._from_typed)

    def _each(
        self, values: Sequence[Any], read: Callable[[Any], Any]
    ) -> tuple[np.ndarray[Any, Any], dict[int, str]]:
        array = np.full(len(values), self.reader.missing, dtype=self.reader.dtype)
        unfit: dict[int, str] = {}
        for row, value in enumerate(values):
            try:
                found = read(value)
            except Unfit as error:
                unfit[row] = str(error)
            else:
                if found is not None:
                    array[row] = found
        return array, unfit

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
        return array if self.plain(array).all() else None

    def plain(self, numbers: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Tell which numbers (float64, missing NaN) a model can compute with."""
        fit = np.isnan(numbers) | (np.abs(numbers) <= MAX_NUMBER)
        if self.column.type == "integer":
            fit &= np.isnan(numbers) | (numbers == np.floor(numbers))
        return fit

    def breaches(self, array: np.ndarray[Any, Any]) -> Iterator[Breach]:
        """Judge a canonical array by the contract and the policies."""
        if self.missing != "accept":
            yield Breach(MISSING, _is_missing(array), self.missing == "reject")
        if self.numeric:
            outside = (array < self.low) | (array > self.high)  # false for NaN
            yield Breach(OUT_OF_RANGE, outside, self.settings.out_of_range == "reject")
            beyond = (array < self.seen_low) | (array > self.seen_high)
            yield Breach(BEYOND_TRAINING, beyond & ~outside, refused=False)
        elif array.dtype == object and self.categories is not None:
            refused = self.settings.unknown_category == "reject"
            yield Breach(UNKNOWN_CATEGORY, _unknown(array, self.categories), refused)
        elif array.dtype == object and self.seen is not None:
            yield Breach(NEW_CATEGORY, _unknown(array, self.seen), refused=False)

    def reason(self, breach: str, value: Any) -> str:
        """Say why a value is refused."""
        if breach == MISSING:
            return "is missing"
        if breach == UNKNOWN_CATEGORY:
            return f"is {shown(value)}, an unknown category"
        number = float(value)
        side, bound = ("below", self.low) if number < self.low else ("above", self.high)
        return f"is {number:g}, {side} {bound:g}"

    def _judge(
        self, array: np.ndarray[Any, Any], findings: Findings, refused: Collection[int]
    ) -> None:
        for breach in self.breaches(array):
            for row in np.flatnonzero(breach.rows).tolist():
                if row in refused:  # it is missing because it could not be read
                    continue
                if breach.refused:
                    findings.errors.append(self.error(row, self.reason(breach.name, array[row])))
                else:
                    findings.flag(row, breach.name, self.name)


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


def _unknown(levels: np.ndarray[Any, Any], known: frozenset[str]) -> np.ndarray[Any, Any]:
    found = (level is not None and level not in known for level in levels)
    return np.fromiter(found, np.bool_, len(levels))
