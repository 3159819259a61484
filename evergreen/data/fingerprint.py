"""What a table is known by: a digest of its names, dtypes and values, row by row."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
import pandas as pd

from evergreen.errors import InputError

HASHED_ROWS = 65_536  # of a column at once: what is computed then stays in a processor's cache


class Fingerprint:
    """The fingerprint of a table that comes in pieces; see `fingerprint`."""

    def __init__(self) -> None:
        self._rows = 0
        self._columns: dict[tuple[str, str], Any] = {}

    def add(self, frame: pd.DataFrame) -> None:
        """Go on with the next rows; every piece must have the same columns of the same dtypes."""
        self._rows += len(frame)
        for name, column in frame.items():
            digest = self._columns.setdefault((str(name), str(column.dtype)), hashlib.sha256())
            for start in range(0, len(column), HASHED_ROWS):
                part = column.iloc[start : start + HASHED_ROWS]
                try:
                    hashes = pd.util.hash_pandas_object(part, index=False)
                except TypeError as error:
                    raise InputError(
                        f"Column {name!r} holds nested values such as lists or mappings; "
                        "flatten it at the source"
                    ) from error
                digest.update(np.ascontiguousarray(hashes, dtype="<u8"))

    def hexdigest(self) -> str:
        """Return the SHA-256 of all rows so far."""
        digest = hashlib.sha256(f"{self._rows}".encode())
        for column, values in self._columns.items():
            digest.update(json.dumps(column).encode())
            digest.update(values.digest())
        return digest.hexdigest()


def fingerprint(frame: pd.DataFrame) -> str:
    """Return the SHA-256 (hex) of a table's column names, dtypes and values in row order.

    It is the same in every process and on every machine, and for the same rows in pieces; the
    index does not count.

    Raises
    ------
    InputError
        A column holds nested values (lists, mappings), which cannot be compared.
    """
    whole = Fingerprint()
    whole.add(frame)
    return whole.hexdigest()
