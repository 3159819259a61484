"""Parquet, row group by row group."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from evergreen.data.source_config import ParquetSource
from evergreen.data.sources.environment import Environment
from evergreen.data.sources.files import KEY, local_path, unreadable
from evergreen.data.sources.parquet_source import (
    UNNAMED_INDEX,
    common_schema,
    is_text,
    matching_files,
    require_text,
)
from evergreen.data.sources.streams import TableStream, stamp, without_rows
from evergreen.data.sources.tidy import column_names
from evergreen.errors import InputError

BUFFER_BYTES = 1 << 20  # of one column that is read ahead


def parquet_stream(source: ParquetSource, environment: Environment, piece_rows: int) -> TableStream:
    """Find out what the files hold; see `evergreen.data.sources.parquet_source.read_parquet`."""
    path = local_path(environment.resolve(source.path, KEY))
    files = matching_files(path)
    schema = common_schema(files)
    partitions = _partitions(path, files)
    added = [name for name in next(iter(partitions.values()), {}) if name not in schema.names]
    raw = [name for name in schema.names if not name.startswith(UNNAMED_INDEX)]
    names = column_names([*raw, *added], str(path))
    stored = dict(zip(names, [*raw, *added], strict=True))
    types = {name: schema.field(stored[name]).type for name in names if stored[name] in raw}
    try:
        fingerprint = stamp(files)
        footers = [pq.read_metadata(file) for file in files]
    except OSError as error:
        raise unreadable(path, error) from error

    def read(columns: Sequence[str], start: int) -> Iterator[pa.Table]:
        for file, footer in zip(files, footers, strict=True):
            if start >= footer.num_rows:
                start -= footer.num_rows
                continue
            fixed = partitions[file]
            inside = [name for name in columns if stored[name] in raw]
            pieces = _pieces(file, [stored[name] for name in inside], start, piece_rows)
            for piece in pieces:
                table = piece.rename_columns(inside)
                for name in columns:
                    if name not in inside:
                        value = pa.array([fixed.get(stored[name])])
                        table = table.append_column(name, pa.repeat(value[0], table.num_rows))
                yield table
            start = 0

    kinds = {name: types.get(name) for name in names}
    for name in added:
        kinds[name] = _kind([fixed.get(name) for fixed in partitions.values()])
    without = _without_gaps(footers, [name for name in raw if _may_widen(schema.field(name).type)])
    return TableStream(
        tuple(names),
        read,
        fingerprint,
        proven=True,
        rows=sum(footer.num_rows for footer in footers),
        types=kinds,
        whole=[name for name in names if stored[name] in without],
        together=max(map(_longest_group, footers), default=1),
    )


def _pieces(file: Path, columns: Sequence[str], start: int, rows: int) -> Iterator[pa.Table]:
    """Return one file's rows from ``start`` on; groups that end before it are not read."""
    try:
        with pq.ParquetFile(file) as looked:
            schema = looked.schema_arrow
        texts = [name for name in columns if is_text(schema.field(name).type)]
        with pq.ParquetFile(
            file, read_dictionary=texts, buffer_size=BUFFER_BYTES, pre_buffer=False
        ) as opened:
            groups = list(range(opened.metadata.num_row_groups))
            while groups and start >= opened.metadata.row_group(groups[0]).num_rows:
                start -= opened.metadata.row_group(groups.pop(0)).num_rows
            batches = opened.iter_batches(rows, groups, list(columns), use_threads=False)
            pieces = (pa.Table.from_batches([batch]).select(list(columns)) for batch in batches)
            for piece in without_rows(pieces, start):
                require_text(piece, str(file))
                yield piece
    except FileNotFoundError as error:
        raise unreadable(file, error) from error
    except (pa.ArrowInvalid, pa.ArrowTypeError, OSError) as error:
        raise InputError(f"{file}: the Parquet file is damaged: {error}") from error


def _longest_group(footer: pq.FileMetaData) -> int:
    groups = range(footer.num_row_groups)
    return max((footer.row_group(number).num_rows for number in groups), default=1)


def _may_widen(kind: pa.DataType) -> bool:
    """Tell types that a frame holds as another one where a value is missing."""
    return bool(pa.types.is_integer(kind) or pa.types.is_boolean(kind))


def _without_gaps(footers: Iterable[pq.FileMetaData], columns: Iterable[str]) -> set[str]:
    """Return the columns that miss no value, going by the statistics of all row groups."""
    without = set(columns)
    for footer in footers:
        places = {footer.schema.column(n).path: n for n in range(footer.num_columns)}
        for number in range(footer.num_row_groups):
            group = footer.row_group(number)
            for name in tuple(without):
                found = group.column(places[name]).statistics
                if found is None or not found.has_null_count or found.null_count:
                    without.discard(name)
    return without


def _partitions(path: Path, files: Sequence[Path]) -> dict[Path, Mapping[str, Any]]:
    """Return what a Hive-partitioned folder says of each file by the names of its folders."""
    if not path.is_dir():
        return {file: {} for file in files}
    data = ds.dataset(
        [str(file) for file in files],
        format="parquet",
        partitioning="hive",
        partition_base_dir=str(path),
    )
    return {
        Path(fragment.path): ds.get_partition_keys(fragment.partition_expression)
        for fragment in data.get_fragments()
    }


def _kind(values: Sequence[Any]) -> Any:
    return pa.array(values).type
