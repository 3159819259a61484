"""What a value may be, and how a value is shown, in plain words."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

from evergreen.config_schema import Schema, alternatives

_NUMBERS = {"integer": "a whole number", "number": "a number"}
_USER_INFO = re.compile(r"(?<=://)[^@/\s]*@")
_LONGEST = 60


def show_value(value: Any) -> str:
    """Show a value as it would stand in YAML, shortened; passwords in addresses are left out."""
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, str):
        text = repr(_USER_INFO.sub("***@", value))
    else:
        text = json.dumps(value, default=str)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def suggest(word: Any, allowed: Iterable[str]) -> str | None:
    """Return the allowed word that comes closest, if one comes close."""
    words = list(allowed)
    folded = {name.lower(): name for name in words}
    near = get_close_matches(str(word).lower().replace("-", "_"), folded, n=1, cutoff=0.6)
    return folded[near[0]] if near else None


def did_you_mean(word: Any, allowed: Iterable[str]) -> str:
    """Return ``; did you mean 'x'?``, or nothing where no word comes close."""
    near = suggest(word, allowed)
    return f"; did you mean {near!r}?" if near else ""


def listed(words: Iterable[str]) -> str:
    """Join words by commas, in alphabetical order."""
    return ", ".join(sorted(words))


def describe(node: Schema) -> str:
    """Say what a schema allows, such as ``a whole number of at least 1``."""
    leaves = [leaf for leaf in alternatives(node) if leaf.get("type") != "null"]
    kinds = {leaf.get("type") for leaf in leaves}
    if {"string", "number", "boolean"} <= kinds:
        return "text, a number, true or false"
    words = [_describe_leaf(leaf) for leaf in leaves if leaf.get("const") is not False]
    return " or ".join(dict.fromkeys(words))


def literals(node: Schema) -> list[str]:
    """Return the words that a schema allows, where it allows only certain ones."""
    return [str(word) for leaf in alternatives(node) for word in leaf.get("enum", ())]


def kinds_of(node: Schema) -> list[str]:
    """Return the words that tell a union's members apart, such as csv, parquet and sql."""
    return [
        child["const"]
        for leaf in alternatives(node)
        for child in leaf.get("properties", {}).values()
        if "const" in child
    ]


def _describe_leaf(leaf: Schema) -> str:
    match leaf:
        case {"enum": words}:
            text = "one of " + ", ".join(map(str, words))
        case {"type": "boolean"}:
            text = "true or false"
        case {"type": "array", "items": items}:
            least = " that is not empty" if leaf.get("minItems") else ""
            text = f"a list{least} (each item: {describe(items)})"
        case {"type": "object", "properties": properties}:
            text = f"a mapping with the keys {', '.join(properties)}"
        case {"type": "object", "additionalProperties": dict(values)}:
            text = f"a mapping (each value: {describe(values)})"
        case {"type": "string"}:
            text = _describe_text(leaf)
        case _:
            text = _NUMBERS.get(str(leaf.get("type")), "a value") + _bounds(leaf)
    return text


def _describe_text(leaf: Schema) -> str:
    if "examples" in leaf:
        return "text such as " + ", ".join(leaf["examples"])
    if "pattern" in leaf:
        return f"text that matches {leaf['pattern']}"
    if leaf.get("maxLength") == 1:
        return "one character"
    return "text that is not empty" if leaf.get("minLength") else "text"


def _bounds(leaf: Schema) -> str:
    words = [
        f"{word} {json.dumps(leaf[key])}"
        for key, word in (
            ("minimum", "of at least"),
            ("exclusiveMinimum", "above"),
            ("maximum", "of at most" if "minimum" not in leaf else "at most"),
            ("exclusiveMaximum", "below"),
        )
        if key in leaf
    ]
    return " " + " and ".join(words) if words else ""
