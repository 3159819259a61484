"""``--pipeline monitor`` as typed: quiet, drift, a log that nobody wrote to, mistakes."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from evergreen.data.source_config import SklearnSource
from evergreen.data.sources import read_source

MONITOR = ("--pipeline", "monitor", "--config", "configs/iris.yaml")


def iris(seed: int, shift: float = 0.0):
    """Draw irises, none of them twice."""
    table = read_source(SklearnSource(name="iris")).sample(140, random_state=seed)
    table["sepal_length_cm"] += shift
    return table


def test_a_file_without_and_with_drift(home, tmp_path):
    for name, shift in (("quiet", 0.0), ("first", 1.5)):
        iris(len(name), shift).to_csv(tmp_path / f"{name}.csv", index=False)
    iris(6, 1.5).to_parquet(tmp_path / "second.parquet", index=False)
    said = home.run(*MONITOR, "--window", str(tmp_path / "quiet.csv"))
    said.check(0, "NO DRIFT", "sepal_length_cm", "Evidently", "window.html")
    first = home.run(*MONITOR, "--window", str(tmp_path / "first.csv"), "--quiet")
    first.check(0, "WATCH", "Not confirmed: 1 of 2 alarms")
    parts = ("--set", "monitoring.partitions=2")
    window = ("--window", str(tmp_path / "second.parquet"))
    second = home.run(*MONITOR, *window, *parts, "--json").check(1).json
    assert second["status"] == "retrain"
    assert second["exit_code"] == 1
    window = second["window"]
    assert (window["version"], window["rows"], window["source"]) == ("1", 140, "table")
    assert "sepal_length_cm: KS distance" in second["message"]
    assert [one["column"] for one in second["univariate"]["columns"] if one["drifted"]] == [
        "sepal_length_cm"
    ]
    for page in second["reports"].values():
        assert "sepal_length_cm" in Path(page).read_text(encoding="utf-8")
    with closing(sqlite3.connect(home.state / "evergreen.db")) as database:
        actions = database.execute("SELECT action FROM monitoring_windows ORDER BY id").fetchall()
    assert actions == [("none",), ("watch",), ("retrain",)]


def test_a_log_that_nobody_wrote_to_is_not_called_quiet(home):
    home.run(*MONITOR).check(1, "ALERT", "The window is empty")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--window", "no_such.csv"), ("no_such.csv",)),
        (("--window", "window.docx"), ("window", "names no known source")),
        (("--since", "a while"), ("--since 'a while' is no time span", "6h")),
        (("--since", "6h", "--window", "sklearn:iris"), ("--since goes with the prediction log",)),
        (("--window", "sklearn:wine"), ("none of the columns that the model takes",)),
    ],
)
def test_mistakes_get_one_message(shared_home, options, words):
    shared_home.run(*MONITOR, *options).check(2, *words)


def test_options_of_monitoring_go_with_it(shared_home):
    train = ("--pipeline", "train", "--window", "a.csv")
    shared_home.run(*train).check(2, "--window goes with --pipeline monitor")


def test_a_use_case_without_a_champion_gets_a_message(shared_home):
    words = ("There is no model 'wine'",)
    shared_home.run("--pipeline", "monitor", "--config", "configs/wine.yaml").check(2, *words)
