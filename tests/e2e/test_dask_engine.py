"""A training on a Dask cluster that runs, as a user types it: shared from its loading on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from evergreen.data.dataset import ROW_GROUP
from evergreen.data.ingest_parts import PIECES
from tests.support.dask_cluster import dask_cluster

ROWS = PIECES * ROW_GROUP + 100_000  # two parts
CONFIG = """\
task: classification
data: {source: sales.parquet, target: sold, positive: "yes"}
training:
  candidates: {xgboost: {params: {n_estimators: 20}}}
  trials: 1
  search_rows: 2000
evaluation: {bootstrap: 100, importance_rows: 100}
gate: {champion: {mode: not_worse, margin: 0.02}}
"""


@pytest.fixture
def config(tmp_path) -> Path:
    random = np.random.default_rng(8)
    size, colour = random.normal(size=ROWS), random.choice(["red", "green", None], ROWS)
    count = pd.array(random.integers(0, 9, ROWS), dtype="Int64")
    count[ROWS - 1] = None
    sold = size + (colour == "red") + random.normal(0, 0.7, ROWS) > 0.5
    frame = pd.DataFrame({"size": size, "colour": colour, "count": count})
    frame.assign(sold=np.where(sold, "yes", "no")).to_parquet(tmp_path / "sales.parquet")
    path = tmp_path / "sales.yaml"
    path.write_text(CONFIG, encoding="utf-8")
    return path


@pytest.mark.long
def test_it_gives_what_one_machine_gives(home, config, tmp_path, monkeypatch):
    for name, value in home.environment().items():
        monkeypatch.setenv(name, value)
    train = ("--pipeline", "train", "--config", str(config), "--json")
    (tmp_path / "dask").mkdir()
    with dask_cluster(tmp_path / "dask", "one", "two") as cluster:
        on_dask = ("--set", "training.engine=dask", "--set")
        done = home.run(*train, *on_dask, f"training.dask={{scheduler: '{cluster.address}'}}")
        shared = json.loads(done.check().out)
    alone = json.loads(home.run(*train, "--set", "training.engine=external").check().out)
    assert "This process loads the table alone" not in Path(shared["log"]).read_text()
    for same in ("data_fingerprint", "rows", "train_rows", "holdout_rows"):
        assert shared[same] == alone[same], same
    for name, interval in alone["metrics"].items():
        estimate = shared["metrics"][name]["estimate"]
        assert estimate == pytest.approx(interval["estimate"], rel=0.01), name
    stored = (home.state / "artifacts").rglob("parts-*/*.parquet")
    assert len(list(stored)) == 2
    assert not list((home.state / "tmp").rglob("*.parquet"))
