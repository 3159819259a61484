"""Batch scoring by the command line, killed in the middle: no row is there twice or missing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from evergreen.promotion.promotion_log import PromotionLog
from evergreen.promotion.registry import Registry
from evergreen.serving.runtime import load_runtime
from tests.support.batch import expected, read
from tests.support.web_server import Reply, Request, serving

ROWS, CHUNK = 30_000, 40
FIRST = 25  # chunks that are kept before the kill
IRIS = ("--pipeline", "batch", "--config", "configs/iris.yaml")
LENGTHS = ("sepal_length_cm", "sepal_width_cm", "petal_length_cm", "petal_width_cm")
REFUSED = {17: "petal_width_cm: is -1, below 0", ROWS - 3: "petal_width_cm: is -1, below 0"}


@pytest.fixture(scope="module")
def flowers() -> pd.DataFrame:
    """Lengths in tenths of a centimetre, and two rows that break the contract."""
    random = np.random.default_rng(1)
    tenths = {name: random.integers(1, 80, ROWS) for name in LENGTHS}
    frame = pd.DataFrame({name: values / 10 for name, values in tenths.items()})
    frame.loc[list(REFUSED), "petal_width_cm"] = -1.0
    return frame


@pytest.fixture(scope="module")
def predictions(shared_home, flowers, tmp_path_factory) -> list:
    """What the champion says of the rows that keep the contract."""
    log = PromotionLog(f"sqlite:///{shared_home.state / 'evergreen.db'}")
    folder = tmp_path_factory.mktemp("champion")
    registry = Registry(f"sqlite:///{shared_home.state}/mlflow/mlflow.db", log, folder / "locks")
    bundle = registry.fetch_bundle("iris", "champion", folder / "bundle")
    log.close()
    found = expected(load_runtime(bundle.folder, "1"), flowers.drop(index=list(REFUSED)))
    assert len(set(found)) == 3
    return found.tolist()


def kill_and_resume(home, output: Path, *source: str) -> None:
    """Score, kill, and score again."""
    words = (*IRIS, *source, "--output", str(output), "--set", f"batch.chunk_rows={CHUNK}")
    journal = output.with_name(f".{output.name}.batch") / "journal.jsonl"
    with home.running(*words) as run:
        run.wait_until(lambda: journal.exists() and journal.read_bytes().count(b"\n") >= FIRST)
    assert not output.exists()
    done = home.run(*words, "--json").check().json["result"]
    assert FIRST * CHUNK <= done["resumed_rows"] < ROWS
    assert (done["rows"], done["rejected"], done["note"]) == (ROWS, len(REFUSED), None)
    assert not journal.parent.exists()


def assert_whole(found: pd.DataFrame, refused: pd.DataFrame, predictions: list) -> None:
    assert found["row"].tolist() == [row for row in range(ROWS) if row not in REFUSED]
    assert found["prediction"].tolist() == predictions
    assert set(found["model_version"].astype(str)) == {"1"}
    assert refused["row"].tolist() == list(REFUSED)
    for row, said in zip(REFUSED, refused["reasons"], strict=True):
        assert REFUSED[row] in str(said)


@pytest.mark.long
def test_compressed_csv_with_decimal_commas(shared_home, flowers, predictions, tmp_path):
    source, output = tmp_path / "flowers.csv.gz", tmp_path / "scored.parquet"
    flowers.to_csv(source, sep=";", decimal=",", index=False)
    kill_and_resume(shared_home, output, "--source", str(source))
    assert_whole(read(output), read(tmp_path / "scored.rejected.parquet"), predictions)


@pytest.mark.long
def test_the_web_page_by_page(shared_home, flowers, predictions, tmp_path):
    records = flowers.to_dict("records")

    def page(request: Request) -> Reply:
        start, size = (int(request.query[name]) for name in ("offset", "limit"))
        return Reply(json.dumps(records[start : start + size]))

    output = tmp_path / "scored.csv"
    with serving(page) as server:
        source = f"{{type: http, url: {server.url}/flowers, pagination: {{style: offset}}}}"
        kill_and_resume(shared_home, output, "--set", f"batch.source={source}")
    refused = pd.read_csv(tmp_path / "scored.rejected.csv")
    assert_whole(pd.read_csv(output), refused, predictions)
