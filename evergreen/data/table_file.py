"""The Parquet file of a table: its pieces are encoded while the caller makes the next one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from evergreen.data.engine import Engine
from evergreen.data.fingerprint import Fingerprint

QUICK_DICTIONARY = 65_536  # bytes; what has more distinct values is stored as it is


@dataclass
class TableFile:
    """Takes the pieces of one table; see `table_file`."""

    path: Path
    file: pq.ParquetWriter
    threads: ThreadPoolExecutor
    rows: int = 0
    fingerprint: Fingerprint = field(default_factory=Fingerprint)
    _encoded: Future[None] | None = None
    _synced: Future[None] | None = None

    def add(self, frame: pd.DataFrame, table: pa.Table, group: int) -> None:
        """Append rows, of which ``table`` is what is stored, in row groups of ``group`` rows.

        The last of them may still be under way when this returns: neither may be changed.
        """
        for start in range(0, len(frame), group):
            if self._encoded is not None:
                self._encoded.result()
                self._sync()
            part = table.slice(start, group)
            self._encoded = self.threads.submit(self.file.write_table, part, group)
            self.fingerprint.add(frame.iloc[start : start + group], part)
        self.rows += len(frame)

    def note(self, metadata: dict[bytes, bytes]) -> None:
        """Put key-value metadata into the file's footer, once all rows are there."""
        self.wait()
        self.file.add_key_value_metadata(metadata)

    def wait(self) -> None:
        """Wait until all rows are encoded; raise what went wrong."""
        for each in (self._encoded, self._synced):
            if each is not None:
                each.result()

    def _sync(self) -> None:
        """Let the disk take what is there meanwhile, so that there is little to wait for later."""
        if self._synced is None or self._synced.done():
            self.wait()
            self._synced = self.threads.submit(_sync, self.path)


def _sync(path: Path) -> None:
    with path.open("rb") as stream:
        os.fdatasync(stream.fileno())


@contextmanager
def table_file(path: Path, schema: pa.Schema, engine: Engine) -> Iterator[TableFile]:
    """Yield what takes a table's pieces into a new file, which is closed with the block."""
    with (
        pq.ParquetWriter(path, schema, **_settings(schema, engine)) as file,
        ThreadPoolExecutor(2, "table-file") as threads,
    ):
        table = TableFile(path, file, threads)
        yield table
        table.wait()


def _settings(schema: pa.Schema, engine: Engine) -> dict[str, Any]:
    """Return how values are stored.

    A table beyond this machine's memory is read from the disk again and again: it is kept small.
    One that fits, here or into the memory of Dask's workers, is read from the system's cache of
    files; there, building dictionaries of numbers, looking for their extremes and compressing
    them takes several times as long as writing the bytes, and so does undoing it.
    """
    if engine.exceeds_memory:
        return {"compression": "zstd"}
    texts = [field.name for field in schema if _varies_in_width(field.type)]
    return {
        "compression": {field.name: "zstd" if field.name in texts else "none" for field in schema},
        "use_dictionary": texts,
        "dictionary_pagesize_limit": QUICK_DICTIONARY,
        "write_statistics": False,
    }


def _varies_in_width(kind: pa.DataType) -> bool:
    try:
        return not kind.bit_width
    except ValueError:
        return True
