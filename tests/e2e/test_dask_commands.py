"""Batch scoring and monitoring on Dask workers of this machine, as typed."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from evergreen.data.source_config import SklearnSource
from evergreen.data.sources import read_source

IRIS = ("--config", "configs/iris.yaml")
WORKERS = "{workers: 2, memory: 1Gi}"

pytestmark = pytest.mark.long


def test_a_table_is_scored_by_workers(home, tmp_path):
    random = np.random.default_rng(1)
    names = ("sepal_length_cm", "sepal_width_cm", "petal_length_cm", "petal_width_cm")
    frame = pd.DataFrame({name: random.integers(1, 80, 2_000) / 10 for name in names})
    frame.loc[[17, 1_999], "petal_width_cm"] = -1.0  # refused
    frame.to_parquet(tmp_path / "flowers.parquet", index=False)
    batch = ("--pipeline", "batch", *IRIS, "--source", str(tmp_path / "flowers.parquet"))
    batch += ("--set", "batch.chunk_rows=100", "--json")
    parts = ("--set", "batch.partitions=3", "--set", f"batch.dask={WORKERS}")
    whole, shared = tmp_path / "whole.parquet", tmp_path / "shared.parquet"
    home.run(*batch, "--output", str(whole)).check()
    done = home.run(*batch, *parts, "--output", str(shared)).check()
    result = done.json["result"]
    assert (result["rows"], result["rejected"], result["status"]) == (2_000, 2, "scored")
    assert shared.read_bytes() == whole.read_bytes()
    for file in (whole, shared):
        assert file.with_name(f"{file.stem}.rejected.parquet").exists()
    again = home.run(*batch, *parts, "--output", str(shared)).check().json["result"]
    assert again["status"] == "unchanged"
    home.run(*batch, "--set", f"batch.dask={WORKERS}").check(2, "say how many: partitions")


def test_a_window_is_counted_by_workers(home, tmp_path):
    table = read_source(SklearnSource(name="iris")).sample(140, random_state=6)
    table["sepal_length_cm"] += 1.5
    table.to_parquet(tmp_path / "window.parquet", index=False)
    monitor = ("--pipeline", "monitor", *IRIS, "--window", str(tmp_path / "window.parquet"))
    parts = ("--set", "monitoring.partitions=2", "--set", f"monitoring.dask={WORKERS}")
    done = home.run(*monitor, *parts, "--json").check().json
    assert (done["status"], done["window"]["rows"]) == ("watch", 140)
    assert "sepal_length_cm" in done["message"]
    drifted = [one["column"] for one in done["univariate"]["columns"] if one["drifted"]]
    assert drifted == ["sepal_length_cm"]
