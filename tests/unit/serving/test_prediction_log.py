"""The prediction log in one process, over SQLite."""

from __future__ import annotations

import json
import sqlite3
import threading

import numpy as np
import pytest

from evergreen.errors import InputError, UnreachableError
from evergreen.serving.prediction_log import PredictionLog
from evergreen.serving.readable_log import ReadableLog
from evergreen.serving.records import PredictionBatch
from evergreen.serving.redaction import Redaction, redaction_key
from tests.support.prediction_logs import record, rows
from tests.support.waiting import wait_until


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
