"""From a record in memory to the line that the spool keeps."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from evergreen.serving.readable_log import ReadableLog
from evergreen.serving.records import PredictionBatch, PredictionRecord, Record
from evergreen.serving.redaction import Redaction
from evergreen.serving.spool import to_line

TOGETHER: Final = 100  # rows that are encoded without letting other threads compute
_NUL: Final = b"\\u0000"


def encode(
    record: Record | PredictionBatch,
    model: str,
    redaction: Redaction,
    readable: ReadableLog | None = None,
) -> list[bytes]:
    """Return one line per row, redacted; ``model`` is filled in where the record has none.

    Numbers that are not finite become null. Characters that PostgreSQL cannot hold (NUL, lone
    surrogates) are replaced by U+FFFD.
    """
    if not record.model:
        record.model = model
    if not isinstance(record, PredictionBatch):
        return [to_line(_json(_kept(record, redaction, readable)))]
    lines: list[bytes] = []
    rows = (_kept(row, redaction, readable) for row in record.records())
    while some := list(itertools.islice(rows, TOGETHER)):
        lines += map(to_line, _json_of_all(some))
    return lines


def _kept(row: Record, redaction: Redaction, readable: ReadableLog | None) -> Record:
    """Return a row as it may be kept, and show it to people."""
    if isinstance(row, PredictionRecord):
        if redaction:
            row.inputs = redaction(row.inputs)
        if readable is not None:
            readable.add(row)
    return row


def _json_of_all(rows: Sequence[Record]) -> Sequence[bytes]:
    """Encode rows at once, or one by one where one of them is odd."""
    try:
        content: bytes = _ENCODER.encode_lines(rows)
    except (UnicodeEncodeError, OverflowError, TypeError):
        return [_json(row) for row in rows]
    if _NUL in content:
        return [_json(row) for row in rows]
    return content.splitlines()


def _json(row: Record) -> bytes:
    try:
        content = _ENCODER.encode(row)
    except (UnicodeEncodeError, OverflowError, TypeError):
        return _carefully(row)
    return _carefully(row) if _NUL in content else content


def _carefully(row: Record) -> bytes:
    """Encode what msgspec or PostgreSQL does not take: odd characters, huge integers."""
    fields = {"type": row.__struct_config__.tag, **_mend(msgspec.structs.asdict(row))}
    return json.dumps(fields, separators=(",", ":")).encode()


def _mend(value: Any) -> Any:
    value = _plain(value)
    if isinstance(value, str):
        return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {_mend(str(key)): _mend(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_mend(item) for item in value]
    return value


def _plain(value: Any) -> Any:
    """Turn NumPy's scalars and arrays into Python's; what JSON does not know becomes text."""
    if hasattr(value, "tolist"):
        moment = value.dtype.kind == "M"
        value = (None if str(value) == "NaT" else str(value)) if moment else value.tolist()
    known = value is None or isinstance(value, str | bool | int | float | dict | list | tuple)
    return value if known else str(value)


_ENCODER: Final = msgspec.json.Encoder(enc_hook=_plain)
