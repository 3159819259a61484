"""Rows of the prediction log while the database or the disk is away."""

from __future__ import annotations

import asyncio
import os
import sqlite3

import pytest

from evergreen.errors import UnreachableError
from tests.support.prediction_logs import record, rows, spool_files
from tests.support.waiting import wait_until


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
