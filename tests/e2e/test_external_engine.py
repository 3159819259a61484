"""A table that stays on disk gives the model, the gate and the reports that one in memory gives."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from evergreen.promotion.bundle import open_bundle
from tests.support.command_line import Home
from tests.support.postgres import free_port

ROWS = 20_000
METRIC_TOLERANCE = 0.01  # relative: what docs/scale.md promises
LINEAR_TOLERANCE = 0.001  # of linear models
CONFIG = """\
task: classification
data: {source: sales.csv, target: sold, positive: "yes"}
features: {derive: {ratio: size / age}}
training:
  candidates:
    xgboost:
      params: {n_estimators: 60}
      search: {max_depth: {low: 3, high: 5, integer: true}}
    decision_tree:
  trials: 1
  search_rows: 2000
  dask: {workers: 2, memory: 2Gi}
evaluation: {bootstrap: 100, importance_rows: 100}
gate: {champion: {mode: not_worse, margin: 0.02}}
"""


@pytest.fixture
def config(tmp_path) -> Path:
    """A use case whose CSV has holes, categories and a column that ends otherwise than it began."""
    random = np.random.default_rng(8)
    size, age = random.normal(size=ROWS), random.integers(1, 90, ROWS)
    colour = random.choice(["red", "green", "blue"], ROWS)
    sold = size + (colour == "red") * age / 40 + random.normal(0, 0.7, ROWS) > 0.5
    size[random.random(ROWS) < 0.03] = np.nan
    code = random.choice(list("123456789"), ROWS)
    code[ROWS * 3 // 4 :] = random.choice(list("xyz"), ROWS // 4)
    table = {"size": size, "age": age, "colour": colour, "code": code}
    pd.DataFrame({**table, "sold": np.where(sold, "yes", "no")}).to_csv(
        tmp_path / "sales.csv", index=False
    )
    path = tmp_path / "sales.yaml"
    path.write_text(CONFIG, encoding="utf-8")
    return path


@pytest.mark.long
def test_all_engines(home, config):
    results = {}
    for engine in ("memory", "external", "dask"):
        done = home.run(
            *("--pipeline", "train", "--config", str(config), "--json"),
            *("--set", f"training.engine={engine}"),
        ).check()
        results[engine] = json.loads(done.out)
    memory = results.pop("memory")
    scores = {each["name"]: each for each in memory["candidates"]}
    assert scores["decision_tree"]["score"] is not None

    for engine, result in results.items():
        for same in ("data_fingerprint", "rows", "train_rows", "holdout_rows"):
            assert result[same] == memory[same], same
        found = {each["name"]: each for each in result["candidates"]}
        assert found["xgboost"]["score"] == scores["xgboost"]["score"]
        assert f"training.engine is {engine}" in found["decision_tree"]["error"]
        for name, interval in memory["metrics"].items():
            estimate = result["metrics"][name]["estimate"]
            assert estimate == pytest.approx(interval["estimate"], rel=METRIC_TOLERANCE), name

        assert result["status"] == "promoted"  # not worse than the champion before
        report = Path(result["reports"]["training"]).read_text(encoding="utf-8")
        assert f"{engine}: training.engine is {engine}" in report
        assert "searched on 2,000 training rows drawn evenly" in report
        log = Path(result["log"]).read_text(encoding="utf-8")
        assert f"The engine is {engine}: training.engine is {engine}" in log
        bundle = open_bundle(Path(result["artifacts"]["bundle"]) / "bundle")
        assert bundle.manifest.runtime == "onnx"
        assert bundle.manifest.origin.rows == memory["train_rows"]
    for rest in ("features*", "shared*", "dask*"):
        assert not list((home.state / "tmp").rglob(rest))


@pytest.mark.long
@pytest.mark.parametrize(
    ("task", "target", "candidate"),
    [("classification", "sold", "logistic_regression"), ("regression", "age", "ridge")],
)
def test_a_linear_model_wins_from_disk_as_in_memory(home, config, task, target, candidate):
    found = {}
    for engine in ("memory", "external"):
        done = home.run(
            *("--pipeline", "train", "--config", str(config), "--json"),
            *("--set", f"task={task}"),
            *("--set", f"data={{source: {config.parent}/sales.csv, target: {target}}}"),
            *("--set", "features={}"),
            *("--set", f"training.candidates=[{candidate}]"),
            *("--set", f"training.engine={engine}"),
        ).check()
        found[engine] = json.loads(done.out)
    memory, external = found["memory"], found["external"]
    best = next(each for each in external["candidates"] if each["name"] == candidate)
    (same,) = (each for each in memory["candidates"] if each["name"] == candidate)
    assert best["score"] == same["score"] is not None
    for name, interval in memory["metrics"].items():
        estimate = external["metrics"][name]["estimate"]
        assert estimate == pytest.approx(interval["estimate"], rel=LINEAR_TOLERANCE), name
    assert external["status"] == "promoted"  # past the gate: not worse than the champion before
    bundle = open_bundle(Path(external["artifacts"]["bundle"]) / "bundle")
    assert bundle.manifest.runtime == "onnx"
    assert not list((home.state / "tmp").rglob("features*"))


def test_a_cluster_that_is_not_there_is_told_of_before_the_table_is_loaded(home, config):
    engine = ("--set", "training.engine=dask", "--set")
    train = ("--pipeline", "train", "--config", str(config), *engine)
    home.run(*train, "training.dask={}").check(2, "needs dask.scheduler or dask.workers")
    nowhere = f"tcp://127.0.0.1:{free_port()}"
    done = home.run(*train, f"training.dask={{scheduler: '{nowhere}'}}")
    done.check(3, f"The Dask scheduler {nowhere} does not answer", "training.dask.scheduler")
    assert "Check the data" not in done.out + done.err


def test_a_plan_trains_nothing(config, tmp_path):
    home = Home(tmp_path / "home")
    shown = home.run("--pipeline", "train", "--plan", "--config", str(config)).check()
    assert "engine memory" in shown.out
    assert "Fit the challenger" in shown.out
    told = json.loads(
        home.run("--pipeline", "train", "--plan", "--config", str(config), "--json").check().out
    )
    assert told["size"]["rows"] == pytest.approx(ROWS, rel=0.05)
    assert told["memory"] < told["memory_limit"]
    assert not home.state.exists()
    home.run("--pipeline", "batch", "--plan").check(2, "--plan goes with --pipeline train")
