"""Sources read piece by piece, for tables that do not fit into memory.

`open_stream` finds out which columns there are and reads nothing more; `TableStream.read` then
gives pieces of any size. `evenly` cuts them into chunks, and `share` divides these into parts.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from evergreen.data.source_config import (
    CsvSource,
    HttpSource,
    NatsSource,
    ParquetSource,
    SklearnSource,
    Source,
    SqlSource,
)
from evergreen.data.sources.environment import Environment
from evergreen.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

Read = Callable[[Sequence[str], int], Iterator[pa.Table]]


@dataclass(frozen=True)
class TableStream:
    """A table that is about to be read.

    Parameters
    ----------
    names
        Its columns.
    read
        Returns pieces of the named columns (a piece may lack some), from a row on.
    fingerprint
        What tells this content from another one, as far as that is known without reading it.
    proven
        Whether an equal fingerprint proves an equal content, in equal order.
    rows
        Their number, if it is known.
    types
        The columns' types, if they hold for all pieces.
    whole
        Columns of which it is known that no value is missing.
    grows
        Whether rows may be added while it is read. Those that are there stay what they are.
    together
        How many rows are decoded together, at most, wherever one begins to read.
    written
        Whether it is text as CSV has it: ``decimal`` is then its decimal mark.
    """

    names: tuple[str, ...]
    read: Read
    fingerprint: Mapping[str, Any]
    proven: bool
    rows: int | None = None
    types: Mapping[str, Any] | None = None
    whole: Collection[str] = ()
    grows: bool = False
    together: int = 1
    written: bool = False
    decimal: str = "."
    close: Callable[[], None] = field(default=lambda: None)


def open_stream(
    source: Source,
    environ: Mapping[str, str] | None = None,
    *,
    piece_rows: int,
    backoff: float = 0.5,
) -> TableStream:
    """Find out what a source holds, without reading it; one without rows is a table, too.

    ``environ`` and ``backoff`` are as in `evergreen.data.sources.read_source`; ``piece_rows`` is
    how many rows are asked for at once. SQL and the web hold a connection until
    `TableStream.close`.

    Raises
    ------
    InputError
        The source does not hold a usable table, or a variable is not set.
    UnreachableError
        A file system, database, web server or broker does not answer.
    """
    environment = Environment(os.environ if environ is None else environ)
    match source:
        case SklearnSource():
            return _sklearn(source, piece_rows)
        case CsvSource():
            from evergreen.data.sources.csv_stream import csv_stream

            return csv_stream(source, environment)
        case ParquetSource():
            from evergreen.data.sources.parquet_stream import parquet_stream

            return parquet_stream(source, environment, piece_rows)
        case SqlSource():
            from evergreen.data.sources.sql_stream import sql_stream

            return sql_stream(source, environment, piece_rows)
        case HttpSource():
            from evergreen.data.sources.http_stream import http_stream

            return http_stream(source, environment, piece_rows, backoff=backoff)
        case NatsSource():
            from evergreen.data.sources.nats_source import nats_stream

            return nats_stream(source, environment, piece_rows)


def _sklearn(source: SklearnSource, piece_rows: int) -> TableStream:
    import sklearn

    from evergreen.data.sources.sklearn_source import read_sklearn

    table = pa.Table.from_pandas(read_sklearn(source), preserve_index=False)
    table = table.replace_schema_metadata(None)

    def read(columns: Sequence[str], start: int) -> Iterator[pa.Table]:
        for at in range(start, table.num_rows, piece_rows):
            yield table.select(list(columns)).slice(at, piece_rows)

    return TableStream(
        tuple(table.column_names),
        read,
        {"sklearn": source.name, "version": sklearn.__version__, "rows": table.num_rows},
        proven=True,
        rows=table.num_rows,
        types=dict(zip(table.column_names, table.schema.types, strict=True)),
    )


def stamp(files: Iterable[Path]) -> dict[str, list[int]]:
    """Return size (bytes) and time of change (ns) of files, by path."""
    stats = {str(file): file.stat() for file in files}
    return {name: [found.st_size, found.st_mtime_ns] for name, found in stats.items()}


def changed_meanwhile(place: str) -> InputError:
    """Return what to raise where a table, named in words, did not stay what it was."""
    return InputError(f"{place} was changed while it was read. Run again once it stays as it is.")


def known_rows(stream: TableStream, place: str, setting: str) -> int:
    """Return how many rows a table has that is to be divided.

    Raises
    ------
    InputError
        If that is not known beforehand, or not whether they stay as they are; ``setting`` asked
        for parts.
    """
    if stream.rows is None or not stream.proven or stream.grows:
        raise InputError(
            f"{setting}: {place} does not say beforehand how many rows it has and whether they "
            "stay as they are, as Parquet files do. Leave partitions out, or take Parquet files."
        )
    return stream.rows


def share(number: int, of: int, pieces: int) -> tuple[int, int]:
    """Return the first piece of a part (from 0), and the one behind its last."""
    return number * pieces // of, (number + 1) * pieces // of


def without_rows(pieces: Iterable[pa.Table], start: int) -> Iterator[pa.Table]:
    """Leave out the first rows."""
    for piece in pieces:
        if start >= piece.num_rows:
            start -= piece.num_rows
            continue
        yield piece.slice(start) if start else piece
        start = 0


def evenly(pieces: Iterable[pa.Table], rows: int) -> Iterator[pa.Table]:
    """Cut pieces of any size into tables of ``rows`` rows; the last one may have fewer."""
    waiting: list[pa.Table] = []
    count = 0
    for piece in pieces:
        waiting.append(piece)
        count += piece.num_rows
        if count < rows:
            continue
        together = together_as_one(waiting)
        whole = count // rows * rows
        for at in range(0, whole, rows):
            yield together.slice(at, rows)
        count -= whole
        waiting = [together.slice(whole)] if count else []
    if count:
        yield together_as_one(waiting)


def together_as_one(pieces: Sequence[pa.Table]) -> pa.Table:
    """Append tables; where a column's types differ it becomes a number, else text."""
    if len(pieces) == 1:
        return pieces[0]
    try:
        return pa.concat_tables(pieces, promote_options="permissive")
    except pa.ArrowTypeError:
        names = dict.fromkeys(name for piece in pieces for name in piece.column_names)
        columns = {name: _appended([_column(piece, name) for piece in pieces]) for name in names}
        return pa.table(columns)


def _column(piece: pa.Table, name: str) -> pa.ChunkedArray:
    if name in piece.column_names:
        return piece[name]
    return pa.chunked_array([pa.nulls(piece.num_rows)])


def _appended(parts: Sequence[pa.ChunkedArray]) -> pa.Array:
    kinds = {part.type for part in parts} - {pa.null()}
    if len(kinds) <= 1:
        kind = next(iter(kinds), pa.null())
        return pa.chunked_array([c for part in parts for c in part.cast(kind).chunks], type=kind)
    return as_array([value for part in parts for value in part.to_pylist()])


def as_table(frame: pd.DataFrame, columns: Sequence[str]) -> pa.Table:
    """Return the named columns of JSON records; what they lack is missing."""
    frame = frame.set_axis([str(name).strip() for name in frame.columns], axis=1)
    found = {}
    for name in columns:
        if name not in frame.columns:
            found[name] = pa.nulls(len(frame))
            continue
        values = frame[name]
        plain = values.dtype.kind in "ifbM"
        listed = values.astype(object).where(values.notna(), None).tolist()
        found[name] = pa.array(values, from_pandas=True) if plain else as_array(listed)
    return pa.table(found)


def as_array(values: Sequence[Any]) -> pa.Array:
    """Return Python values as a column; those of several kinds become text, as in training."""
    from evergreen.data.sources.tidy import as_text

    try:
        found = pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError):
        return pa.array([None if value is None else as_text(value) for value in values])
    kind = found.type
    if pa.types.is_decimal(kind):
        return found.cast(pa.float64())
    if pa.types.is_duration(kind):
        return pa.array([value and value.total_seconds() for value in found.to_pylist()])
    if pa.types.is_binary(kind) or pa.types.is_nested(kind) or pa.types.is_time(kind):
        return pa.array([None if value is None else as_text(value) for value in values])
    return found
