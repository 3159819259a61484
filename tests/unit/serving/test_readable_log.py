"""The prediction log as lines that people read."""

from __future__ import annotations

import logging
import os

import pytest

from evergreen.errors import UnreachableError
from evergreen.serving.readable_log import Events, ReadableLog
from tests.support.prediction_logs import record


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
