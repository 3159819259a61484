"""The guide's examples load, and its tables name every key with its true default."""

from __future__ import annotations

import re

import pytest
from jsonschema import Draft202012Validator
from ruamel.yaml import YAML

from evergreen.config_schema import SCHEMA_FILE, alternatives, resolve, use_case_schema
from evergreen.use_case import load_use_case

GUIDE = (SCHEMA_FILE.parents[1] / "docs" / "guide.md").read_text(encoding="utf-8")
EXAMPLES = [
    text for text in re.findall(r"```yaml\n(.*?)```", GUIDE, re.S) if ":\n" in text or ": {" in text
]
HEADS = {
    "task": "task: classification\n",
    "data": "data: {source: table.csv, target: target}\n",
}
TABLES = {
    part.split("\n", 1)[0].strip("# "): dict(
        re.findall(r"^\| `([\w.]+)` \|.*\| (.*?) \|$", part, re.M)
    )
    for part in re.split(r"^#{2,4} (?=\S)", GUIDE, flags=re.M)
}
# Pagination has a table of its own below the heading of HTTP.
STYLES = {"page", "offset", "cursor", "link"}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda text: text.splitlines()[0])
def test_examples_load(example, tmp_path):
    file = tmp_path / "orders.yaml"
    missing = [head for key, head in HEADS.items() if not re.search(f"^{key}:", example, re.M)]
    file.write_text("".join(missing) + example, encoding="utf-8")
    assert load_use_case(file).name == "orders"


def test_the_first_example_has_ten_lines_and_follows_the_schema():
    assert len(EXAMPLES[0].splitlines()) == 10
    Draft202012Validator(use_case_schema()).validate(YAML(typ="safe").load(EXAMPLES[0]))


def shown(default) -> str:
    """Write a default as the tables do."""
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if isinstance(default, list):
        return f"`[{', '.join(map(str, default))}]`"
    if isinstance(default, str) and (span := re.fullmatch(r"PT(\d+)([HM])", default)):
        return f"`{span[1]}{span[2].lower()}`"
    return f"`{default:g}`" if isinstance(default, float) else f"`{default}`"


def keys_with_defaults(model) -> dict[str, object]:
    """Return the keys of a section as the guide's table names them."""
    keys = {}
    for key, node in model["properties"].items():
        below = [leaf for leaf in alternatives(node) if leaf.get("type") == "object"]
        if key in ("impute", "encode", "selection"):
            keys |= {f"{key}.{name}": value for name, value in keys_with_defaults(below[0]).items()}
        else:
            keys[key] = node.get("default", "required")
    return keys


SECTIONS = [
    ("`data`: the table", "DataConfig"),
    ("Data sets of scikit-learn", "SklearnSource"),
    ("CSV", "CsvSource"),
    ("Parquet", "ParquetSource"),
    ("SQL", "SqlSource"),
    ("HTTP", "HttpSource"),
    ("NATS", "NatsSource"),
    ("`contract`: what columns promise", "ColumnRule"),
    ("`split`: holdout and folds", "SplitConfig"),
    ("`features`: what is made of the columns", "FeaturesConfig"),
    ("`training`: which estimators compete", "TrainingConfig"),
    ("`evaluation`: a close look at the holdout", "EvaluationConfig"),
    ("`gate`: good enough?", "GateConfig"),
    ("`serving`: the API", "ServingConfig"),
    ("Prediction log", "PredictionLogConfig"),
    ("Traffic", "TrafficConfig"),
    ("Canary", "CanaryConfig"),
    ("Guardrails", "Guardrails"),
    ("`batch`: scoring whole tables", "BatchConfig"),
    ("`deploy`: where servers listen", "DeployConfig"),
    ("`monitoring`: drift, and what is done about it", "MonitoringConfig"),
    ("The window", "WindowConfig"),
    ("Levels", "LevelConfig"),
    ("Effects", "EffectConfig"),
    ("Retraining", "RetrainConfig"),
    ("`alerts`: who is told what", "AlertsConfig"),
    ("Console", "ConsoleTarget"),
    ("File", "FileTarget"),
    ("Webhook", "WebhookTarget"),
    ("Slack", "SlackTarget"),
    ("E-mail", "EmailTarget"),
    ("`resources`: what steps get in a cluster", "ResourcesConfig"),
    ("One step", "StepResources"),
    ("Toleration", "Toleration"),
]


@pytest.mark.parametrize(("title", "model"), SECTIONS)
def test_tables_name_every_key_with_its_default(title, model):
    table = {key: text for key, text in TABLES[title].items() if key not in STYLES}
    keys = keys_with_defaults(use_case_schema()["$defs"][model])
    assert set(table) == set(keys)
    for key, default in keys.items():
        in_words = default is None or isinstance(default, dict) or key == "type"
        if not in_words and default != "required":
            assert table[key] == shown(default), key


def test_required_keys_are_said_to_be():
    for title, model in SECTIONS[:7]:
        required = set(use_case_schema()["$defs"][model].get("required", ()))
        said = {key for key, text in TABLES[title].items() if text == "required"}
        assert said == required, title


def test_the_top_level_is_complete():
    assert set(TABLES["The file"]) == set(use_case_schema()["properties"])


def test_quality_checks_stand_with_severity_and_limit():
    table = TABLES["`quality`: checks on the table"]
    checks = resolve(use_case_schema()["properties"]["quality"])["properties"]
    expected = {}
    for name, node in checks.items():
        severity, limit = node["default"]["severity"], node["default"]["limit"]
        expected[name] = severity if limit is None else f"{severity}, {limit:g}"
    assert table == expected


def test_links_lead_to_headings():
    headings = {
        re.sub(r"[^\w\- ]", "", line.lstrip("# ").lower()).replace(" ", "-")
        for line in re.findall(r"^#{1,4} .+$", GUIDE, re.M)
    }
    assert set(re.findall(r"\]\(#(.*?)\)", GUIDE)) <= headings
