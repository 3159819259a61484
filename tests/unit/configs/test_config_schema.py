"""The JSON Schema says what the models say, and takes the shorthands."""

from __future__ import annotations

import copy

import pytest
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from evergreen.config import UseCase
from evergreen.config_schema import SCHEMA_FILE, node_at, schema_text, use_case_schema

SMALL = {
    "name": "shop",
    "task": "classification",
    "data": {"source": "orders.csv", "target": "returned"},
}


def test_the_written_schema_is_fresh():
    assert SCHEMA_FILE.read_text(encoding="utf-8") == schema_text(), (
        "stale: run `make schema` (python -m evergreen.config_schema)"
    )


def test_is_a_schema():
    Draft202012Validator.check_schema(use_case_schema())


def test_describes_every_key():
    schema = use_case_schema()
    for model in (schema, *schema["$defs"].values()):
        for key, node in model["properties"].items():
            assert node.get("description") or "$ref" in node, f"{model['title']}.{key}"


def with_values(changes: dict) -> dict:
    data = copy.deepcopy(SMALL)
    for path, value in changes.items():
        holder = data
        *parents, last = path.split(".")
        for part in parents:
            holder = holder.setdefault(part, {})
        holder[last] = value
    return data


GOOD = [
    {},
    {"data.source": "sklearn:wine"},
    {"data.source": {"type": "sql", "url": "sqlite:///a.db", "table": "t"}},
    {
        "data.source": {
            "type": "http",
            "url": "https://a.org",
            "pagination": {"style": "cursor", "path": "meta.next"},
        }
    },
    {"training.candidates": ["ridge", "xgboost"]},
    {"training.candidates": {"ridge": None, "xgboost": {"params": {"max_depth": 3}}}},
    {
        "training.candidates": {
            "xgboost": {"search": {"max_depth": [2, 3], "gamma": {"low": 0, "high": 1}}}
        }
    },
    {"quality.missing": "error"},
    {"quality.missing": "off", "quality.nulls": False},
    {"quality.missing": {"limit": 0.5}},
    {"training.timeout": "5m", "data.timestamp": "day", "data.expires_after": "90d"},
    {"gate.baseline": None, "gate.champion": {"mode": "not_worse", "margin": 0.1}},
    {"contract.age": {"type": "integer", "categories": [1, "a", True]}},
    {"evaluation.outcomes": [{"actual": 1, "predicted": "b", "gain": -1}]},
]
BAD = [
    {"trainig": {}},
    {"task": "clustering"},
    {"name": "My Shop"},
    {"data.source": {"type": "cvs", "path": "a"}},
    {"data.source": {"path": "a.csv"}},
    {"data.source": {"type": "csv", "path": "a", "delimeter": ";"}},
    {"quality.missing": "eror"},
    {"quality.missing": {"severity": "error", "limt": 1}},
    {"training.candidates": {"xgboost": {"search": {"gamma": 5}}}},
    {"training.candidates": [1]},
    {"training.timeout": 5},
    {"training.timeout": "5 minutes"},
    {"training.trials": 0},
    {"split.holdout": 1},
    {"gate.slices": [{"metric": "f1"}]},
    {"contract.age": {"type": "numbr"}},
]


@pytest.mark.parametrize("changes", GOOD, ids=str)
def test_takes_what_the_models_take(changes):
    data = with_values(changes)
    UseCase.model_validate(data)
    Draft202012Validator(use_case_schema()).validate(data)


@pytest.mark.parametrize("changes", BAD, ids=str)
def test_refuses_what_the_models_refuse(changes):
    data = with_values(changes)
    with pytest.raises(ValidationError):
        UseCase.model_validate(data)
    assert not Draft202012Validator(use_case_schema()).is_valid(data)


def test_the_name_may_be_left_out():
    nameless = {key: value for key, value in SMALL.items() if key != "name"}
    Draft202012Validator(use_case_schema()).validate(nameless)


def test_node_at_follows_the_data_through_unions():
    data = with_values({"data.source": {"type": "csv", "path": "a"}})
    assert node_at(("data", "source", "delimiter"), data)["description"].startswith("One char")
    assert node_at(("data", "source", "url"), data) is None
    assert node_at(("data", "source", "url"), SMALL) is None
    assert node_at(("training", "candidates", 0), {})["type"] == "string"
    assert node_at(("contract", "any column", "unit"), {}) is not None
    assert node_at(("split", "folds", "x"), {}) is None


def test_no_reference_stands_in_the_schema():
    """ZenML stores it with every pipeline, and would look the variable up."""
    assert "${" not in schema_text()
