"""Batch scoring of a stream that grows meanwhile."""

from __future__ import annotations

import json

import pytest

from evergreen.batch import run as batch_run
from evergreen.batch.run import run_batch
from evergreen.serving.runtime import load_runtime
from tests.support.batch import boat_table, expected, job, read
from tests.support.models import write_small_bundle
from tests.support.nats_server import VARIABLES, running_nats


@pytest.fixture(scope="module")
def runtime(tmp_path_factory):
    return load_runtime(write_small_bundle(tmp_path_factory.mktemp("boats") / "b").folder, "3")


def test_what_was_there_at_the_start_is_scored(runtime, tmp_path, monkeypatch):
    frame = boat_table(250)
    records = json.loads(frame.to_json(orient="records", date_format="iso"))
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)
    with running_nats(tmp_path) as server:
        server.make("BOATS")
        server.publish("BOATS", records[:200])
        source = {"type": "nats", "url": server.url("BOATS"), "batch_rows": 70}
        output = tmp_path / "scored.parquet"

        def score(**batch):
            settings = {"chunk_rows": 60, **batch}
            return run_batch(job(runtime, source, str(output), tmp_path, **settings))

        score_all = batch_run.score_all

        def growing(*arguments, **options):
            server.publish("BOATS", records[200:])
            score_all(*arguments, **options)

        with monkeypatch.context() as patched:
            patched.setattr(batch_run, "score_all", growing)
            assert (score().rows, len(read(output))) == (200, 200)
        grown = score(overwrite=True)
        assert (grown.rows, grown.rejected, grown.status) == (250, 0, "scored")
        assert score(overwrite=True).status == "unchanged"
        found = read(output)["prediction"].to_numpy()
        assert found.tolist() == expected(runtime, frame).tolist()
