"""The types of a table's columns, where it comes piece by piece: those of the whole table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa

from evergreen.data.dataset_writer import MOMENT, NUMBER, StoredColumn
from evergreen.data.sources.parquet_source import is_text
from evergreen.data.sources.streams import TableStream
from evergreen.data.sources.tidy import as_text, tidy

PLAIN_TEXT: Final = StoredColumn("str", pa.string())

_EMPTY: Final = "nothing"
_TRUTH: Final = StoredColumn("bool", pa.bool_())
_GAPPY_TRUTH: Final = StoredColumn("object", pa.bool_())


@dataclass
class Seen:
    """What the pieces of a column have shown of its type so far."""

    kinds: set[str] = field(default_factory=set)
    gaps: bool = False

    def look(self, values: pd.Series[Any]) -> None:
        """Take in one piece of a tidy column."""
        missing = values.isna()
        self.gaps |= bool(missing.any())
        self.kinds.add(_EMPTY if missing.all() else _kind(values))

    def also(self, other: Seen) -> None:
        """Take in what other pieces of the column have shown."""
        self.kinds |= other.kinds
        self.gaps |= other.gaps

    def stored(self) -> StoredColumn:
        """Return the type that holds every piece, as one reading would have found it."""
        kinds = self.kinds - {_EMPTY}
        if not kinds:
            return NUMBER
        if kinds == {"bool"}:
            return _GAPPY_TRUTH if self.gaps else _TRUTH
        if all(map(_is_number, kinds)):
            widest = np.result_type(*map(np.dtype, kinds))
            if widest.kind in "iu" and self.gaps:
                widest = np.dtype("float64")
            return StoredColumn(str(widest), pa.from_numpy_dtype(widest))
        if all(kind.startswith("datetime64[us") for kind in kinds):
            return _moment(kinds)
        return PLAIN_TEXT


def looked_at(frames: Iterable[pd.DataFrame], names: Iterable[str]) -> dict[str, Seen]:
    """Return what tidy pieces of a table show of some of its columns."""
    seen = {name: Seen() for name in names}
    for frame in frames:
        for name, each in seen.items():
            each.look(frame[name])
    return seen


def settled_types(stream: TableStream) -> dict[str, StoredColumn]:
    """Return how columns are stored whose values cannot change that, going by the source."""
    found = {
        name: _settled(kind, name in stream.whole) for name, kind in (stream.types or {}).items()
    }
    return {name: stored for name, stored in found.items() if stored is not None}


def layout_of(
    names: Sequence[str], settled: Mapping[str, StoredColumn], seen: Mapping[str, Seen]
) -> dict[str, StoredColumn]:
    """Return how all columns are stored, in their order."""
    return {name: settled[name] if name in settled else seen[name].stored() for name in names}


def tidied(piece: pa.Table) -> pd.DataFrame:
    """Return a piece of a stream as the frame that reading the source at once would hold."""
    for place, column in enumerate(piece.schema):
        if pa.types.is_dictionary(column.type) and is_text(column.type.value_type):
            piece = piece.set_column(place, column.name, piece[place].cast(pa.string()))
    frame = piece.to_pandas(ignore_metadata=True, date_as_object=False, split_blocks=True)
    return tidy(frame, "")


def fitted(frame: pd.DataFrame, layout: Mapping[str, StoredColumn]) -> pd.DataFrame:
    """Return a tidy piece in the table's dtypes."""
    columns = {name: _as_stored(frame[name], stored) for name, stored in layout.items()}
    return pd.DataFrame(columns, copy=False)


def _settled(kind: pa.DataType | None, whole: bool) -> StoredColumn | None:
    """Return how a column of one type is stored, where no look at its values can change that."""
    if kind is None:
        return None
    if pa.types.is_floating(kind) or (
        whole and (pa.types.is_integer(kind) or pa.types.is_boolean(kind))
    ):
        return StoredColumn(str(np.dtype(kind.to_pandas_dtype())), kind)
    if is_text(kind):
        return PLAIN_TEXT
    if pa.types.is_date(kind):
        return MOMENT
    if pa.types.is_timestamp(kind):
        return _moment({str(pa.array([], pa.timestamp("us", kind.tz)).to_pandas().dtype)})
    return None


def _as_stored(values: pd.Series[Any], stored: StoredColumn) -> pd.Series[Any]:
    if str(values.dtype) == stored.dtype:
        return values
    if stored == PLAIN_TEXT:
        present = values.notna()
        return values.astype(object).where(~present, values[present].map(as_text)).astype("str")
    if stored.dtype == "object":
        return values.astype(object).where(values.notna(), None)
    if stored.dtype.startswith("datetime64"):
        moments = pd.to_datetime(values)
        if moments.dt.tz is None and "," in stored.dtype:
            moments = moments.dt.tz_localize("UTC")
        return moments.astype(pd.api.types.pandas_dtype(stored.dtype))
    return values.astype("float64").astype(pd.api.types.pandas_dtype(stored.dtype))


def _kind(values: pd.Series[Any]) -> str:
    dtype = str(values.dtype)
    return "bool" if dtype == "object" else dtype  # tidy leaves truth values with gaps so


def _is_number(kind: str) -> bool:
    return kind.startswith(("int", "uint", "float"))


def _moment(kinds: set[str]) -> StoredColumn:
    """Return the type of moments; where zones differ, all are in UTC."""
    if kinds == {MOMENT.dtype}:
        return MOMENT
    kind = next(iter(kinds)) if len(kinds) == 1 else "datetime64[us, UTC]"
    return StoredColumn(kind, pa.timestamp("us", tz=kind.partition(", ")[2].rstrip("]")))
