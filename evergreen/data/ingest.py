"""A source written to disk piece by piece: the table that `read_source` would return, at rest.

The columns' types are those of the whole table, which only its last row settles. So the pieces are
looked at twice: the second time they are written. What cannot be read twice in the same order (SQL,
the web) is kept on disk in between.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq

from evergreen.data.dataset import Dataset, keeping, piece_rows
from evergreen.data.dataset_writer import StoredColumn, writing
from evergreen.data.engine import Engine
from evergreen.data.piece_types import (
    PLAIN_TEXT,
    fitted,
    layout_of,
    looked_at,
    settled_types,
    tidied,
)
from evergreen.data.source_config import CsvSource, ParquetSource, Source
from evergreen.data.sources import describe_source
from evergreen.data.sources.environment import Environment
from evergreen.data.sources.streams import TableStream, evenly, open_stream
from evergreen.data.threads import made_ahead
from evergreen.errors import InputError

# Yields a table's tidy pieces: of all columns but these, reading those as the text that they are.
Frames = Callable[[Collection[str], Collection[str]], Iterator[pd.DataFrame]]


def ingest(
    source: Source,
    path: Path,
    engine: Engine,
    environ: Mapping[str, str] | None = None,
    *,
    backoff: float = 0.5,
) -> Dataset:
    """Write a source's table to ``path``, some 64 MB at a time.

    It holds what `read_source` returns, with the same dtypes and fingerprint. One thing differs:
    a column whose truth values are missing in part, and which was read from CSV, is text.

    Raises
    ------
    InputError
        The source does not hold a usable table, or a variable is not set.
    UnreachableError
        A file system, database or web server does not answer, or nothing can be written.
    """
    environ = os.environ if environ is None else environ
    place = describe_source(source)
    with ExitStack() as stack:
        frames, names, settled = _twice(source, path, environ, stack, backoff)
        unsettled = [name for name in names if name not in settled]
        seen = looked_at(frames(settled, ()), unsettled) if unsettled else {}
        layout = layout_of(names, settled, seen)
        texts = [name for name, stored in layout.items() if stored == PLAIN_TEXT]
        with writing(path, layout, place, engine) as written:
            pieces = frames((), texts)
            for frame in pieces if engine.exceeds_memory else made_ahead(pieces):
                written.add(fitted(frame, layout))
            if not written.rows:
                raise without_rows(place, names)
    return written.dataset


def without_rows(place: str, names: Sequence[str]) -> InputError:
    """Return what to raise of a table, named in words, that has columns only."""
    return InputError(f"{place}: there are no rows, only columns: {', '.join(names[:10])}")


def _twice(
    source: Source, path: Path, environ: Mapping[str, str], stack: ExitStack, backoff: float
) -> tuple[Frames, list[str], dict[str, StoredColumn]]:
    """Return what yields a table's pieces as often as it is called, its columns, known types."""
    if isinstance(source, CsvSource):
        from evergreen.data.sources.csv_source import csv_frames

        frames, names = csv_frames(source, Environment(environ), piece_rows)
        return frames, names, {}
    # How many rows a piece may have is known once the columns are; until then, of many columns.
    stream = open_stream(source, environ, piece_rows=piece_rows(1_000), backoff=backoff)
    stack.callback(stream.close)
    names = list(stream.names)
    if isinstance(source, ParquetSource):
        stream = open_stream(source, environ, piece_rows=piece_rows(len(names)), backoff=backoff)
    if not stream.proven:
        return _kept(stream, names, path, stack), names, {}

    def again(left_out: Collection[str], texts: Collection[str]) -> Iterator[pd.DataFrame]:
        wanted = [name for name in names if name not in left_out]
        for piece in evenly(stream.read(wanted, 0), piece_rows(len(wanted))):
            yield tidied(piece)

    return again, names, settled_types(stream)


def _kept(stream: TableStream, names: list[str], path: Path, stack: ExitStack) -> Frames:
    """Keep the pieces of a stream that gives them once beside ``path``, until the stack closes."""
    with keeping(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    stack.callback(shutil.rmtree, folder, ignore_errors=True)
    files = []
    for number, piece in enumerate(evenly(stream.read(names, 0), piece_rows(len(names)))):
        files.append(folder / f"{number}.parquet")
        with keeping(path):
            pq.write_table(piece, files[-1], compression="zstd")

    def again(left_out: Collection[str], texts: Collection[str]) -> Iterator[pd.DataFrame]:
        for file in files:
            yield tidied(pq.read_table(file))

    return again
