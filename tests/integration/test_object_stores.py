"""Tables in an S3 server are read as files of this machine are."""

from __future__ import annotations

import gzip
import io

import pandas as pd
import pytest

from evergreen.batch.run import run_batch
from evergreen.data.source_config import CsvSource, ParquetSource
from evergreen.data.sources import read_source
from evergreen.data.sources.streams import open_stream
from evergreen.errors import InputError, UnreachableError
from evergreen.paths import Home
from evergreen.serving.runtime import load_runtime
from tests.support.batch import boat_table, job
from tests.support.contract_api import PROMISES, promised
from tests.support.models import write_small_bundle
from tests.support.postgres import free_port
from tests.support.s3 import running_s3

BOATS = pd.DataFrame({"length": [4.5, 12.0, 7.2], "kind": ["dinghy", "ketch", "sloop"]})


@pytest.fixture(scope="module")
def s3(tmp_path_factory):
    with running_s3(tmp_path_factory.mktemp("s3")) as server:
        server.make_bucket("harbour")
        yield server


@pytest.fixture(autouse=True)
def home(s3, tmp_path, monkeypatch):
    for name, value in s3.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("EVERGREEN_HOME", str(tmp_path))
    return Home(tmp_path)


@pytest.fixture(scope="module")
def runtime(tmp_path_factory):
    bundle = write_small_bundle(tmp_path_factory.mktemp("boats") / "bundle")
    loaded = load_runtime(bundle.folder, "3")
    loaded.contract = promised(loaded.contract, PROMISES)
    return loaded


def put(s3, key, frame):
    body = io.BytesIO()
    frame.to_parquet(body, index=False)
    s3.client().put_object(Bucket="harbour", Key=key, Body=body.getvalue())


def fetched(home):
    return {file: file.stat().st_ino for file in home.tables.rglob("*.parquet")}


def test_a_file_is_fetched_once_and_again_when_it_changed(s3, home):
    source = ParquetSource(path="s3://harbour/one/boats.parquet")
    put(s3, "one/boats.parquet", BOATS)
    assert read_source(source).equals(BOATS)
    first = fetched(home)
    with_stream = open_stream(source, piece_rows=2)
    rows = [row for piece in with_stream.read(["kind"], 0) for row in piece["kind"].to_pylist()]
    assert rows == list(BOATS["kind"])
    assert fetched(home) == first

    put(s3, "one/boats.parquet", BOATS.head(1))
    assert len(read_source(source)) == 1
    assert len(fetched(home)) == 1 and fetched(home).keys() != first.keys()


def test_folders_globs_and_text(s3):
    put(s3, "many/month=1/a.parquet", BOATS.head(2))
    put(s3, "many/month=2/b.parquet", BOATS.tail(1))
    put(s3, "many/month=2/_SUCCESS.parquet", BOATS)
    s3.client().put_object(
        Bucket="harbour", Key="text.csv.gz", Body=gzip.compress(BOATS.to_csv(index=False).encode())
    )
    whole = read_source(ParquetSource(path="s3://harbour/many/"))
    assert (len(whole), list(whole["month"])) == (3, [1, 1, 2])
    part = read_source(ParquetSource(path="s3://harbour/many/*/a.parquet"))
    assert list(part["kind"]) == ["dinghy", "ketch"]
    assert list(read_source(CsvSource(path="s3://harbour/text.csv.gz"))["kind"]) == list(
        BOATS["kind"]
    )


@pytest.mark.parametrize("path", ["none.parquet", "none/", "none*.parquet"])
def test_what_is_not_there_is_named(path):
    with pytest.raises(InputError, match="nothing at s3://harbour/none"):
        read_source(ParquetSource(path=f"s3://harbour/{path}"))


def test_a_store_that_does_not_answer(monkeypatch, home):
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(UnreachableError, match=r"s3://harbour/boats\.parquet cannot be fetched"):
        read_source(ParquetSource(path="s3://harbour/boats.parquet"))
    assert not fetched(home)


def test_an_output_appears_whole_beside_its_refused_rows(s3, runtime, home, tmp_path):
    frame = boat_table()
    frame.loc[3, "crew"] = 99
    put(s3, "in/boats.parquet", frame)
    output = "s3://harbour/out/scored.parquet"

    def score(**batch):
        asked = job(runtime, "s3://harbour/in/boats.parquet", output, tmp_path / "records", **batch)
        return run_batch(asked)

    def rows(key):
        body = s3.client().get_object(Bucket="harbour", Key=f"out/{key}.parquet")["Body"].read()
        return len(pd.read_parquet(io.BytesIO(body)))

    result = score()
    assert (result.output, result.rejected_output) == (output, output[:-8] + ".rejected.parquet")
    assert (rows("scored"), rows("scored.rejected")) == (99, 1)
    assert score().status == "unchanged"

    put(s3, "in/boats.parquet", boat_table(50))
    with pytest.raises(InputError, match="is there already"):
        score()
    assert rows("scored") == 99
    assert score(overwrite=True).rows == 50
    assert rows("scored") == 50
    # Arrow leaves a mark where a folder would be empty.
    left = [key for key in s3.keys("harbour", "out/") if not key.endswith("/")]
    assert left == ["out/scored.parquet"]
