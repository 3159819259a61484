"""The use case file as a JSON Schema (draft 2020-12), for editors and for messages.

``python -m evergreen.config_schema`` writes ``configs/schema.json``; a file that begins with
``# yaml-language-server: $schema=schema.json`` is then checked while it is written.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from evergreen.config import UseCase

Schema = dict[str, Any]
SCHEMA_FILE = Path(__file__).resolve().parents[1] / "configs" / "schema.json"


@cache
def use_case_schema() -> Schema:
    """Return the schema of a use case file, shorthands included. Don't change the result."""
    schema = UseCase.model_json_schema()
    definitions: dict[str, Schema] = schema["$defs"]
    for model in (schema, *definitions.values()):
        for key, node in model["properties"].items():
            node.pop("title", None)
            if isinstance(node.get("const"), str):
                # Only the kind tells a CSV file from Parquet: it must be written.
                model["required"] = [key, *model.get("required", ())]
                node.setdefault("description", model["description"])
    schema["required"].remove("name")  # the file's name stands in
    # A section whose keys all have defaults need not repeat them.
    for node in schema["properties"].values():
        if isinstance(node.get("default"), dict):
            node.pop("default")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def schema_text() -> str:
    """Return the schema as it is written to ``configs/schema.json``."""
    return json.dumps(use_case_schema(), indent=2, ensure_ascii=False) + "\n"


def resolve(node: Schema) -> Schema:
    """Follow a reference to the definition that it names."""
    while "$ref" in node:
        node = use_case_schema()["$defs"][node["$ref"].rsplit("/", 1)[1]]
    return node


def alternatives(node: Schema) -> list[Schema]:
    """Return the schemas that a value may follow, with unions opened and references followed."""
    node = resolve(node)
    branches = node.get("anyOf") or node.get("oneOf")
    return [leaf for branch in branches for leaf in alternatives(branch)] if branches else [node]


def node_at(path: tuple[str | int, ...], data: Any) -> Schema | None:
    """Return the schema that the value at ``path`` in ``data`` should follow.

    ``data`` (the plain data of a file) decides between the members of a union. None where no key
    of that path is known.
    """
    node: Schema = use_case_schema()
    for part in path:
        below = _below(node, part, data)
        if below is None:
            return None
        node = below
        data = _item(data, part)
    return node


def object_node(node: Schema, data: Any) -> Schema | None:
    """Return the alternative that is a mapping; ``data`` tells which, where there are several."""
    mappings = [leaf for leaf in alternatives(node) if leaf.get("type") == "object"]
    for leaf in mappings:
        for key, child in leaf.get("properties", {}).items():
            if "const" in child and isinstance(data, dict) and data.get(key) == child["const"]:
                return leaf
    return mappings[0] if len(mappings) == 1 else None


def _below(node: Schema, part: str | int, data: Any) -> Schema | None:
    if isinstance(part, int):
        lists = [leaf for leaf in alternatives(node) if leaf.get("type") == "array"]
        return lists[0].get("items") if lists else None
    mapping = object_node(node, data)
    if mapping is None:
        return None
    properties = mapping.get("properties", {})
    known: Schema | None = properties.get(part) or mapping.get("additionalProperties") or None
    return known


def _item(data: Any, part: str | int) -> Any:
    try:
        return data[part]
    except (KeyError, IndexError, TypeError):
        return None


if __name__ == "__main__":
    SCHEMA_FILE.write_text(schema_text(), encoding="utf-8")
    print(f"wrote {SCHEMA_FILE}")
