"""Writing a table that comes in pieces, a row group or more for each; and joining such files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from evergreen.data.contract import Column, Contract
from evergreen.data.dataset import ROW_GROUP, Dataset, appearing_whole
from evergreen.data.engine import IN_MEMORY, Engine
from evergreen.data.fingerprint import HashedRows
from evergreen.data.footers import METADATA_KEY
from evergreen.data.table_file import TableFile, table_file


@dataclass(frozen=True)
class StoredColumn:
    """One column at rest: its dtype in a frame, and its type in the file."""

    dtype: str
    type: pa.DataType


Layout = Mapping[str, StoredColumn]

NUMBER = StoredColumn("float64", pa.float64())
TEXT = StoredColumn("object", pa.string())
MOMENT = StoredColumn("datetime64[us]", pa.timestamp("us"))


def contract_layout(contract: Contract) -> dict[str, StoredColumn]:
    """Return how conformed rows are stored; see `evergreen.data.conform.conform`."""
    return {column.name: _stored(column, contract) for column in contract.columns}


def _stored(column: Column, contract: Contract) -> StoredColumn:
    if column.role == "target" and contract.labels is not None:
        kinds = {type(label) for label in contract.labels}
        kind = pa.bool_() if kinds == {bool} else pa.int64() if kinds == {int} else pa.string()
        return StoredColumn("object", kind)
    if column.type in ("category", "identifier"):
        return TEXT
    return MOMENT if column.type == "timestamp" else NUMBER


@dataclass
class DatasetWriter:
    """Takes the pieces of one table; see `writing`."""

    file: TableFile
    schema: pa.Schema
    layout: Layout
    written: Dataset | None = None

    def add(self, frame: pd.DataFrame) -> None:
        """Append rows that have the columns of the layout, in its dtypes."""
        if not len(frame):
            return
        if list(frame.columns) != list(self.layout):
            frame = frame[list(self.layout)]
        columns = [_to_arrow(frame[field.name], field) for field in self.schema]
        self.file.add(frame, pa.Table.from_arrays(columns, schema=self.schema), ROW_GROUP)

    @property
    def rows(self) -> int:
        """How many rows there are so far."""
        return self.file.rows

    @property
    def hashed(self) -> HashedRows:
        """The digests of all rows so far."""
        return self.file.fingerprint.hashed()

    @property
    def dataset(self) -> Dataset:
        """The stored table, once the block of `writing` has ended; ``RuntimeError`` before."""
        if self.written is None:
            raise RuntimeError("the table is still being written")
        return self.written


@contextmanager
def writing(
    path: Path | str, layout: Layout, source: str = "", engine: Engine = IN_MEMORY
) -> Iterator[DatasetWriter]:
    """Yield what takes a table's pieces; the file appears when the block ends, or not at all.

    The dataset is the one that `Dataset.write` makes of all pieces together.

    Raises
    ------
    UnreachableError
        The folder cannot be written (full disk, read-only, no permission).
    """
    path = Path(path).absolute()
    schema = _schema(layout, engine)
    with (
        appearing_whole(path) as temporary,
        table_file(temporary, schema, engine) as file,
    ):
        writer = DatasetWriter(file, schema, layout)
        yield writer
        digest = file.fingerprint.hexdigest()
        dataset = Dataset(path, file.rows, tuple(layout), digest, source, engine)
        file.note({METADATA_KEY: dataset.metadata(_dtypes(layout))})
    writer.written = dataset


def join(
    path: Path | str,
    layout: Layout,
    parts: Mapping[str, HashedRows],
    source: str = "",
    engine: Engine = IN_MEMORY,
) -> Dataset:
    """Make one table of parts that `writing` wrote, by their paths from the folder of ``path``.

    The dataset is the one that `Dataset.write` makes of the rows of all parts; these stay where
    they are. All but the last end where a block of the fingerprint does.

    Raises
    ------
    UnreachableError
        The folder cannot be written (full disk, read-only, no permission).
    """
    path = Path(path).absolute()
    hashed = HashedRows.joined(parts.values())
    dataset = Dataset(path, hashed.rows, tuple(layout), hashed.hexdigest(), source, engine)
    metadata = {METADATA_KEY: dataset.metadata(_dtypes(layout), list(parts))}
    with appearing_whole(path) as temporary:
        pq.write_metadata(_schema(layout, engine).with_metadata(metadata), temporary)
    return dataset


def _dtypes(layout: Layout) -> dict[str, str]:
    return {name: column.dtype for name, column in layout.items()}


def _schema(layout: Layout, engine: Engine) -> pa.Schema:
    """Return the types in the file.

    Where the table fits into memory, numbers that miss are stored as what a frame holds there:
    telling them apart takes twice as long as all else, when it is written and whenever it is read.
    """
    return pa.schema(
        pa.field(name, column.type, nullable=engine.exceeds_memory or not _is_float(column))
        for name, column in layout.items()
    )


def _is_float(column: StoredColumn) -> bool:
    return column.dtype.startswith("float")


def _to_arrow(values: pd.Series[Any], field: pa.Field) -> pa.Array:
    if field.nullable:
        return pa.array(values, field.type, from_pandas=True)
    numbers = values.to_numpy()
    missing = np.isnan(numbers)
    if missing.any():  # one kind of NaN, as rows are told apart by their bits
        numbers = np.where(missing, numbers.dtype.type(np.nan), numbers)
    return pa.array(numbers, field.type, from_pandas=False)
