"""Alert rules and dashboard: checked by Prometheus' own tool, and against what the API serves."""

from __future__ import annotations

import json
import re
import subprocess

import pytest
import yaml

from tests.support.containers import ROOT
from tests.support.contract_api import make_api
from tests.support.models import write_small_bundle

PROMETHEUS = ROOT / "deploy" / "prometheus"
DASHBOARD = ROOT / "deploy" / "grafana" / "dashboards" / "serving.json"
NOT_OURS = {"up"}  # of Prometheus
NAME = re.compile(r"\b(?:evergreen|process)_[a-z_]+")


def promtool(*arguments) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["promtool", *map(str, arguments)], capture_output=True, text=True, check=False
    )


def rules() -> list[dict]:
    groups = yaml.safe_load((PROMETHEUS / "rules.yaml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def queries() -> list[str]:
    found = json.loads(DASHBOARD.read_text())
    targets = [target["expr"] for panel in found["panels"] for target in panel["targets"]]
    return targets + [one["expr"] for one in found["annotations"]["list"]]


def names(expression: str) -> set[str]:
    without_texts = re.sub(r'"[^"]*"', "", expression)
    return set(NAME.findall(without_texts))


@pytest.fixture(scope="module")
def served(tmp_path_factory) -> set[str]:
    """The names of the series that the API serves, with one counted request of each kind."""
    folder = tmp_path_factory.mktemp("api")
    api = make_api(write_small_bundle(folder / "boats").folder, folder, promises={})
    text = api.get("/metrics").text
    api.close()
    declared = re.findall(r"^# TYPE (\S+) (\S+)", text, re.MULTILINE)
    parts = {"histogram": ("_bucket", "_sum", "_count")}
    return {f"{name}{end}" for name, kind in declared for end in parts.get(kind, ("",))}


def test_every_alert_fires_when_it_should_and_only_then():
    done = promtool("test", "rules", PROMETHEUS / "rules.test.yaml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_both_tests():
    tests = yaml.safe_load((PROMETHEUS / "rules.test.yaml").read_text())["tests"]
    shown = [case for test in tests for case in test["alert_rule_test"]]
    firing = {case["alertname"] for case in shown if case["exp_alerts"]}
    silent = {case["alertname"] for case in shown if not case["exp_alerts"]}
    alerts = {rule["alert"] for rule in rules()}
    assert firing == silent == alerts


def test_a_changed_rule_is_noticed(tmp_path):
    text = (PROMETHEUS / "rules.yaml").read_text()
    (tmp_path / "rules.yaml").write_text(text.replace("> 0.01", "> 0.05"))
    (tmp_path / "rules.test.yaml").write_text((PROMETHEUS / "rules.test.yaml").read_text())
    assert promtool("test", "rules", tmp_path / "rules.test.yaml").returncode != 0


def test_prometheus_takes_its_configuration():
    done = promtool("check", "config", "--syntax-only", PROMETHEUS / "prometheus.yml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_api_serves_all_that_is_asked_for(served):
    asked = {
        name for text in [*queries(), *(rule["expr"] for rule in rules())] for name in names(text)
    }
    assert len(asked) > 10
    assert asked - NOT_OURS <= served


def test_the_dashboard_shows_every_figure_of_the_api(served):
    asked = {name for text in queries() for name in names(text)}
    families = {re.sub(r"_(bucket|sum|count)$", "", name) for name in served}
    shown = {re.sub(r"_(bucket|sum|count)$", "", name) for name in asked}
    ours = {name for name in families if name.startswith("evergreen_")}
    # The client library adds when each counter began.
    assert {name for name in ours if not name.endswith("_created")} == {
        name for name in shown if name.startswith("evergreen_")
    }


def test_prometheus_can_read_every_query_of_the_dashboard(tmp_path):
    file = tmp_path / "queries.yaml"
    for query, good in [*((query, True) for query in queries()), ("rate(x[5m]", False)]:
        text = query.replace("$__rate_interval", "1m").replace("$instance", ".*")
        rule = {"record": "x", "expr": text}
        file.write_text(yaml.safe_dump({"groups": [{"name": "x", "rules": [rule]}]}))
        done = promtool("check", "rules", file)
        assert (done.returncode == 0) is good, f"{query}: {done.stderr}"


def test_the_dashboards_parts_are_told_apart():
    panels = json.loads(DASHBOARD.read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [
        (x, y)
        for panel in panels
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(set(cells)) == len(cells)
    datasource = ROOT / "deploy/grafana/provisioning/datasources/prometheus.yaml"
    uid = yaml.safe_load(datasource.read_text())["datasources"][0]["uid"]
    assert {panel["datasource"]["uid"] for panel in panels} == {uid}
