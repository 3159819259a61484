"""Columns of a Parquet file: of all its row groups, of one, or of some rows of one."""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

# Read at once where rows are chosen: fresh memory takes longer than reading, and so little stays
# in the processor's cache until the rows are taken.
FEW_VALUES: Final = 250_000


def read_row_group(
    path: Path,
    footer: pq.FileMetaData,
    number: int,
    names: list[str],
    chosen: npt.NDArray[np.bool_] | None = None,
) -> pa.Table:
    """Return the named columns of a row group, or of its rows where a mask is true."""
    with pq.ParquetFile(path, metadata=footer) as file:
        if chosen is None:
            return file.read_row_group(number, names, use_threads=False)
        places = pa.array(np.flatnonzero(chosen))
        width = max(1, FEW_VALUES // max(1, len(chosen)))
        parts = [
            file.read_row_group(number, names[start : start + width], use_threads=False).take(
                places
            )
            for start in range(0, max(1, len(names)), width)
        ]
    # By a schema, so that what pandas noted of the whole table stays.
    schema = pa.unify_schemas([part.schema for part in parts])
    return pa.Table.from_arrays([each for part in parts for each in part.columns], schema=schema)


def read_columns(
    path: Path, footer: pq.FileMetaData, names: list[str], *, use_threads: bool
) -> pa.Table:
    """Return the named columns of all row groups."""
    with pq.ParquetFile(path, metadata=footer) as file:
        if footer.num_row_groups < 2:
            return file.read(names, use_threads=use_threads)
        parts = (
            file.read_row_group(number, names, use_threads=use_threads)
            for number in range(footer.num_row_groups)
        )
        first = next(parts)
        columns = [_joiner(field.type, footer.num_rows) for field in first.schema]
        for part in chain([first], parts):
            for column, values in zip(columns, part.columns, strict=True):
                column.add(values)
    return pa.Table.from_arrays([column.whole() for column in columns], schema=first.schema)


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
