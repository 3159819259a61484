"""The log file for people: one line per prediction, among what the server has to say.

::

    2026-05-01 12:00:00.123  wine 3 champion  class_1 (0.980)  1.2 ms  request 01f8…  out_of_range
    2026-05-01 12:00:03.000  WARNING  Version 4 of 'wine' serves now, after version 3

Inputs are not in it; the prediction log has them. Each process writes a file of its own.
"""

from __future__ import annotations

import fcntl
import functools
import itertools
import logging
import time
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import IO, Final

from evergreen.errors import UnreachableError
from evergreen.serving.records import PredictionRecord
from evergreen.serving.retention import delete_old_files

FILE_BYTES: Final = 10 * 2**20
FILES: Final = 5
TIDYING: Final = 3600.0  # seconds between looks for old files


class ReadableLog:
    """The first file ``FOLDER/NAME-1.log``, ``NAME-2.log``, … that no other process writes.

    It rotates by size; rotated files go after ``retain`` seconds, too.

    Raises
    ------
    UnreachableError
        If the file cannot be written.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        *,
        retain: float | None = None,
        file_bytes: int = FILE_BYTES,
        files: int = FILES,
    ) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self.path, self._lock = _own_file(folder, name)
            self._handler = RotatingFileHandler(
                self.path, maxBytes=file_bytes, backupCount=files, encoding="utf-8"
            )
        except OSError as error:
            raise UnreachableError(
                f"The log files in {folder} cannot be written: {error.strerror or error}"
            ) from error
        self._retain = retain
        self._tidied = 0.0
        self._lines: list[str] = []

    def add(self, record: PredictionRecord) -> None:
        """Take a line; `flush` writes it."""
        self._lines.append(_line(record))

    def flush(self) -> None:
        """Write the lines that were taken since the last time."""
        if self._lines:
            lines, self._lines = self._lines, []
            self.write("\n".join(lines))
        now = time.time()
        if self._retain is not None and now > self._tidied + TIDYING:
            self._tidied = now
            old = self.path.parent.glob(f"{self.path.name}.*")
            delete_old_files(old, now - self._retain)

    def write(self, text: str) -> None:
        """Write a text as it is."""
        self._handler.handle(logging.LogRecord("text", logging.INFO, "", 0, text, None, None))

    def close(self) -> None:
        """Write what is left, and let go of the file."""
        self.flush()
        self._handler.close()
        self._lock.close()


class Events(logging.Handler):
    """Writes what the server has to say into the readable log."""

    def __init__(self, log: ReadableLog) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        """Write one message, with its trace if there is one."""
        self._log.write(f"{_moment(record.created)}  {record.levelname}  {self.format(record)}")


def _own_file(folder: Path, name: str) -> tuple[Path, IO[str]]:
    """Return the path of the first log that nobody writes, and the lock that keeps it ours."""
    for number in itertools.count(1):
        path = folder / f"{name}-{number}.log"
        lock = path.with_suffix(".lock").open("w", encoding="ascii")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            continue
        return path, lock
    raise AssertionError("itertools.count ends never")


def _line(record: PredictionRecord) -> str:
    latency = "" if record.latency_ms is None else f"{record.latency_ms:.1f} ms  "
    line = (
        f"{_moment(record.time)}  {record.model} {record.version or '-'} {record.arm}  "
        f"{_answer(record)}  {latency}request {record.request_id}"
    )
    if record.row:
        line += f" row {record.row}"
    if record.flags:
        line += "  " + ", ".join(record.flags)
    return line if line.isprintable() else line.replace("\n", " ").replace("\r", " ")


def _moment(seconds: float) -> str:
    whole = int(seconds)
    return f"{_second(whole)}.{int((seconds - whole) * 1000):03d}"


@functools.lru_cache(maxsize=8)  # thousands of lines share a second
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(" ")[:19]


def _answer(record: PredictionRecord) -> str:
    if isinstance(record.prediction, float):
        return f"{record.prediction:.6g}"
    if not record.probabilities:
        return str(record.prediction)
    return f"{record.prediction} ({max(record.probabilities):.3f})"
