"""JSON bodies, read strictly: RFC 8259, and no name twice in an object."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from evergreen.serving.problems import Problem

_decode = msgspec.json.Decoder().decode


def read_json(body: bytes, *, nan_is_null: bool = False) -> Any:
    """Return what a body holds; ``nan_is_null`` takes Python's NaN for a missing value.

    Raises
    ------
    Problem
        If it is empty, no JSON (NaN, Infinity, invalid UTF-8), holds a number that is too large,
        is nested too deeply, or an object has a name twice.
    """
    if not body:
        raise Problem("malformed-body", "The body is empty; JSON is expected.")
    try:
        content = _decode(body)
    except RecursionError:
        raise Problem("malformed-body", "The JSON is nested too deeply.") from None
    except UnicodeDecodeError as error:
        raise Problem("malformed-body", f"The body is no UTF-8 at byte {error.start}.") from None
    except msgspec.DecodeError as error:
        if nan_is_null and b"NaN" in body:
            return _read_with_nan(body)
        raise Problem("malformed-body", f"The body is no JSON that can be used: {error}.") from None
    except ValueError as error:
        raise Problem("malformed-body", f"The body is no JSON: {error}.") from None
    try:
        if b"\\" in body or body.count(b":") != _colons(content):
            _refuse_repetition(body)
    except RecursionError:
        raise Problem("malformed-body", "The JSON is nested too deeply.") from None
    return content


def _colons(value: Any) -> int:
    """Count the colons that a value needs when it is written: pairs, and those in texts."""
    if type(value) is str:
        return value.count(":")
    if type(value) is dict:
        pairs = len(value) + sum(name.count(":") for name in value)
        return pairs + sum(_colons(item) for item in value.values() if type(item) not in _PLAIN)
    if type(value) is list:
        return sum(_colons(item) for item in value if type(item) not in _PLAIN)
    return 0


_PLAIN = frozenset({int, float, bool, type(None)})


def _read_with_nan(body: bytes) -> Any:
    def constant(name: str) -> None:
        if name != "NaN":
            raise Problem("malformed-body", f"{name} is no JSON; null is a missing value.")

    try:
        return json.loads(body, object_pairs_hook=_distinct, parse_constant=constant)
    except RecursionError:
        raise Problem("malformed-body", "The JSON is nested too deeply.") from None
    except ValueError as error:
        raise Problem("malformed-body", f"The body is no JSON: {error}.") from None


def _refuse_repetition(body: bytes) -> None:
    json.loads(body, object_pairs_hook=_distinct, parse_int=float)


def _distinct(items: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(items)
    if len(found) != len(items):
        names = [name for name, _ in items]
        twice = next(name for name in found if names.count(name) > 1)
        raise Problem("malformed-body", f"The name {twice[:100]!r} stands twice in an object.")
    return found
