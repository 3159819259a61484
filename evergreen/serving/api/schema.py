"""The contract as JSON Schema (draft 2020-12), which OpenAPI 3.1 uses."""

from __future__ import annotations

import math
import random
from typing import Any, Final

from evergreen.data.contract import Contract
from evergreen.serving.parsing.fields import Field
from evergreen.serving.parsing.readers import MAX_NUMBER, MAX_TEXT
from evergreen.serving.settings import ServingConfig

Schema = dict[str, Any]
_TYPES: Final = {
    "number": "number",
    "integer": "integer",
    "boolean": "boolean",
    "timestamp": "string",
}


def row_schema(contract: Contract, settings: ServingConfig) -> Schema:
    """Return the schema of one row: what the API surely takes."""
    fields = [Field(column, settings) for column in contract.features]
    schema: Schema = {
        "type": "object",
        "title": f"A row of {contract.use_case}",
        "properties": {field.name: field_schema(field) for field in fields},
        "required": [field.name for field in fields if field.missing == "reject"],
        "examples": [example_row(contract)],
    }
    if settings.extra_fields == "reject":
        schema["additionalProperties"] = False
    return schema


def field_schema(field: Field) -> Schema:
    """Return the schema of one field, with unit, range, categories and an example."""
    column = field.column
    kind = _TYPES.get(column.type, "string")
    nullable = field.missing != "reject"
    schema: Schema = {"type": [kind, "null"] if nullable else kind}
    if words := _words(field):
        schema["description"] = words
    if column.unit:
        schema["x-unit"] = column.unit
    if field.numeric:
        binding = field.settings.out_of_range == "reject"
        schema["minimum"] = max(field.low if binding else -math.inf, -MAX_NUMBER)
        schema["maximum"] = min(field.high if binding else math.inf, MAX_NUMBER)
    elif column.type == "category":
        if field.categories is not None and field.settings.unknown_category == "reject":
            levels: list[str | None] = [*sorted(field.categories)]
            schema["enum"] = [*levels, "", None] if nullable else levels
        else:
            schema |= {"maxLength": MAX_TEXT, "pattern": r"^[^\u0000]*$"}
            if not nullable:
                schema["pattern"] = r"^[^\u0000\s]+[^\u0000]*$"
    elif column.type == "timestamp" and column.format is None:
        schema["format"] = "date-time"
    if (example := example_of(field)) is not None:
        schema["examples"] = [example]
    return schema


def example_row(contract: Contract) -> Schema:
    """Return a typical row."""
    fields = [Field(column, ServingConfig()) for column in contract.features]
    return {field.name: example_of(field) for field in fields}


def example_of(field: Field) -> Any:
    """Return a typical value of a field, as a request would have it."""
    column = field.column
    if column.example is not None and column.type != "timestamp":
        return column.example
    if field.numeric:
        low = max(field.low, field.seen_low)
        high = min(field.high, field.seen_high)
        value = low if math.isfinite(low) else high if math.isfinite(high) else 1.0
        return math.ceil(value) if column.type == "integer" else value
    if column.type == "boolean":
        return True
    if column.type == "timestamp":
        text = str(column.example) if column.example is not None else "2026-01-31T12:00:00"
        return _moment(text, column.format)
    return column.categories[0] if column.categories else "text"


def random_row(contract: Contract, settings: ServingConfig, rng: random.Random) -> Schema:
    """Return a row that the API takes, drawn from the ranges and categories of the contract."""
    row: Schema = {}
    for field in (Field(column, settings) for column in contract.features):
        low, high = max(field.low, field.seen_low), min(field.high, field.seen_high)
        if field.numeric and math.isfinite(low) and math.isfinite(high):
            whole = field.column.type == "integer"
            row[field.name] = (
                rng.randint(math.ceil(low), math.floor(high))
                if whole
                else round(rng.uniform(low, high), 4)
            )
        elif field.column.type == "boolean":
            row[field.name] = rng.random() < 0.5
        elif field.column.categories:
            row[field.name] = rng.choice(field.column.categories)
        else:
            row[field.name] = example_of(field)
    return row


def _moment(text: str, date_format: str | None) -> str:
    from datetime import datetime

    return text if date_format is None else datetime.fromisoformat(text).strftime(date_format)


def _words(field: Field) -> str:
    column = field.column
    parts = [column.description] if column.description else []
    if column.unit:
        parts.append(f"In {column.unit}")
    if column.format is not None:
        parts.append(f"Written as {column.format} (strptime), or ISO 8601")
    seen = [f"{bound:g}" for bound in (field.seen_low, field.seen_high) if math.isfinite(bound)]
    if len(seen) == 2:
        parts.append(f"Training saw {seen[0]} to {seen[1]}")
    if field.seen:
        levels = sorted(field.seen)
        more = f" and {len(levels) - 12} more" if len(levels) > 12 else ""
        parts.append(f"Training saw {', '.join(map(repr, levels[:12]))}{more}")
    return ". ".join(part.rstrip(". ") for part in parts) + ("." if parts else "")
