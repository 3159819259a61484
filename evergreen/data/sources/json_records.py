"""JSON and JSON lines as tables."""

from __future__ import annotations

import json
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

import pandas as pd

from evergreen.errors import InputError

_MISSING = object()


def parse_json(body: bytes, where: str) -> Any:
    """Return the document.

    Raises
    ------
    InputError
        It is not JSON.
    """
    try:
        return json.loads(body)
    except json.JSONDecodeError as error:
        raise InputError(
            f"{where}: no valid JSON at line {error.lineno}, column {error.colno}: {error.msg}"
        ) from error
    except (UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"{where}: no valid JSON: {error}") from error


def parse_json_lines(body: bytes, where: str) -> pd.DataFrame:
    """Return the table of one JSON object per line; blank lines are skipped.

    Raises
    ------
    InputError
        A line is not a JSON object.
    """
    records = []
    for number, line in enumerate(body.removeprefix(b"\xef\xbb\xbf").splitlines(), start=1):
        if not line.strip():
            continue
        records.append(parse_record(line, f"{where}, line {number}"))
    return pd.json_normalize(records)


def parse_record(text: bytes, where: str) -> dict[str, Any]:
    """Return one JSON object.

    Raises
    ------
    InputError
        It is none.
    """
    try:
        record = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: no valid JSON: {error}") from error
    if not isinstance(record, dict):
        raise InputError(f"{where}: {_kind(record)} instead of an object")
    return record


def table_from_json(document: Any, path: str | None, where: str) -> pd.DataFrame:
    """Return the table in a JSON document; it may have no rows.

    Understood are a list of objects (nested ones become ``outer.inner`` columns), and one object
    of columns, each a list or, as pandas writes it, an object by row.

    Parameters
    ----------
    path
        Dotted path to the table inside the document; None where the document is the table.

    Raises
    ------
    InputError
        Nothing is at the path, or what is there is no table.
    """
    table = document if path is None else lookup(document, path)
    if table is _MISSING:
        raise InputError(f"{where}: data.source.records: nothing at {path!r}; {_hint(document)}")
    if isinstance(table, list):
        for place, record in enumerate(table, start=1):
            if not isinstance(record, dict):
                raise InputError(f"{where}: row {place} is {_kind(record)} instead of an object")
        return pd.json_normalize(table)
    if isinstance(table, dict):
        columns = _columns(table)
        if columns is not None:
            return columns
    raise InputError(f"{where}: the JSON holds {_kind(table)}, not a table; {_hint(document)}")


def lookup(document: Any, path: str) -> Any:
    """Return what is at a dotted path, or a value that `is_missing` knows."""
    value = document
    for key in path.split("."):
        if not isinstance(value, Mapping) or key not in value:
            return _MISSING
        value = value[key]
    return value


def is_missing(value: Any) -> bool:
    """Tell whether `lookup` found nothing."""
    return value is _MISSING


def _columns(table: dict[str, Any]) -> pd.DataFrame | None:
    """Return a table given by columns, or None if it is none."""
    values = list(table.values())
    if not values:
        return None
    if all(isinstance(value, list) for value in values):
        flat = not any(isinstance(item, dict | list) for value in values for item in value)
        even = len({len(value) for value in values}) == 1
        return pd.DataFrame(table) if flat and even else None
    if all(isinstance(value, dict) and value for value in values):
        flat = not any(isinstance(item, dict | list) for value in values for item in value.values())
        even = len({frozenset(value) for value in values}) == 1
        return pd.DataFrame(table).reset_index(drop=True) if flat and even else None
    return None


def _hint(document: Any) -> str:
    """Name the paths where lists of objects are."""
    found = list(_tables(document, ""))
    if found:
        return f"set data.source.records to {' or '.join(repr(path) for path in found[:5])}"
    return "expected is a list of objects, or an object of equally long lists"


def _tables(value: Any, prefix: str) -> list[str]:
    if not isinstance(value, dict):
        return []
    found: list[str] = []
    for key, inner in value.items():
        path = f"{prefix}{key}"
        if isinstance(inner, list) and inner and all(isinstance(item, dict) for item in inner):
            found.append(path)
        found += _tables(inner, f"{path}.")
    return found


def similar_path(document: Any, path: str) -> str | None:
    """Return a path in the document that ``path`` may be a misspelling of."""
    parent, dot, last = path.rpartition(".")
    holder = lookup(document, parent) if dot else document
    if not isinstance(holder, dict):
        return None
    near = get_close_matches(last, holder, n=1)
    return f"{parent}{dot}{near[0]}" if near else None


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")
