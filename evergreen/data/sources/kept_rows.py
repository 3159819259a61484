"""Rows of a stream of messages, kept on disk: of each message exactly once.

A folder holds Parquet files (parts), and a manifest that names those that count and the last
message that was read. A part is on disk before the manifest that names it takes the place of the
one before by renaming. So rows and place agree at every moment: what a killed process left
half-done has no name in the manifest, and its messages are read again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from evergreen.data.dataset import appearing_whole, keeping
from evergreen.data.sources.streams import as_table, together_as_one
from evergreen.data.sources.tidy import column_names
from evergreen.errors import EvergreenError, InputError, UnreachableError
from evergreen.file_lock import sole_process
from evergreen.values import Value

MANIFEST: Final = "manifest.json"
PART_BYTES: Final = 64_000_000  # in memory
PATIENCE: Final = 600.0  # seconds that another reader may take


class Part(Value):
    """A Parquet file, and the messages whose rows it holds."""

    file: str
    first: int
    last: int
    rows: int
    size: int  # bytes in memory


class Manifest(Value):
    """Which stream was read, how far, and what is kept of it."""

    stream: str
    subject: str | None
    created: str
    last: int  # message that was read
    end: int  # last message of the stream when it was looked at; others may have other subjects
    columns: tuple[str, ...] = ()
    parts: tuple[Part, ...] = ()

    @property
    def rows(self) -> int:
        """How many rows are kept."""
        return sum(part.rows for part in self.parts)


@dataclass(frozen=True)
class Snapshot:
    """The rows kept at a moment, to be read as often as one likes.

    The last part is in memory: it is the only one that later readers replace.
    """

    folder: Path
    manifest: Manifest
    tail: pa.Table | None

    def read(self, columns: Sequence[str], start: int, piece_rows: int) -> Iterator[pa.Table]:
        """Yield the named columns from a row on; what a message lacked is missing."""
        for part in self.manifest.parts[:-1]:
            if start < part.rows:
                for piece in _pieces(self.folder / part.file, columns, start, piece_rows):
                    yield _completed(piece, columns)
            start = max(0, start - part.rows)
        if self.tail is not None:
            for at in range(start, self.tail.num_rows, piece_rows):
                yield _completed(self.tail.slice(at, piece_rows), columns)


class KeptRows:
    """The folder, of which this process is the only writer; see `sole_writer`."""

    def __init__(self, folder: Path, where: str, new: Manifest) -> None:
        self.folder, self._where = folder, where
        self.manifest = read_manifest(folder) or new
        if folder.is_dir():
            named = {MANIFEST, *(part.file for part in self.manifest.parts)}
            with keeping(folder):
                for path in folder.iterdir():
                    if path.name not in named:
                        path.unlink()

    def append(self, records: Sequence[Any], first: int, last: int, most: int) -> None:
        """Keep the rows of messages up to ``last``; parts have at most so many rows.

        Raises
        ------
        InputError
            Two names of a record are the same but for blanks, or no record has a value.
        UnreachableError
            They cannot be written. What was kept before stays.
        """
        manifest = self.manifest
        if not records:
            return
        where = f"{self._where}, messages {first} to {last}"
        frame = pd.json_normalize(list(records))
        names = column_names(list(frame.columns), where)
        if not names:
            raise InputError(f"{where}: no message has a value")
        table, kept, replaced = as_table(frame, names), manifest.parts, None
        if kept and kept[-1].rows + len(frame) <= most and kept[-1].size < PART_BYTES:
            *_, replaced = kept
            first, kept = replaced.first, kept[:-1]
            table = together_as_one([read_part(self.folder / replaced.file), table])
        part = Part(
            file=f"{last:020d}.parquet",
            first=first,
            last=last,
            rows=table.num_rows,
            size=table.nbytes,
        )
        with appearing_whole(self.folder / part.file) as temporary:
            pq.write_table(table, temporary, compression="zstd")
        columns = tuple(dict.fromkeys((*manifest.columns, *names)))
        end = max(last, manifest.end)
        update = {"last": last, "end": end, "columns": columns, "parts": (*kept, part)}
        self._name(manifest.model_copy(update=update))
        if replaced is not None:
            (self.folder / replaced.file).unlink()

    def note_end(self, end: int) -> None:
        """Remember up to where the stream was looked at."""
        if end > self.manifest.end:
            self._name(self.manifest.model_copy(update={"end": end}))

    def snapshot(self) -> Snapshot:
        """Return what is kept."""
        parts = self.manifest.parts
        tail = read_part(self.folder / parts[-1].file) if parts else None
        return Snapshot(self.folder, self.manifest, tail)

    def _name(self, manifest: Manifest) -> None:
        with appearing_whole(self.folder / MANIFEST) as temporary:
            temporary.write_text(manifest.model_dump_json(), encoding="utf-8")
        self.manifest = manifest


@contextmanager
def sole_writer(locks: Path, name: str) -> Iterator[None]:
    """Keep other readers of a stream away; the system frees the lock of a dead process.

    Raises
    ------
    UnreachableError
        If another one holds it for too long.
    """
    path = locks / f"stream-{name}.lock"
    with keeping(path):
        locks.mkdir(parents=True, exist_ok=True)
    with sole_process(path, f"reading the stream of {name!r}", PATIENCE):
        yield


def read_manifest(folder: Path) -> Manifest | None:
    """Return what a folder says that it holds; None where nothing was read yet.

    Raises
    ------
    InputError
        It is damaged.
    UnreachableError
        It cannot be read.
    """
    try:
        return Manifest.model_validate_json((folder / MANIFEST).read_bytes())
    except FileNotFoundError:
        return None
    except (ValueError, OSError) as error:
        raise _unusable(folder / MANIFEST, error) from error


def read_part(path: Path) -> pa.Table:
    """Return a part.

    Raises
    ------
    InputError
        It is gone or damaged.
    UnreachableError
        It cannot be read.
    """
    try:
        return pq.read_table(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise _unusable(path, error) from error


def _pieces(path: Path, columns: Sequence[str], start: int, rows: int) -> Iterator[pa.Table]:
    try:
        with pq.ParquetFile(path, pre_buffer=False) as file:
            names = [name for name in columns if name in file.schema_arrow.names]
            for batch in file.iter_batches(rows, columns=names, use_threads=False):
                if start < batch.num_rows:
                    yield pa.Table.from_batches([batch]).slice(start)
                start = max(0, start - batch.num_rows)
    except (pa.ArrowInvalid, OSError) as error:
        raise _unusable(path, error) from error


def _completed(piece: pa.Table, columns: Sequence[str]) -> pa.Table:
    rows = piece.num_rows
    found = piece.column_names
    return pa.table({name: piece[name] if name in found else pa.nulls(rows) for name in columns})


def _unusable(path: Path, error: Exception) -> EvergreenError:
    """Say that a file cannot be read, or, where the file system gives no reason, is damaged."""
    if isinstance(error, OSError) and error.errno and not isinstance(error, FileNotFoundError):
        return UnreachableError(f"Cannot read {path}: {error.strerror}")
    return InputError(
        f"{path} is damaged ({error}). Delete the folder {path.parent}: the stream is then read "
        "anew, as far back as it still goes."
    )
