"""One value of a request, read as a type of the contract.

``from_json`` takes what JSON can hold, strictly: text is no number, a truth value is no number.
``from_text`` takes a cell of CSV. Both return the canonical value of `evergreen.data.conform`,
None for a missing one, or raise `Unfit` with what was wrong.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, date, datetime
from typing import Any, Final, Protocol

import numpy as np

from evergreen.config import ColumnType
from evergreen.data.words import EPOCH_SCALES, FALSE_WORDS, MISSING_WORDS, TRUE_WORDS

MAX_NUMBER: Final = float(np.finfo(np.float32).max)  # models compute in single precision
MAX_TEXT: Final = 1000  # characters of a category
_NUMBER: Final = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_MOMENT: Final = re.compile(
    r"(\d{4}-\d{2}-\d{2})"
    r"(?:[T ](\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?)(Z|[+-]\d{2}:?\d{2})?)?",
    re.ASCII,
)

Canonical = float | str | np.datetime64 | None


class Unfit(ValueError):  # noqa: N818  (reads as a sentence)
    """A value that cannot be read as its column's type."""


class Reader(Protocol):
    """Reads the values of one type."""

    expected: str
    dtype: Any
    missing: Any

    def from_json(self, value: Any) -> Any:
        """Read a value that was written in JSON."""

    def from_text(self, text: str) -> Any:
        """Read a value that was written in CSV."""


class NumberReader:
    """Finite numbers that a model can compute with."""

    expected = "a number"
    dtype: Any = np.float64
    missing: Any = math.nan

    def from_json(self, value: Any) -> float | None:
        """Read a number; None is a missing one."""
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise Unfit(f"must be {self.expected}, but is {kind(value)}")
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        return self.checked(number)

    def from_text(self, text: str) -> float | None:
        """Read a number as pandas does; blank and NA are missing."""
        text = text.strip()
        if not text or text in MISSING_WORDS:
            return None
        if not _NUMBER.fullmatch(text):
            raise Unfit(f"must be {self.expected}, but is {shown(text)}")
        return self.checked(float(text))

    def checked(self, number: float) -> float:
        """Refuse what is not finite, or too large for single precision."""
        if not -MAX_NUMBER <= number <= MAX_NUMBER:
            raise Unfit(f"must be finite and at most {MAX_NUMBER:.2g} in size")
        return number


class IntegerReader(NumberReader):
    """Whole numbers; 3.0 is one."""

    expected = "a whole number"

    def checked(self, number: float) -> float:
        """Refuse fractions, too."""
        number = super().checked(number)
        if not number.is_integer():
            raise Unfit(f"must be a whole number, but is {number!r}")
        return number


class BooleanReader:
    """true and false; 1 and 0 mean the same."""

    expected = "true or false"
    dtype: Any = np.float64
    missing: Any = math.nan

    def from_json(self, value: Any) -> float | None:
        """Read a truth value as 1.0 or 0.0."""
        if value is None:
            return None
        if isinstance(value, bool | int | float) and value in {0, 1}:
            return float(value)
        raise Unfit(f"must be true or false, but is {kind(value)}")

    def from_text(self, text: str) -> float | None:
        """Read the words that training data may use, such as yes and no."""
        text = text.strip()
        if not text or text in MISSING_WORDS:
            return None
        word = text.lower()
        if word in TRUE_WORDS:
            return 1.0
        if word in FALSE_WORDS:
            return 0.0
        raise Unfit(f"must be true or false, but is {shown(text)}")


class CategoryReader:
    """Text; what is blank is missing."""

    expected = "text"
    dtype: Any = object
    missing: Any = None

    def from_json(self, value: Any) -> str | None:
        """Read a category; numbers must be written as text."""
        if value is None:
            return None
        if not isinstance(value, str):
            hint = f' (write "{value}")' if type(value) is int and abs(value) < 1e15 else ""
            raise Unfit(f"must be text, but is {kind(value)}{hint}")
        return self._checked(value)

    def from_text(self, text: str) -> str | None:
        """Read a category as pandas does; NA is missing."""
        return None if text in MISSING_WORDS else self._checked(text)

    def _checked(self, text: str) -> str | None:
        if not text or text.isspace():
            return None
        if len(text) > MAX_TEXT:
            raise Unfit(f"must be text of at most {MAX_TEXT} characters, but has {len(text)}")
        if "\0" in text:
            raise Unfit("must not hold the character NUL")
        return text


class TimestampReader:
    """Moments: ISO 8601, else the contract's strptime format, else numbers since 1970."""

    expected = "a moment such as 2026-01-31T12:00:00"
    dtype: Any = "datetime64[us]"
    missing: Any = np.datetime64("NaT", "us")

    def __init__(self, date_format: str | None = None) -> None:
        self._format = date_format
        if date_format is not None:
            self.expected = f"a moment such as {datetime(2026, 1, 31, 12).strftime(date_format)}"

    def from_json(self, value: Any) -> np.datetime64 | None:
        """Read a moment; without a zone it is UTC."""
        if value is None:
            return None
        if isinstance(value, str):
            return self._moment(value)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise Unfit(f"must be {self.expected}, but is {kind(value)}")
        if self._format is not None:
            if isinstance(value, float) and value.is_integer():
                value = int(value)
            return self._moment(str(value))
        return self._since_1970(value)

    def from_text(self, text: str) -> np.datetime64 | None:
        """Read a moment; a plain number counts since 1970 unless the contract has a format."""
        text = text.strip()
        if text in MISSING_WORDS:
            return None
        if self._format is None and _NUMBER.fullmatch(text):
            return self._since_1970(float(text))
        return self._moment(text)

    def _moment(self, text: str) -> np.datetime64 | None:
        text = text.strip()
        if not text:
            return None
        try:
            return moment(self._parsed(text))
        except (ValueError, OverflowError):
            raise Unfit(f"must be {self.expected}, but is {shown(text)}") from None

    def _parsed(self, text: str) -> datetime:
        if self._format is not None:
            try:
                return datetime.strptime(text, self._format)
            except ValueError:
                pass  # ISO 8601 is taken, too, as in training
        if not _MOMENT.fullmatch(text):
            raise Unfit
        return datetime.fromisoformat(text)

    def _since_1970(self, number: float) -> np.datetime64:
        size = abs(number)
        for bound, scale in EPOCH_SCALES:
            if size < bound:
                return np.datetime64(round(number * scale), "us")
        raise Unfit(f"must be {self.expected}, but is {shown(str(number))}")


def reader(column_type: ColumnType, date_format: str | None = None) -> Reader:
    """Return what reads values of a column type."""
    if column_type == "number":
        return NumberReader()
    if column_type == "integer":
        return IntegerReader()
    if column_type == "boolean":
        return BooleanReader()
    if column_type == "timestamp":
        return TimestampReader(date_format)
    return CategoryReader()


def moment(value: date) -> np.datetime64:
    """Return a date or time as UTC without a zone; one without a zone is UTC already."""
    if isinstance(value, datetime) and value.tzinfo is not None:
        value = value.astimezone(UTC).replace(tzinfo=None)
    return np.datetime64(value, "us")


def as_text(value: Any) -> Any:
    """Write a typed level as training does: whole numbers without a decimal point."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return value.isoformat() if isinstance(value, date) else str(value)


def kind(value: Any) -> str:
    """Say in the words of JSON what a value is."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return f"the number {shown(repr(value) if isinstance(value, float) else _digits(value))}"
    if isinstance(value, str):
        return f"the text {shown(value)}"
    if isinstance(value, dict):
        return "an object"
    return "a list" if isinstance(value, list | tuple) else f"of type {type(value).__name__}"


def shown(text: str) -> str:
    """Quote the beginning of a text, on one line."""
    return repr(text if len(text) <= 40 else text[:37] + "…")


def _digits(value: int) -> str:
    return str(value) if abs(value) < 10**40 else f"{'-' if value < 0 else ''}1e{40}…"
