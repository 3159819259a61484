"""Columns of a stored table: of all its row groups, of one, or of some rows of one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from evergreen.data.footers import StoredFile
from evergreen.data.sources.streams import evenly

# Read at once where rows are chosen: fresh memory takes longer than reading, and so little stays
# in the processor's cache until the rows are taken.
FEW_VALUES: Final = 250_000


def read_row_group(
    file: StoredFile,
    number: int,
    names: list[str],
    chosen: npt.NDArray[np.bool_] | None = None,
) -> pa.Table:
    """Return the named columns of a file's row group, or of its rows where a mask is true."""
    with pq.ParquetFile(file.path, metadata=file.footer) as opened:
        if chosen is None:
            return opened.read_row_group(number, names, use_threads=False)
        places = pa.array(np.flatnonzero(chosen))
        width = max(1, FEW_VALUES // max(1, len(chosen)))
        parts = [
            opened.read_row_group(number, names[start : start + width], use_threads=False).take(
                places
            )
            for start in range(0, max(1, len(names)), width)
        ]
    # By a schema, so that what pandas noted of the whole table stays.
    schema = pa.unify_schemas([part.schema for part in parts])
    return pa.Table.from_arrays([each for part in parts for each in part.columns], schema=schema)


def read_columns(files: Sequence[StoredFile], names: list[str], *, use_threads: bool) -> pa.Table:
    """Return the named columns of all row groups of all files."""
    groups = _all_row_groups(files, names, use_threads=use_threads)
    first, second = next(groups), next(groups, None)
    if second is None:
        return first
    rows = sum(file.footer.num_rows for file in files)
    columns = [_joiner(field.type, rows) for field in first.schema]
    for group in chain([first, second], groups):
        for column, values in zip(columns, group.columns, strict=True):
            column.add(values)
    return pa.Table.from_arrays([column.whole() for column in columns], schema=first.schema)


def _all_row_groups(
    files: Sequence[StoredFile], names: list[str], *, use_threads: bool
) -> Iterator[pa.Table]:
    for path, footer in files:
        with pq.ParquetFile(path, metadata=footer) as file:
            if not footer.num_row_groups:
                yield file.read(names, use_threads=use_threads)
            for number in range(footer.num_row_groups):
                yield file.read_row_group(number, names, use_threads=use_threads)


def read_batches(files: Sequence[StoredFile], names: list[str], rows: int) -> Iterator[pa.Table]:
    """Yield the named columns of all files in pieces of so many rows; the last may have fewer."""
    batches = (batch for file in files for batch in _batches(file, names, rows))
    return batches if len(files) == 1 else evenly(batches, rows)


def _batches(file: StoredFile, names: list[str], rows: int) -> Iterator[pa.Table]:
    with pq.ParquetFile(file.path, pre_buffer=False, buffer_size=1 << 20) as opened:
        for batch in opened.iter_batches(rows, columns=names, use_threads=False):
            yield pa.Table.from_batches([batch])


class _Chunks:
    """A column as it was read."""

    def __init__(self) -> None:
        self._chunks: list[pa.Array] = []

    def add(self, values: pa.ChunkedArray) -> None:
        self._chunks += values.chunks

    def whole(self) -> pa.ChunkedArray:
        return pa.chunked_array(self._chunks)


class _Floats:
    """A column of floats, each put in its place as it comes; NaN where it misses.

    Fresh memory for the chunks, and once more for all of them together, takes longer than reading.
    """

    def __init__(self, kind: pa.DataType, rows: int) -> None:
        self._values = np.empty(rows, kind.to_pandas_dtype())
        self._rows = 0

    def add(self, values: pa.ChunkedArray) -> None:
        for chunk in values.chunks:
            end = self._rows + len(chunk)
            self._values[self._rows : end] = chunk.to_numpy(zero_copy_only=False)
            self._rows = end

    def whole(self) -> pa.Array:
        return pa.array(self._values, from_pandas=False)


def _joiner(kind: pa.DataType, rows: int) -> _Chunks | _Floats:
    return _Floats(kind, rows) if pa.types.is_floating(kind) else _Chunks()
