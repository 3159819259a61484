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
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from evergreen.data.dataset import Dataset, keeping, piece_rows
from evergreen.data.dataset_writer import MOMENT, NUMBER, StoredColumn, writing
from evergreen.data.engine import Engine
from evergreen.data.source_config import CsvSource, ParquetSource, Source
from evergreen.data.sources import describe_source
from evergreen.data.sources.environment import Environment
from evergreen.data.sources.parquet_source import is_text
from evergreen.data.sources.streams import TableStream, evenly, open_stream
from evergreen.data.sources.tidy import as_text, tidy
from evergreen.data.threads import made_ahead
from evergreen.errors import InputError

# Yields a table's tidy pieces: of all columns but these, reading those as the text that they are.
Frames = Callable[[Collection[str], Collection[str]], Iterator[pd.DataFrame]]

_EMPTY = "nothing"
_TRUTH = StoredColumn("bool", pa.bool_())
_GAPPY_TRUTH = StoredColumn("object", pa.bool_())
_PLAIN_TEXT = StoredColumn("str", pa.string())


@dataclass
class Seen:
    """What the pieces of a column have shown of its type so far."""

    kinds: set[str] = field(default_factory=set)
    gaps: bool = False

    def look(self, values: pd.Series[Any]) -> None:
        """Take in one piece of a tidy column."""
        missing = values.isna()
        self.gaps |= bool(missing.any())
        self.kinds.add(_EMPTY if missing.all() else _kind(values))

    def stored(self) -> StoredColumn:
        """Return the type that holds every piece, as one reading would have found it."""
        kinds = self.kinds - {_EMPTY}
        if not kinds:
            return NUMBER
        if kinds == {"bool"}:
            return _GAPPY_TRUTH if self.gaps else _TRUTH
        if all(map(_is_number, kinds)):
            widest = np.result_type(*map(np.dtype, kinds))
            if widest.kind in "iu" and self.gaps:
                widest = np.dtype("float64")
            return StoredColumn(str(widest), pa.from_numpy_dtype(widest))
        if all(kind.startswith("datetime64[us") for kind in kinds):
            return _moment(kinds)
        return _PLAIN_TEXT


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
        layout = _layout(frames, names, settled)
        texts = [name for name, stored in layout.items() if stored == _PLAIN_TEXT]
        with writing(path, layout, place, engine) as written:
            pieces = frames((), texts)
            for frame in pieces if engine.exceeds_memory else made_ahead(pieces):
                written.add(_fitted(frame, layout))
            if not written.rows:
                columns = ", ".join(names[:10])
                raise InputError(f"{place}: there are no rows, only columns: {columns}")
    return written.dataset


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
            yield _tidy(piece)

    types = stream.types or {}
    settled = {name: _settled(kind, name in stream.whole) for name, kind in types.items()}
    return again, names, {name: stored for name, stored in settled.items() if stored is not None}


def _settled(kind: pa.DataType | None, whole: bool) -> StoredColumn | None:
    """Return how a column of one type is stored, where no look at its values can change that."""
    if kind is None:
        return None
    if pa.types.is_floating(kind) or (
        whole and (pa.types.is_integer(kind) or pa.types.is_boolean(kind))
    ):
        return StoredColumn(str(np.dtype(kind.to_pandas_dtype())), kind)
    if is_text(kind):
        return _PLAIN_TEXT
    if pa.types.is_date(kind):
        return MOMENT
    if pa.types.is_timestamp(kind):
        return _moment({str(pa.array([], pa.timestamp("us", kind.tz)).to_pandas().dtype)})
    return None


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
            yield _tidy(pq.read_table(file))

    return again


def _tidy(piece: pa.Table) -> pd.DataFrame:
    for place, column in enumerate(piece.schema):
        if pa.types.is_dictionary(column.type) and is_text(column.type.value_type):
            piece = piece.set_column(place, column.name, piece[place].cast(pa.string()))
    frame = piece.to_pandas(ignore_metadata=True, date_as_object=False, split_blocks=True)
    return tidy(frame, "")


def _layout(
    frames: Frames, names: Sequence[str], settled: Mapping[str, StoredColumn]
) -> dict[str, StoredColumn]:
    """Look at all pieces of the columns whose types are not settled."""
    seen = {name: Seen() for name in names if name not in settled}
    for frame in frames(settled, ()) if seen else ():
        for name, each in seen.items():
            each.look(frame[name])
    return {name: settled[name] if name in settled else seen[name].stored() for name in names}


def _fitted(frame: pd.DataFrame, layout: Mapping[str, StoredColumn]) -> pd.DataFrame:
    """Return a tidy piece in the table's dtypes."""
    columns = {name: _as_stored(frame[name], stored) for name, stored in layout.items()}
    return pd.DataFrame(columns, copy=False)


def _as_stored(values: pd.Series[Any], stored: StoredColumn) -> pd.Series[Any]:
    if str(values.dtype) == stored.dtype:
        return values
    if stored == _PLAIN_TEXT:
        present = values.notna()
        return values.astype(object).where(~present, values[present].map(as_text)).astype("str")
    if stored.dtype == "object":
        return values.astype(object).where(values.notna(), None)
    if stored.dtype.startswith("datetime64"):
        moments = pd.to_datetime(values)
        if moments.dt.tz is None and "," in stored.dtype:
            moments = moments.dt.tz_localize("UTC")
        return moments.astype(pd.api.types.pandas_dtype(stored.dtype))
    return values.astype("float64").astype(pd.api.types.pandas_dtype(stored.dtype))


def _kind(values: pd.Series[Any]) -> str:
    dtype = str(values.dtype)
    return "bool" if dtype == "object" else dtype  # tidy leaves truth values with gaps so


def _is_number(kind: str) -> bool:
    return kind.startswith(("int", "uint", "float"))


def _moment(kinds: set[str]) -> StoredColumn:
    """Return the type of moments; where zones differ, all are in UTC."""
    if kinds == {MOMENT.dtype}:
        return MOMENT
    kind = next(iter(kinds)) if len(kinds) == 1 else "datetime64[us, UTC]"
    return StoredColumn(kind, pa.timestamp("us", tz=kind.partition(", ")[2].rstrip("]")))
