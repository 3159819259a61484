"""The footers of a stored table's Parquet files: one that says what it is, and maybe its parts.

A table that several processes wrote at once has its rows in parts; the file that the table is
known by has no rows of its own then, and names them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from evergreen.errors import InputError, UnreachableError

METADATA_KEY: Final = b"evergreen"


class StoredFile(NamedTuple):
    """A Parquet file that holds rows of a table."""

    path: Path
    footer: pq.FileMetaData


def read_metadata(path: Path) -> dict[str, Any]:
    """Return our part of the key-value metadata of a table's file.

    Raises
    ------
    UnreachableError
        The file is gone or cannot be read.
    InputError
        The file is no dataset of ours, or is damaged.
    """
    return _ours(path, _footer(path))


def stored_files(path: Path) -> tuple[StoredFile, ...]:
    """Return the files that hold a table's rows, in order; raise what `read_metadata` does."""
    footer = _footer(path)
    parts = _ours(path, footer).get("parts")
    if parts is None:
        return (StoredFile(path, footer),)
    return _parts(path.parent, tuple(parts))


def _ours(path: Path, footer: pq.FileMetaData) -> dict[str, Any]:
    metadata = footer.metadata or {}
    if METADATA_KEY not in metadata:
        raise InputError(f"{path} is a Parquet file, but not a dataset that Evergreen wrote")
    stored: dict[str, Any] = json.loads(metadata[METADATA_KEY])
    return stored


@lru_cache(maxsize=8)
def _parts(folder: Path, names: tuple[str, ...]) -> tuple[StoredFile, ...]:
    """Return parts, which are never written to again: their names are not used twice."""
    found = []
    for path in (folder / name for name in names):
        with _readable(path):
            found.append(StoredFile(path, pq.read_metadata(path)))
    return tuple(found)


def _footer(path: Path) -> pq.FileMetaData:
    with _readable(path):
        state = path.stat()
        return _parsed(path, (state.st_ino, state.st_size, state.st_mtime_ns))


def gone(path: Path) -> UnreachableError:
    """Return what to raise where a table's file is not there."""
    return UnreachableError(
        f"The stored table {path} is gone; run again with --no-cache to make it anew"
    )


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise gone(path) from error
    except pa.ArrowInvalid as error:
        raise InputError(f"{path} is no Parquet file, or is damaged: {error}") from error
    except OSError as error:
        raise UnreachableError(f"Cannot read {path}: {error.strerror or error}") from error


@lru_cache(maxsize=8)
def _parsed(path: Path, state: tuple[int, ...]) -> pq.FileMetaData:
    """Return the footer of a file in one state; of many row groups it takes a while to read."""
    return pq.read_metadata(path)
