"""The prediction log in one process, over SQLite."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sqlite3
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from evergreen.errors import InputError, UnreachableError
from evergreen.serving.prediction_log import PredictionLog
from evergreen.serving.readable_log import Events, ReadableLog
from evergreen.serving.records import PredictionBatch, PredictionRecord
from evergreen.serving.redaction import Redaction, redaction_key


@pytest.fixture
def database(tmp_path):
    return tmp_path / "log" / "predictions.db"


@pytest.fixture
def open_log(tmp_path, database):
    logs = []

    def make(**settings):
        log = PredictionLog(f"sqlite:///{database}", "wine", spool=tmp_path / "spool", **settings)
        logs.append(log)
        return log

    yield make
    for log in logs:
        log.close(patience=0)


def record(number: int = 0, **changed) -> PredictionRecord:
    fields = {
        "request_id": f"request-{number}",
        "version": "3",
        "inputs": {"alcohol": 13.2, "region": "Douro", "year": None},
        "prediction": "class_1",
        "probabilities": [0.1, 0.9],
        "flags": ["out_of_range"],
        "latency_ms": 1.25,
    }
    return PredictionRecord(**{**fields, **changed})


def rows(database: Path, query: str = "SELECT * FROM predictions ORDER BY time") -> list[dict]:
    connection = sqlite3.connect(database)
    connection.row_factory = sqlite3.Row
    try:
        return [dict(row) for row in connection.execute(query)]
    finally:
        connection.close()


def wait_until(condition, seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.02)


def spool_files(tmp_path) -> list[Path]:
    return sorted((tmp_path / "spool").rglob("*.spool"))


def test_every_field_arrives(open_log, database):
    log = open_log()
    log.record([record(time=1_777_000_000.123456, key_id="ab12", arm="challenger")])
    log.close()
    assert rows(database) == [
        {
            "request_id": "request-0",
            "request_row": 0,
            "time": 1_777_000_000.123456,
            "model": "wine",
            "version": "3",
            "arm": "challenger",
            "key_id": "ab12",
            "inputs": '{"alcohol":13.2,"region":"Douro","year":null}',
            "prediction": '"class_1"',
            "probabilities": "[0.1,0.9]",
            "flags": '["out_of_range"]',
            "latency_ms": 1.25,
        }
    ]


def test_a_batch_becomes_one_row_per_prediction(open_log, database):
    log = open_log()
    log.record_batch(
        PredictionBatch(
            request_id="many",
            version="3",
            inputs={"alcohol": [13.0, float("nan")], "region": ["Douro", None]},
            predictions=[1.5, 2.5],
            flags={1: ["missing"]},
        )
    )
    log.close()
    first, second = rows(database, "SELECT * FROM predictions ORDER BY request_row")
    assert (first["request_row"], first["prediction"], first["flags"]) == (0, "1.5", "[]")
    assert json.loads(first["inputs"]) == {"alcohol": 13.0, "region": "Douro"}
    assert json.loads(second["inputs"]) == {"alcohol": None, "region": None}
    assert (second["probabilities"], second["flags"]) == (None, '["missing"]')


def test_an_uneven_batch_is_not_taken(open_log):
    batch = PredictionBatch(
        request_id="odd", version=None, inputs={"alcohol": [1.0]}, predictions=[1, 2]
    )
    with pytest.raises(ValueError, match="'alcohol' has 1 rows, predictions 2"):
        open_log().record_batch(batch)


@pytest.mark.parametrize(
    "value", ["nul \0 inside", "lone \ud800 surrogate", 10**40, float("inf"), np.float32(1.5)]
)
def test_odd_values_do_not_hold_up_the_others(open_log, database, value):
    log = open_log()
    log.record([record(1, inputs={"odd": value}), record(2)])
    log.close()
    assert log.counts.logged == 2
    assert [row["request_id"] for row in rows(database)] == ["request-1", "request-2"]


def test_what_cannot_be_written_down_is_counted(open_log, database, caplog):
    class Unprintable:
        def __str__(self):
            raise RuntimeError("no")

    log = open_log()
    log.record([record(1, inputs={"odd": Unprintable()}), record(2)])
    log.close()
    assert (log.counts.logged, log.counts.rejected) == (1, 1)
    assert "cannot be written down" in caplog.text


def test_the_same_key_is_kept_once(open_log, database):
    log = open_log()
    log.record([record(1, prediction="first")])
    log.record([record(1, prediction="second"), record(1, row=1)])
    log.close()
    assert [row["prediction"] for row in rows(database)] == ['"first"', '"class_1"']


def test_a_shadows_row_stands_beside_the_answer(open_log, database):
    log = open_log()
    log.record([record(1), record(1, arm="shadow", version="4"), record(1, arm="shadow")])
    log.feedback("request-1", "class_1")
    log.close()
    joined = "SELECT arm, label FROM predictions JOIN feedback USING (request_id, request_row)"
    found = rows(database, f"{joined} ORDER BY arm")
    assert [row["arm"] for row in found] == ["champion", "shadow"]


def test_a_table_from_before_there_were_arms_is_taken_over(open_log, database):
    log = open_log()
    log.record([record(1), record(2)])
    log.close()
    before = rows(database)
    with sqlite3.connect(database) as connection:
        ((made,),) = connection.execute("SELECT sql FROM sqlite_master WHERE name = 'predictions'")
        older = made.replace("(request_id, request_row, arm)", "(request_id, request_row)")
        assert older != made
        connection.execute("ALTER TABLE predictions RENAME TO later")
        connection.execute(older)
        connection.execute("INSERT INTO predictions SELECT * FROM later")
        connection.execute("DROP TABLE later")
    log = open_log()
    log.record([record(1, arm="shadow"), record(2)])
    log.close()
    found = rows(database)
    assert [row for row in found if row["arm"] == "champion"] == before
    assert len(found) == 3
    names = rows(database, "SELECT name FROM sqlite_master WHERE name NOT LIKE 'sqlite%'")
    assert {row["name"] for row in names} == {
        "predictions",
        "predictions_by_time",
        "feedback",
        "feedback_by_time",
    }


def test_rows_wait_on_disk_while_it_is_locked(open_log, database, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr("evergreen.serving.log_tables.PATIENCE", 0.2)
    log = open_log()
    log.record([record(0)])
    wait_until(lambda: log.counts.logged == 1)
    blocker = sqlite3.connect(database, isolation_level=None)
    blocker.execute("BEGIN EXCLUSIVE")
    log.record([record(number) for number in range(1, 50)])
    wait_until(lambda: log.counts.spooled == 49)
    assert log.counts.queued == 0
    wait_until(lambda: log.problem is not None)
    assert "locked" in log.problem
    blocker.execute("COMMIT")
    wait_until(lambda: log.counts.logged == 50)
    assert log.problem is None
    assert log.counts.spooled == 0
    assert "is back" in caplog.text
    log.close()
    assert len(rows(database)) == 50
    assert spool_files(tmp_path) == []


def test_what_is_left_in_the_spool_comes_in_later(open_log, database, tmp_path):
    database.parent.write_text("a file where a folder should be")
    first = open_log()
    first.record([record(number) for number in range(20)])
    first.close(patience=0)
    assert first.counts.logged == 0
    assert len(spool_files(tmp_path)) == 1
    database.parent.unlink()
    second = open_log()
    wait_until(lambda: second.counts.logged == 20)
    second.close()
    assert len(rows(database)) == 20
    assert spool_files(tmp_path) == []


def test_a_torn_spool_file_is_used_up_to_the_tear(open_log, database, tmp_path, caplog):
    database.parent.write_text("in the way")
    first = open_log()
    first.record([record(number) for number in range(20)])
    first.close(patience=0)
    (file,) = spool_files(tmp_path)
    content = file.read_bytes()
    damaged = bytearray(content[:-30])  # the last line is cut
    damaged[content.index(b"request-7")] ^= 1  # and a bit of another one has flipped
    file.write_bytes(damaged)
    database.parent.unlink()
    second = open_log()
    wait_until(lambda: second.counts.logged == 18)
    assert second.counts.rejected == 2
    assert "2 damaged line(s)" in caplog.text
    kept = {row["request_id"] for row in rows(database)}
    assert kept == {f"request-{number}" for number in range(19) if number != 7}
    assert spool_files(tmp_path) == []


def test_a_file_that_a_living_process_writes_is_left_alone(open_log, database, tmp_path):
    database.parent.write_text("in the way")
    first, second = open_log(), open_log()
    first.record([record(1)])
    wait_until(lambda: first.counts.spooled == 1)
    assert second._spool.adopt() == 0
    assert second.counts.spooled == 0


def test_a_full_queue_goes_to_the_disk_first(open_log, tmp_path, monkeypatch):
    monkeypatch.setattr("evergreen.serving.prediction_log.GATHERING", 60.0)
    log = open_log(queue_rows=10)
    for number in range(25):
        log.record([record(number)])
    assert log.counts.queued <= 10
    assert log.counts.spooled + log.counts.logged >= 15


def test_without_disk_rows_go_straight_to_the_database(open_log, database, tmp_path):
    (tmp_path / "spool").write_text("in the way")
    log = open_log()
    log.record([record(1)])
    wait_until(lambda: log.counts.logged == 1)
    assert len(rows(database)) == 1


def test_without_disk_and_database_nothing_is_taken(open_log, database, tmp_path):
    (tmp_path / "spool").write_text("in the way")
    database.parent.write_text("in the way, too")
    log = open_log()
    log.record([record(1)])
    wait_until(lambda: log.problem is not None)
    with pytest.raises(UnreachableError, match="keep rows neither in"):
        log.record([record(2)])
    assert log.counts.refused == 1
    (tmp_path / "spool").unlink()
    wait_until(lambda: log.counts.spooled == 1)
    log.record([record(3)])
    database.parent.unlink()
    wait_until(lambda: log.counts.logged == 2)
    assert {row["request_id"] for row in rows(database)} == {"request-1", "request-3"}


def test_durable_rows_are_on_disk_when_acknowledged(open_log, database, tmp_path, monkeypatch):
    database.parent.write_text("in the way")
    synchronised = []
    monkeypatch.setattr(os, "fdatasync", synchronised.append)

    async def answer(log, number):
        log.record([record(number)])
        await log.safe()
        return any(f'"request-{number}"'.encode() in f.read_bytes() for f in spool_files(tmp_path))

    async def answer_all(log):
        return await asyncio.gather(*(answer(log, number) for number in range(10)))

    assert all(asyncio.run(answer_all(open_log(durable=True))))
    assert synchronised


def test_durable_rows_that_cannot_be_kept_are_not_acknowledged(open_log, database, tmp_path):
    (tmp_path / "spool").write_text("in the way")
    database.parent.write_text("in the way, too")
    log = open_log(durable=True)

    async def answer():
        log.record([record(1)])
        await log.safe()

    with pytest.raises(UnreachableError, match="predictions are not answered"):
        asyncio.run(answer())


def test_default_rows_are_acknowledged_at_once(open_log, monkeypatch):
    monkeypatch.setattr("evergreen.serving.prediction_log.GATHERING", 60.0)
    log = open_log()

    async def answer():
        log.record([record(1)])
        await asyncio.wait_for(log.safe(), 1)

    asyncio.run(answer())
    assert log.counts.queued == 1


def test_a_closed_log_takes_nothing(open_log):
    log = open_log()
    log.close()
    log.close()
    with pytest.raises(UnreachableError, match="shutting down"):
        log.record([record(1)])


def test_feedback_may_come_before_its_prediction_and_be_corrected(open_log, database):
    log = open_log()
    log.feedback("request-1", "class_2", moment=100.0)
    log.feedback("request-1", "class_0", moment=300.0)
    log.feedback("request-1", "class_1", moment=200.0)  # late, and older than what is known
    wait_until(lambda: log.counts.logged == 3)
    log.record([record(1)])
    log.close()
    (label,) = rows(database, "SELECT * FROM feedback")
    assert (label["label"], label["time"], label["model"]) == ('"class_0"', 300.0, "wine")
    assert len(rows(database)) == 1


def test_many_threads_lose_nothing(open_log, database):
    log = open_log(queue_rows=50)

    def work(start):
        for number in range(start, start + 200):
            log.record([record(number)])

    threads = [threading.Thread(target=work, args=(1000 * n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.close()
    assert log.counts.logged == 800
    assert len(rows(database)) == 800


def test_redacted_columns_never_touch_the_disk(open_log, database, tmp_path):
    key = redaction_key(tmp_path / "keys" / "redaction.key")
    assert key == redaction_key(tmp_path / "keys" / "redaction.key")
    assert (tmp_path / "keys" / "redaction.key").stat().st_mode & 0o077 == 0
    readable = ReadableLog(tmp_path / "logs", "wine")
    log = open_log(
        redaction=Redaction({"name": "drop", "postcode": "hash"}, key), readable=readable
    )
    inputs = {"name": "Ada Lovelace", "postcode": "SW1Y 4JH", "age": 36.0}
    blank = {"name": None, "postcode": None, "age": 36.0}
    log.record([record(1, inputs=inputs), record(2, inputs=inputs), record(3, inputs=blank)])
    log.close()
    first, second, third = (json.loads(row["inputs"]) for row in rows(database))
    assert set(first) == {"postcode", "age"}
    assert first["postcode"] == second["postcode"]
    assert len(first["postcode"]["hash"]) == 32
    assert third == {"postcode": None, "age": 36.0}
    for file in tmp_path.rglob("*"):
        if file.is_file():
            assert b"Lovelace" not in file.read_bytes()
            assert b"SW1Y" not in file.read_bytes()


def test_a_damaged_redaction_key_is_named(tmp_path):
    (tmp_path / "redaction.key").write_text("short")
    with pytest.raises(UnreachableError, match=r"redaction\.key is damaged"):
        redaction_key(tmp_path / "redaction.key")


def test_old_rows_are_deleted_of_this_model_only(open_log, database, tmp_path):
    log = open_log()
    log.record([record(1, time=1000.0), record(2), record(3, time=1000.0, model="iris")])
    log.feedback("request-1", "class_1", moment=1000.0)
    log.close()
    other = open_log(retain=3600.0)
    wait_until(lambda: len(rows(database)) == 2)
    other.close()
    assert {row["request_id"] for row in rows(database)} == {"request-2", "request-3"}
    assert rows(database, "SELECT * FROM feedback") == []


def test_old_spool_files_are_deleted_with_a_word(open_log, database, tmp_path, caplog):
    database.parent.write_text("in the way")
    first = open_log()
    first.record([record(1)])
    first.close(patience=0)
    (file,) = spool_files(tmp_path)
    os.utime(file, (1000.0, 1000.0))
    second = open_log(retain=3600.0)
    wait_until(lambda: "1 row(s) that never reached the database were deleted" in caplog.text)
    assert spool_files(tmp_path) == []
    assert second.counts.spooled == 0


def test_the_readable_log_names_what_was_answered(open_log, tmp_path):
    log = open_log(readable=ReadableLog(tmp_path / "logs", "wine"))
    log.record([record(1, time=1_777_593_600.5), record(2, prediction=2.5, probabilities=None)])
    log.close()
    first, second = (tmp_path / "logs" / "wine-1.log").read_text().splitlines()
    assert first == (
        "2026-05-01 00:00:00.500  wine 3 champion  class_1 (0.900)  1.2 ms  request request-1  "
        "out_of_range"
    )
    assert "  2.5  " in second


def test_the_readable_log_rotates_and_forgets(tmp_path):
    log = ReadableLog(tmp_path, "wine", file_bytes=2000, files=2, retain=3600.0)
    for number in range(100):
        log.add(record(number, model="wine"))
        log.flush()
    rotated = sorted(file.name for file in tmp_path.glob("*.log*"))
    assert rotated == ["wine-1.log", "wine-1.log.1", "wine-1.log.2"]
    os.utime(tmp_path / "wine-1.log.2", (1000.0, 1000.0))
    log.close()
    assert (tmp_path / "wine-1.log.2").exists()  # it was looked at a moment ago
    ReadableLog(tmp_path, "wine", retain=3600.0).close()
    assert not (tmp_path / "wine-1.log.2").exists()


def test_two_processes_do_not_share_a_readable_log(tmp_path):
    first, second = ReadableLog(tmp_path, "wine"), ReadableLog(tmp_path, "wine")
    assert (first.path.name, second.path.name) == ("wine-1.log", "wine-2.log")
    first.close()
    third = ReadableLog(tmp_path, "wine")
    assert third.path.name == "wine-1.log"
    second.close()
    third.close()


def test_what_the_server_says_is_in_the_readable_log(tmp_path):
    log = ReadableLog(tmp_path, "wine")
    logger = logging.Logger("apart")
    logger.addHandler(Events(log))
    logger.warning("Version %s serves now", 4)
    log.close()
    assert log.path.read_text().endswith("  WARNING  Version 4 serves now\n")


def test_a_readable_log_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "logs").write_text("in the way")
    with pytest.raises(UnreachableError, match="logs cannot be written"):
        ReadableLog(tmp_path / "logs", "wine")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("nonsense", "no SQLAlchemy URL"),
        ("mysql://host/name", "cannot be kept in mysql"),
        ("sqlite://", "needs a file"),
        ("postgresql+pg8000://host/name", "no driver installed"),
    ],
)
def test_unusable_addresses_are_refused(tmp_path, url, message):
    with pytest.raises(InputError, match=message):
        PredictionLog(url, "wine", spool=tmp_path)
