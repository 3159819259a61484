"""Batch scoring from a PostgreSQL table into another one."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa

from evergreen.batch.database import DatabaseSink
from evergreen.batch.run import run_batch
from evergreen.errors import InputError
from evergreen.serving.runtime import load_runtime
from tests.support.batch import boat_table, expected, job
from tests.support.models import write_small_bundle

ROWS, CHUNK = 500, 60


class Stopped(BaseException):
    """The process ends here, without a word."""


@pytest.fixture(scope="module")
def runtime(tmp_path_factory):
    return load_runtime(write_small_bundle(tmp_path_factory.mktemp("boats") / "b").folder, "3")


def test_in_and_out_broken_off_and_resumed(postgres, runtime, tmp_path, monkeypatch):
    engine = sa.create_engine(postgres.url)
    frame = boat_table(ROWS).astype({"crew": object})
    frame["crew"] = frame["crew"].astype(int).astype(str)
    frame.loc[70, "crew"], frame.loc[71, "harbour"] = "many", 'A "quoted", odd\nname'
    frame.insert(0, "id", np.arange(ROWS))
    frame.to_sql("boats", engine, index=False)
    monkeypatch.setenv("BATCH_PASSWORD", postgres.password)
    url = postgres.url.replace(postgres.password, "${BATCH_PASSWORD}")
    source = {"type": "sql", "url": url, "query": "SELECT * FROM boats ORDER BY id"}

    def score(**batch):
        settings = {"chunk_rows": CHUNK, "keep": ["id", "harbour"], **batch}
        return run_batch(job(runtime, source, f"{url}#scored", tmp_path, **settings))

    with monkeypatch.context() as patch:
        insert, inserted = DatabaseSink._insert, []

        def stop(self, connection, table, rows):
            insert(self, connection, table, rows)
            inserted.append(table.name)
            if len(inserted) == 4:  # inside a transaction, after its rows went in
                raise Stopped

        patch.setattr(DatabaseSink, "_insert", stop)
        with pytest.raises(Stopped):
            score()
    assert not sa.inspect(engine).has_table("scored")

    result = score()
    assert 0 < result.resumed_rows < ROWS
    assert (result.rows, result.rejected) == (ROWS, 1)
    assert postgres.password not in result.model_dump_json()
    found = pd.read_sql("SELECT * FROM scored ORDER BY row", engine)
    good = frame.drop(index=70).astype({"crew": float})
    assert found["id"].tolist() == good["id"].tolist()
    assert found["prediction"].tolist() == expected(runtime, good).tolist()
    kept = found["harbour"].astype(object).where(found["harbour"].notna(), None)
    given = good["harbour"].astype(object).where(good["harbour"].notna(), None)
    assert kept.tolist() == given.tolist()
    refused = pd.read_sql("SELECT * FROM scored_rejected", engine)
    assert refused["row"].tolist() == [70]
    assert refused["reasons"][0] == "crew: must be a whole number, but is 'many'"

    with pytest.raises(InputError, match=r"is in sql .* already"):
        score()
    assert score(overwrite=True).rows == ROWS
    engine.dispose()
