"""The log file for people: one line per prediction, beside what the server has to say.

::

    2026-05-01 12:00:00.123  wine 3 champion  class_1 (0.98)  1.2 ms  request 01J8…  out_of_range
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Final

from evergreen.errors import UnreachableError
from evergreen.serving.records import PredictionRecord

FILE_BYTES: Final = 10 * 2**20
FILES: Final = 5


class ReadableLog:
    """A rotating file, of one process. Inputs are not in it; the prediction log has them.

    Raises
    ------
    UnreachableError
        If the file cannot be written.
    """

    def __init__(self, path: Path, *, file_bytes: int = FILE_BYTES, files: int = FILES) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self.handler = RotatingFileHandler(
                path, maxBytes=file_bytes, backupCount=files, encoding="utf-8"
            )
        except OSError as error:
            raise UnreachableError(
                f"The log file {path} cannot be written: {error.strerror}"
            ) from error
        self.path = path
        self._lines: list[str] = []

    def add(self, record: PredictionRecord) -> None:
        """Take a line; `flush` writes it."""
        self._lines.append(_line(record))

    def flush(self) -> None:
        """Write the lines that were taken since the last time."""
        if not self._lines:
            return
        text, self._lines = "\n".join(self._lines), []
        self.handler.handle(logging.LogRecord("predictions", logging.INFO, "", 0, text, None, None))

    def close(self) -> None:
        """Write what is left, and close the file."""
        self.flush()
        self.handler.close()


def _line(record: PredictionRecord) -> str:
    moment = datetime.fromtimestamp(record.time, UTC).isoformat(" ", "milliseconds")[:23]
    parts = [moment, f"{record.model} {record.version or '-'} {record.arm}", _answer(record)]
    if record.latency_ms is not None:
        parts.append(f"{record.latency_ms:.1f} ms")
    row = f" row {record.row}" if record.row else ""
    parts.append(f"request {record.request_id}{row}")
    if record.flags:
        parts.append(", ".join(record.flags))
    return "  ".join(parts).replace("\n", " ").replace("\r", " ")


def _answer(record: PredictionRecord) -> str:
    if isinstance(record.prediction, float):
        return f"{record.prediction:.6g}"
    if not record.probabilities:
        return str(record.prediction)
    return f"{record.prediction} ({max(record.probabilities):.3f})"
