"""From Pydantic's errors to mistakes in the user's words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import groupby
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from evergreen.config_schema import Schema, alternatives, node_at, object_node, use_case_schema
from evergreen.use_case.document import Mistake
from evergreen.use_case.key_path import KeyPath
from evergreen.use_case.wording import (
    describe,
    did_you_mean,
    kinds_of,
    listed,
    literals,
    show_value,
    suggest,
)

_SECRETS = {("data", "source", "headers"), ("data", "source", "params")}
_QUOTED = re.compile(r"'([^']*)'")
_KEY_IN_TEXT = re.compile(r"[a-z_]+(\.[a-z_]+)*")


def mistakes_of(error: ValidationError, data: Any) -> list[Mistake]:
    """Word every error of ``UseCase.model_validate(data)``, one mistake per place."""
    located = sorted(
        ((_yaml_path(detail, data), detail) for detail in error.errors(include_url=False)),
        key=lambda item: [str(part) for part in item[0]],
    )
    groups = {
        path: [detail for _, detail in members]
        for path, members in groupby(located, key=lambda item: item[0])
    }
    unknown = {path for path, details in groups.items() if _is(details, "extra_forbidden")}
    return [
        _word(path, details, data)
        for path, details in groups.items()
        if not _explained_below(path, groups) and not _is_misspelt_elsewhere(path, details, unknown)
    ]


def boolean_mistakes(data: Any) -> list[Mistake]:
    """Find true and false where a number is expected: Pydantic would take them for 1 and 0."""
    return [
        Mistake(path, f"{show_value(value)} is not allowed; expected {describe(node)}")
        for path, value in _leaves(data, ())
        if isinstance(value, bool)
        and (node := node_at(path, data)) is not None
        and {leaf.get("type") for leaf in alternatives(node)} & {"integer", "number"}
        and not any(leaf.get("type") == "boolean" for leaf in alternatives(node))
    ]


def value_at(data: Any, path: KeyPath) -> Any:
    """Return the value at a path; None where the path leads nowhere."""
    for part in path:
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            return None
    return data


def _leaves(data: Any, path: KeyPath) -> Iterator[tuple[KeyPath, Any]]:
    if isinstance(data, dict):
        for key, value in data.items():
            yield from _leaves(value, (*path, key))
    elif isinstance(data, list):
        for index, value in enumerate(data):
            yield from _leaves(value, (*path, index))
    else:
        yield path, data


def _is(details: list[ErrorDetails], kind: str) -> bool:
    return any(detail["type"] == kind for detail in details)


def _yaml_path(detail: ErrorDetails, data: Any) -> KeyPath:
    """Keep of an error's location what the file holds: Pydantic adds the names of union members."""
    path: KeyPath = ()
    location = detail["loc"]
    for position, part in enumerate(location):
        last = position == len(location) - 1
        if _holds(data, part):
            path, data = (*path, part), data[part]
        elif isinstance(data, dict) and last and detail["type"] == "missing":
            path = (*path, part)
        elif isinstance(data, list) and part in data:  # a list of names, read as a mapping
            index = data.index(part)
            path, data = (*path, index), data[index]
    tag = detail.get("ctx", {}).get("discriminator", "").strip("'")
    return (*path, tag) if tag and isinstance(data, dict) else path


def _holds(data: Any, part: str | int) -> bool:
    if isinstance(data, list):
        return isinstance(part, int) and part < len(data)
    return isinstance(data, dict) and part in data


def _explained_below(path: KeyPath, groups: dict[KeyPath, list[ErrorDetails]]) -> bool:
    """Tell whether this is another union member's complaint about a value mended further down."""
    return any(len(other) > len(path) and other[: len(path)] == path for other in groups)


def _is_misspelt_elsewhere(
    path: KeyPath, details: list[ErrorDetails], unknown: set[KeyPath]
) -> bool:
    """Tell whether a missing key is there, but misspelt: one message is enough."""
    return _is(details, "missing") and any(
        other[:-1] == path[:-1] and suggest(other[-1], [str(path[-1])]) for other in unknown
    )


def _word(path: KeyPath, details: list[ErrorDetails], data: Any) -> Mistake:
    own = [detail for detail in details if detail["type"] in ("value_error", "assertion_error")]
    detail = (own or details)[0]
    value = detail["input"]
    node = node_at(path, data)
    match detail["type"]:
        case "extra_forbidden":
            return Mistake(path, _unknown_key(path, value, data))
        case "union_tag_not_found":
            kinds = kinds_of(node_at(path[:-1], data) or {})
            return Mistake(path, f"is missing; allowed: {', '.join(kinds)}")
        case "missing":
            return Mistake(path, _missing_key(node))
        case "value_error" | "assertion_error":
            return _own_words(path, str(detail["ctx"]["error"]), value)
        case "literal_error" | "union_tag_invalid":
            context = detail["ctx"]
            allowed = _QUOTED.findall(context.get("expected_tags") or context["expected"])
            given = context.get("tag", value)
            return Mistake(path, _not_a_literal(given, allowed))
    return Mistake(path, _not_allowed(path, value, node))


def _unknown_key(path: KeyPath, value: Any, data: Any) -> str:
    key = str(path[-1])
    parent = node_at(path[:-1], data) or {}
    mapping = object_node(parent, value_at(data, path[:-1])) or {}
    allowed = list(mapping.get("properties", ()))
    hint = did_you_mean(key, allowed) or _belongs_elsewhere(key)
    given = "" if isinstance(value, dict | list) else f" (value {_shown(path, value)})"
    stop = hint if hint.endswith("?") else hint + "."
    return f"unknown key{given}{stop} Allowed: {listed(allowed)}"


def _belongs_elsewhere(key: str) -> str:
    """Name the section that knows a key."""
    homes = [
        f"{section}.{key}"
        for section, node in use_case_schema()["properties"].items()
        for leaf in alternatives(node)
        if key in leaf.get("properties", {})
    ]
    homes += [key] if key in use_case_schema()["properties"] else []
    return f"; it belongs at {' or '.join(homes)}" if homes else ""


def _missing_key(node: Schema | None) -> str:
    if node is None:
        return "is missing"
    meaning = f" ({node['description'].rstrip('.')})" if "description" in node else ""
    return f"is missing; expected {describe(node)}{meaning}"


def _own_words(path: KeyPath, text: str, value: Any) -> Mistake:
    """Word a rule between keys; it belongs to the key that it names first."""
    if isinstance(value, dict):
        first = _KEY_IN_TEXT.match(text)
        if not path and first and "." in first[0]:
            keys = first[0].split(".")
            return Mistake(tuple(keys), text.removeprefix(first[0]).strip())
        return Mistake(path, text)
    return Mistake(path, f"{_shown(path, value)} {text}")


def _not_a_literal(value: Any, allowed: list[str]) -> str:
    if value is None:
        return f"is empty; allowed: {', '.join(allowed)}"
    hint = did_you_mean(value, allowed) or "."
    return f"{show_value(value)} is not allowed{hint} Allowed: {', '.join(allowed)}"


def _not_allowed(path: KeyPath, value: Any, node: Schema | None) -> str:
    expected = describe(node) if node else "another kind of value"
    if value is None:
        return f"is empty; expected {expected}, or leave the key out"
    words = literals(node) if node else []
    hint = did_you_mean(value, words) if isinstance(value, str) else ""
    if expected.startswith("text") and isinstance(value, int | float):
        hint = "; put it in quotes"
    elif expected.startswith("a list (each item: text") and isinstance(value, str):
        hint = f"; write [{value}]" if "," not in value else "; write it in square brackets"
    elif node and "pattern" in node and "description" in node:
        expected += f" ({node['description'].rstrip('.')})"
    return f"{_shown(path, value)} is not allowed; expected {expected}{hint}"


def _shown(path: KeyPath, value: Any) -> str:
    """Show a value, but not what may be a secret."""
    return "(hidden)" if path[:3] in _SECRETS and len(path) > 3 else show_value(value)
