"""What a table is known by: a digest of its names, dtypes and values, block of rows by block."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from evergreen.errors import InputError

# Rows of a block. Parts of a table that begin with a block can be hashed apart; and what is
# computed of a column's block stays in a processor's cache.
BLOCK_ROWS: Final = 65_536


@dataclass(frozen=True)
class HashedRows:
    """The digests of some rows that begin with a block: names and dtypes, and each block."""

    rows: int
    columns: tuple[tuple[str, str], ...]
    blocks: tuple[bytes, ...]

    @classmethod
    def joined(cls, parts: Iterable[HashedRows]) -> HashedRows:
        """Return what the rows of all parts give, one after the other.

        Raises
        ------
        ValueError
            A part that is not the last one ends within a block, or parts have other columns.
        """
        parts = tuple(parts)
        if any(part.rows % BLOCK_ROWS for part in parts[:-1]):
            raise ValueError("only the last part may end within a block")
        columns = {part.columns for part in parts}
        if len(columns) != 1:
            raise ValueError("all parts must have the same columns")
        blocks = tuple(block for part in parts for block in part.blocks)
        return cls(sum(part.rows for part in parts), columns.pop(), blocks)

    def hexdigest(self) -> str:
        """Return the SHA-256 of all of it."""
        digest = hashlib.sha256(f"{self.rows}".encode())
        digest.update(json.dumps(self.columns).encode())
        for block in self.blocks:
            digest.update(block)
        return digest.hexdigest()


class Fingerprint:
    """The fingerprint of a table that comes in pieces, each as a frame and as it is stored.

    It is the SHA-256 of the number of rows, of every column's name and dtype, and of the digests
    of blocks of rows; a block's is the SHA-256 of each column's values: numbers, truth values and
    moments as their bytes, texts as their lengths and their bytes, objects of other kinds as the
    hashes that pandas makes of them. It is the same in every process and on every machine, and for
    the same rows in other pieces; the index does not count.
    """

    def __init__(self) -> None:
        self._rows = 0
        self._columns: dict[tuple[str, str], _Values] = {}
        self._blocks: list[bytes] = []

    def add(self, frame: pd.DataFrame, table: pa.Table) -> None:
        """Go on with the next rows; every piece must have the same columns of the same types.

        Raises
        ------
        InputError
            A column holds nested values (lists, mappings), which cannot be compared.
        """
        columns = [
            (self._of(str(name), str(column.dtype)), column, table.column(place))
            for place, (name, column) in enumerate(frame.items())
        ]
        start = 0
        while start < len(frame):
            rows = min(len(frame) - start, BLOCK_ROWS - self._rows % BLOCK_ROWS)
            for values, column, stored in columns:
                values.add(column.iloc[start : start + rows], stored.slice(start, rows))
            start += rows
            self._rows += rows
            if self._rows % BLOCK_ROWS == 0:
                self._blocks.append(self._block())
                for values in self._columns.values():
                    values.restart()

    def hashed(self) -> HashedRows:
        """Return the digests of all rows so far."""
        last = [self._block()] if self._rows % BLOCK_ROWS else []
        return HashedRows(self._rows, tuple(self._columns), (*self._blocks, *last))

    def hexdigest(self) -> str:
        """Return the SHA-256 of all rows so far."""
        return self.hashed().hexdigest()

    def _of(self, name: str, dtype: str) -> _Values:
        return self._columns.setdefault((name, dtype), _Values())

    def _block(self) -> bytes:
        digest = hashlib.sha256()
        for values in self._columns.values():
            digest.update(values.lengths.digest())
            digest.update(values.values.digest())
        return digest.digest()


class _Values:
    """The digests of one column in one block: of its texts' lengths, and of its values."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
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
        try:
            hashes = pd.util.hash_pandas_object(column, index=False)
        except TypeError as error:
            raise InputError(
                f"Column {column.name!r} holds nested values such as lists or mappings; "
                "flatten it at the source"
            ) from error
        self.values.update(np.ascontiguousarray(hashes, dtype="<u8").data)


def _is_text(kind: pa.DataType) -> bool:
    """Tell columns of texts; one without any value counts as such."""
    return kind in (pa.string(), pa.large_string(), pa.null())
