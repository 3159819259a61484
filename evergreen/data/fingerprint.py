"""What a table is known by: a digest of its names, dtypes and values, row by row."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from evergreen.errors import InputError

HASHED_ROWS = 65_536  # of a column at once: what is computed then stays in a processor's cache


class Fingerprint:
    """The fingerprint of a table that comes in pieces, each as a frame and as it is stored.

    It is the SHA-256 of the number of rows and of every column's name, dtype and values: numbers,
    truth values and moments as their bytes, texts as their lengths and their bytes, objects of
    other kinds as the hashes that pandas makes of them. It is the same in every process and on
    every machine, and for the same rows in other pieces; the index does not count.
    """

    def __init__(self) -> None:
        self._rows = 0
        self._columns: dict[tuple[str, str], _Values] = {}

    def add(self, frame: pd.DataFrame, table: pa.Table) -> None:
        """Go on with the next rows; every piece must have the same columns of the same types.

        Raises
        ------
        InputError
            A column holds nested values (lists, mappings), which cannot be compared.
        """
        self._rows += len(frame)
        for place, (name, column) in enumerate(frame.items()):
            values = self._columns.setdefault((str(name), str(column.dtype)), _Values())
            values.add(column, table.column(place))

    def hexdigest(self) -> str:
        """Return the SHA-256 of all rows so far."""
        digest = hashlib.sha256(f"{self._rows}".encode())
        for column, values in self._columns.items():
            digest.update(json.dumps(column).encode())
            digest.update(values.lengths.digest())
            digest.update(values.values.digest())
        return digest.hexdigest()


class _Values:
    """The digests of one column: of its texts' lengths, and of its values."""

    def __init__(self) -> None:
        self.lengths = hashlib.sha256()
        self.values = hashlib.sha256()

    def add(self, column: pd.Series[Any], stored: pa.ChunkedArray) -> None:
        if isinstance(column.dtype, np.dtype) and column.dtype.kind in "biufM":
            plain = column.to_numpy()
            little = np.ascontiguousarray(plain, dtype=plain.dtype.newbyteorder("<"))
            self.values.update(little.view(np.uint8).data)
        elif _is_text(stored.type):
            for chunk in stored.chunks:
                self._add_texts(chunk.cast(pa.large_string()))
        else:
            self._add_objects(column)

    def _add_texts(self, texts: pa.LargeStringArray) -> None:
        lengths = pc.fill_null(pc.binary_length(texts), -1)
        self.lengths.update(lengths.to_numpy().astype("<i8", copy=False))
        if texts.null_count:
            texts = texts.fill_null("")  # so that nothing lies where a text is missing
        _, offsets, letters = texts.buffers()
        ends = np.frombuffer(offsets, "<i8")[texts.offset : texts.offset + len(texts) + 1]
        self.values.update(letters.slice(ends[0], ends[-1] - ends[0]) if letters else b"")

    def _add_objects(self, column: pd.Series[Any]) -> None:
        for start in range(0, len(column), HASHED_ROWS):
            part = column.iloc[start : start + HASHED_ROWS]
            try:
                hashes = pd.util.hash_pandas_object(part, index=False)
            except TypeError as error:
                raise InputError(
                    f"Column {column.name!r} holds nested values such as lists or mappings; "
                    "flatten it at the source"
                ) from error
            self.values.update(np.ascontiguousarray(hashes, dtype="<u8").data)


def _is_text(kind: pa.DataType) -> bool:
    """Tell columns of texts; one without any value counts as such."""
    return kind in (pa.string(), pa.large_string(), pa.null())
