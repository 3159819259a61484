"""Columns of Arrow batches, read as the kinds that profiles know; nothing here ever raises.

Numbers become float64 (missing NaN), moments seconds since 1970 (UTC), levels text. What cannot
be read as its column's kind is missing and counted as unreadable.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
HashArray = npt.NDArray[np.uint64]

_ODD: Final = np.uint64(0x9E3779B97F4A7C15)  # 2**64 divided by the golden ratio
_SHIFT: Final = np.uint64(29)
_ABSENT: Final = np.uint64(0x7FF8_0000_0000_0001)


@dataclass(frozen=True)
class Levels:
    """A category column: per row the position of its level, -1 where it is missing."""

    positions: IntArray
    levels: tuple[str, ...]


def read_numbers(column: pa.Array) -> tuple[FloatArray, int]:
    """Return numbers, and how many values are present but none."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        return read_numbers(column.dictionary_decode())
    if pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        if pa.types.is_boolean(kind):
            column = column.cast(pa.uint8())
        return np.asarray(column.to_numpy(zero_copy_only=False), dtype=np.float64), 0
    if pa.types.is_decimal(kind):
        return np.asarray(column.cast(pa.float64()).to_numpy(zero_copy_only=False)), 0
    if _is_text(kind):
        from evergreen.data.casting import as_number

        return _read_text(column, as_number)
    return _nothing(column)


def read_moments(column: pa.Array) -> tuple[FloatArray, int]:
    """Return seconds since 1970 (UTC), and how many values are present but no moment."""
    from evergreen.data.casting import as_timestamp
    from evergreen.monitoring.profile import seconds_since_1970

    kind = column.type
    if pa.types.is_dictionary(kind):
        return read_moments(column.dictionary_decode())
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        micros = column.cast(pa.timestamp("us"), safe=False).cast(pa.int64())
        return np.asarray(micros.to_numpy(zero_copy_only=False), dtype=np.float64) / 1e6, 0
    if _is_text(kind):
        return _read_text(column, lambda values: seconds_since_1970(as_timestamp(values)))
    return _nothing(column)


def read_levels(column: pa.Array) -> tuple[Levels, int]:
    """Return levels as text, and how many values are present but no level (such as lists)."""
    kind = column.type
    if pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        _, unreadable = _nothing(column)
        return Levels(np.full(len(column), -1), ()), unreadable
    encoded = column if pa.types.is_dictionary(kind) else column.dictionary_encode()
    positions = np.asarray(encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False), np.int64)
    texts = _texts(encoded.dictionary)
    known = sorted({text for text in texts if text is not None})
    places = {text: place for place, text in enumerate(known)}
    table = np.array([-1 if t is None else places[t] for t in texts] + [-1], dtype=np.int64)
    return Levels(table[positions], tuple(known)), 0


def mixed(state: HashArray, bits: HashArray) -> HashArray:
    """Mix a column's bits into each row's hash, in place."""
    state ^= bits
    state *= _ODD
    state ^= state >> _SHIFT
    return state


def number_bits(values: FloatArray) -> HashArray:
    """Return 64 bits per number: alike for 0 and -0, and for all that is not a number."""
    bits = (values + 0.0).view(np.uint64)
    absent = np.isnan(values)
    if absent.any():
        bits[absent] = _ABSENT
    return bits


def level_bits(levels: Levels) -> HashArray:
    """Return 64 bits per level, the same in every process."""
    table = np.array([*map(_text_bits, levels.levels), int(_ABSENT)], dtype=np.uint64)
    return table[levels.positions]


@lru_cache(maxsize=10_000)
def _text_bits(text: str) -> int:
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def _texts(values: pa.Array) -> list[str | None]:
    if _is_text(values.type):
        return [t if t is not None and t.strip() else None for t in values.to_pylist()]
    import pandas as pd

    from evergreen.data.casting import as_text

    return [t if isinstance(t, str) else None for t in as_text(pd.Series(values.to_pylist()))]


def _read_text(column: pa.Array, cast: Any) -> tuple[FloatArray, int]:
    """Cast each distinct text once."""
    import pandas as pd

    encoded = column.dictionary_encode()
    texts = _texts(encoded.dictionary)
    found = np.asarray(cast(pd.Series(texts, dtype=object)), dtype=np.float64)
    positions = np.asarray(encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False), np.int64)
    wrong = np.array([t is not None for t in texts], dtype=np.bool_) & np.isnan(found)
    unreadable = int(np.append(wrong, False)[positions].sum())
    return np.append(found, np.nan)[positions], unreadable


def _nothing(column: pa.Array) -> tuple[FloatArray, int]:
    present = len(column) - int(pc.sum(pc.is_null(column)).as_py() or 0)
    return np.full(len(column), np.nan), present


def _is_text(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    )
