"""A row group of a Parquet file, whole, or some of its rows."""

from __future__ import annotations

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
