"""The shipped use case files are good examples."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from ruamel.yaml import YAML

from evergreen.config_schema import SCHEMA_FILE
from evergreen.data.sources import read_source
from evergreen.expressions import parse_derived
from evergreen.use_case import load_use_case

FILES = sorted(SCHEMA_FILE.parent.glob("*.yaml"))
BUNDLED = [file for file in FILES if file.stem != "housing"]


def test_five_are_shipped():
    assert [file.stem for file in FILES] == [
        "breast_cancer",
        "diabetes",
        "housing",
        "iris",
        "wine",
    ]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_loads_and_follows_the_schema(file: Path):
    use_case = load_use_case(file)
    assert use_case.name == file.stem
    assert use_case.description
    assert use_case.gate.thresholds
    text = file.read_text(encoding="utf-8")
    assert text.startswith("# yaml-language-server: $schema=schema.json\n")
    schema = json.loads(SCHEMA_FILE.read_text(encoding="utf-8"))
    Draft202012Validator(schema).validate(YAML(typ="safe").load(text))


@pytest.mark.parametrize("file", BUNDLED, ids=lambda file: file.stem)
def test_names_columns_that_the_table_has(file: Path):
    use_case = load_use_case(file)
    columns = list(read_source(use_case.data.source).columns)
    features = [column for column in columns if column != use_case.data.target]
    assert use_case.data.target in columns
    assert set(use_case.contract) <= set(features)
    assert set(use_case.evaluation.slices) <= set(features)
    parse_derived(use_case.features.derive, features)


def test_wine_has_at_least_six_derived_features():
    assert len(load_use_case("wine").features.derive) >= 6


def test_housing_derives_averages_from_raw_counts_and_drops_these():
    features = load_use_case("housing").features
    assert set(features.derive) == {"AveRooms", "AveBedrms", "AveOccup"}
    used = {
        column
        for expression in parse_derived(features.derive).values()
        for column in expression.columns
    }
    assert used == set(features.drop)
