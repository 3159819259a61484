"""The prediction log in PostgreSQL: what differs from SQLite."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
import sqlalchemy as sa

from evergreen.serving import log_tables
from evergreen.serving.prediction_history import PredictionHistory
from evergreen.serving.prediction_log import PredictionLog
from evergreen.serving.records import PredictionRecord
from evergreen.serving.retention import delete_older
from tests.support.models import small_contract

START = 1_777_593_600.0  # 2026-05-01 00:00 UTC


@pytest.fixture
def url(postgres):
    """A database of this test's own."""
    name = f"log_{time.time_ns()}"
    engine = sa.create_engine(postgres.url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    engine.dispose()
    return replace(postgres, database=name).url


@pytest.fixture
def open_log(url, tmp_path):
    def make(**settings):
        return PredictionLog(url, "boats", spool=tmp_path / "spool", **settings)

    return make


def query(url, text):
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        found = connection.execute(sa.text(text)).all()
    engine.dispose()
    return [tuple(row) for row in found]


def record(number, **changed):
    fields = {
        "request_id": f"r{number:04}",
        "version": "1",
        "inputs": {
            "mast / height": 0.1,
            "crew": 5e-324,
            "licensed": None,
            "harbour": 'quo"te',
            "built": np.datetime64("1999-03-01T12:30:00"),
        },
        "prediction": "calm",
        "probabilities": [0.5, 0.25, 0.25],
        "time": START + number,
        "flags": ["out_of_range"],
    }
    return PredictionRecord(**{**fields, **changed})


def test_every_field_arrives_in_types_that_sql_can_use(open_log, url):
    log = open_log()
    log.record([record(0, latency_ms=1.5, key_id="ab12")])
    log.close()
    ((*found, moment),) = query(
        url,
        "SELECT request_id, request_row, model, version, arm, key_id, inputs ->> 'harbour', "
        "prediction #>> '{}', probabilities ->> 0, flags ->> 0, latency_ms, time FROM predictions",
    )
    assert found == [
        *("r0000", 0, "boats", "1", "champion", "ab12", 'quo"te', "calm", "0.5"),
        *("out_of_range", 1.5),
    ]
    assert moment == datetime.fromtimestamp(START, UTC)


@pytest.mark.parametrize("value", ["nul \0 inside", "lone \ud800 surrogate", 10**400, "\\u0000"])
def test_odd_values_do_not_hold_up_the_others(open_log, url, value):
    log = open_log()
    log.record([record(1, inputs={"odd": value}), record(2)])
    log.close()
    assert log.counts.logged == 2
    assert len(query(url, "SELECT 1 FROM predictions")) == 2


def test_a_row_that_the_database_refuses_is_put_aside(open_log, url, tmp_path, caplog):
    log = open_log()
    log.record([record(number, row=10**12 if number == 3 else 0) for number in range(7)])
    log.close()
    assert (log.counts.logged, log.counts.rejected) == (6, 1)
    (aside,) = tmp_path.rglob("rejected.jsonl")
    assert b'"r0003"' in aside.read_bytes()
    assert "does not take" in caplog.text


def test_many_feedbacks_in_one_batch(open_log, url):
    log = open_log()
    for number, label in enumerate(("calm", "gale", "storm")):
        log.feedback("r0001", label, moment=START + number)
    log.feedback("r0001", "calm", moment=START - 1)
    log.close()
    assert query(url, "SELECT request_id, label #>> '{}' FROM feedback") == [("r0001", "storm")]


def test_windows_are_the_same_as_from_sqlite(open_log, url):
    log = open_log()
    log.record([record(number) for number in range(10)])
    log.feedback("r0008", "gale")
    log.close()
    history = PredictionHistory(url, small_contract())
    since = datetime.fromtimestamp(START + 5, UTC)
    window = history.window(since=since, last=3)
    assert window.request_ids.tolist() == ["r0007", "r0008", "r0009"]
    assert window.times[0] == np.datetime64("2026-05-01T00:00:07")
    assert window.inputs["crew"].tolist() == [5e-324] * 3
    assert window.inputs["mast / height"].tolist() == [0.1] * 3
    assert window.inputs["built"][0] == np.datetime64("1999-03-01T12:30:00")
    assert window.actual.tolist() == [None, "gale", None]
    assert history.count(until=since) == 5
    history.close()


def test_a_table_from_before_there_were_arms_is_taken_over(open_log, url):
    log = open_log()
    log.record([record(1), record(2)])
    log.close()
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "ALTER TABLE predictions DROP CONSTRAINT predictions_pkey, "
            "ADD PRIMARY KEY (request_id, request_row)"
        )
    engine.dispose()
    log = open_log()
    log.record([record(1, arm="shadow"), record(2)])
    log.close()
    found = query(url, "SELECT request_id, arm FROM predictions ORDER BY 1, 2")
    assert found == [("r0001", "champion"), ("r0001", "shadow"), ("r0002", "champion")]


def test_several_logs_make_the_tables_and_share_them(open_log, url):
    logs = [open_log() for _ in range(4)]

    def work(number):
        for row in range(50):
            logs[number].record([record(row), record(1000 + 100 * number + row)])
        logs[number].close()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert query(url, "SELECT count(*) FROM predictions") == [(250,)]


def test_old_rows_are_deleted_in_parts(open_log, url, monkeypatch):
    monkeypatch.setattr("evergreen.serving.retention.BATCH", 10)
    log = open_log()
    log.record([record(number) for number in range(35)])
    log.feedback("r0001", "calm", moment=START)
    log.close()
    engine = log_tables.connect(url)
    assert delete_older(engine, "boats", START + 25) == 26
    assert delete_older(engine, "boats", START + 25) == 0
    engine.dispose()
    assert query(url, "SELECT count(*) FROM predictions") == [(10,)]


def test_tables_that_were_dropped_are_made_again(open_log, url, monkeypatch):
    monkeypatch.setattr("evergreen.serving.log_loader.FIRST_PAUSE", 0.05)
    log = open_log()
    log.record([record(0)])
    while log.counts.logged < 1:
        time.sleep(0.02)
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE predictions, feedback")
    engine.dispose()
    log.record([record(1)])
    log.close()
    assert query(url, "SELECT request_id FROM predictions") == [("r0001",)]
