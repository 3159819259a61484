"""The OpenAPI 3.1 document: made from the operations and from the contract that is served."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

import evergreen
from evergreen.serving import problems
from evergreen.serving.api import answers
from evergreen.serving.api.operation import Operation
from evergreen.serving.api.schema import example_of, row_schema
from evergreen.serving.parsing.fields import Field
from evergreen.serving.security import scheme
from evergreen.serving.settings import ServingConfig

if TYPE_CHECKING:
    from evergreen.data.contract import Contract

Schema = dict[str, Any]
REF: Final = "#/components/schemas/{name}"
_TYPES: Final = (
    answers.ClassAnswer,
    answers.NumberAnswer,
    answers.ClassRow,
    answers.NumberRow,
    answers.Explanation,
    answers.FeedbackReceipt,
    answers.Health,
    problems.ProblemDetails,
)
_TAGS: Final = (
    ("predict", "Predictions, by the contract."),
    ("model", "What is served."),
    ("health", "Is it alive, is it ready?"),
    ("mlflow", "MLflow's scoring protocol."),
    ("inference", "The Open Inference Protocol v2 (KServe, Triton, MLServer)."),
)


def ref(name: str) -> Schema:
    """Refer to a schema of the document."""
    return {"$ref": REF.format(name=name)}


def document(
    operations: Sequence[Operation],
    contract: Contract | None,
    settings: ServingConfig,
    *,
    keys: bool,
) -> Schema:
    """Return the document; without a model it lacks the fields."""
    components, _ = msgspec.json.schema_components(_TYPES, ref_template=REF)[::-1]
    schemas: Schema = {**components, **_contract_schemas(contract, settings)}
    paths: Schema = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation, keys)
    name = "a model" if contract is None else contract.use_case
    described: Schema = {
        "openapi": "3.1.0",
        "info": {
            "title": f"Evergreen: {name}",
            "version": evergreen.__version__,
            "description": _DESCRIPTION,
        },
        "tags": [{"name": tag, "description": text} for tag, text in _TAGS],
        "paths": paths,
        "components": {"schemas": schemas},
    }
    if keys:
        described["components"]["securitySchemes"] = scheme()
    return described


_DESCRIPTION: Final = (
    "Every field follows the model's contract. What breaks it is refused with problem details "
    "(RFC 9457) that name the field and what is allowed; what is unusual is answered and flagged."
)


def _operation(operation: Operation, keys: bool) -> Schema:
    docs = operation.docs
    described: Schema = {
        "operationId": f"{operation.method.lower()}{operation.path}".replace("/", "_"),
        "summary": docs.summary,
        "tags": [docs.tag],
        "responses": {
            docs.status: {
                "description": "Done.",
                **({"content": docs.response} if docs.response else {}),
            },
            **{str(status): _problem(status) for status in _problems(operation, keys)},
        },
    }
    if docs.description:
        described["description"] = docs.description
    if docs.request:
        described["requestBody"] = {"required": True, "content": docs.request}
    if docs.parameters:
        described["parameters"] = list(docs.parameters)
    if keys and operation.needs is not None:
        described["security"] = [{"bearer": []}, {"header": []}]
    return described


def _problems(operation: Operation, keys: bool) -> list[int]:
    found = set(operation.docs.problems)
    if operation.docs.request:
        found |= {400, 408, 413, 415, 422, 503}
    if operation.needs is not None:
        found |= {401, 403, 429} if keys else {429}
    return sorted(found)


def _problem(status: int) -> Schema:
    meaning = next(title for code, title in problems.TYPES.values() if code == status)
    return {
        "description": f"{meaning}.",
        "content": {"application/problem+json": {"schema": ref("ProblemDetails")}},
    }


def _contract_schemas(contract: Contract | None, settings: ServingConfig) -> Schema:
    if contract is None:
        row: Schema = {"type": "object"}
        listed: Schema = {"type": "array"}
        classes, labels = True, None
    else:
        fields = [Field(column, settings) for column in contract.features]
        row = row_schema(contract, settings)
        listed = {
            "type": "array",
            "prefixItems": [row["properties"][field.name] for field in fields],
            "items": False,
            "minItems": len(fields),
            "description": "The values in this order: " + ", ".join(f.name for f in fields),
            "examples": [[example_of(field) for field in fields]],
        }
        classes, labels = contract.labels is not None, contract.labels
    return {
        "Row": row,
        "Values": listed,
        "Features": {
            "type": "object",
            "required": ["features"],
            "properties": {"features": ref("Values")},
            "additionalProperties": False,
        },
        "Rows": {"type": "array", "items": ref("Row"), "maxItems": settings.batch_rows},
        "Answer": ref("ClassAnswer" if classes else "NumberAnswer"),
        "Answers": {
            "type": "object",
            "required": ["model", "model_version", "request_id", "rows", "predictions"],
            "properties": {
                "model": {"type": "string"},
                "model_version": {"type": ["string", "null"]},
                "request_id": {"type": "string"},
                "rows": {"type": "integer"},
                "predictions": {
                    "type": "array",
                    "items": ref("ClassRow" if classes else "NumberRow"),
                },
            },
        },
        "Feedback": {
            "type": "object",
            "required": ["request_id", "label"],
            "properties": {
                "request_id": {"type": "string", "pattern": r"^[A-Za-z0-9._:-]{1,128}$"},
                "row": {"type": "integer", "minimum": 0, "maximum": 2**31 - 1, "default": 0},
                "label": {"type": "number"} if labels is None else {"enum": list(labels)},
            },
            "additionalProperties": False,
        },
        "Invocation": _invocation(),
        "Inference": _inference(),
    }


def _invocation() -> Schema:
    split = {
        "type": "object",
        "required": ["dataframe_split"],
        "properties": {
            "dataframe_split": {
                "type": "object",
                "required": ["columns", "data"],
                "properties": {
                    "columns": {"type": "array", "items": {"type": "string"}},
                    "index": {"type": "array"},
                    "data": {"type": "array", "items": ref("Values")},
                },
            }
        },
    }
    rows: list[Schema] = [
        {"type": "object", "required": [name], "properties": {name: ref("Rows")}}
        for name in ("dataframe_records", "instances", "inputs")
    ]
    return {"oneOf": [split, *rows]}


def _inference() -> Schema:
    tensor = {
        "type": "object",
        "required": ["name", "shape", "datatype", "data"],
        "properties": {
            "name": {"type": "string"},
            "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}},
            "datatype": {"type": "string"},
            "data": {"type": "array"},
            "parameters": {"type": "object"},
        },
    }
    return {
        "type": "object",
        "required": ["inputs"],
        "properties": {
            "id": {"type": "string", "maxLength": 256},
            "inputs": {"type": "array", "items": tensor},
            "outputs": {
                "type": "array",
                "items": {"type": "object", "required": ["name"]},
            },
        },
    }
