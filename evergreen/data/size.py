"""How much memory a table would take, found out without reading it, and how much there is."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Final

import psutil
import pyarrow as pa

from evergreen.data.contract import Contract
from evergreen.data.engine import Engine, EngineChoice
from evergreen.data.source_config import CsvSource, HttpSource, NatsSource, Source, SqlSource
from evergreen.data.sources.streams import TableStream, open_stream
from evergreen.errors import InputError
from evergreen.values import Value

MEMORY_SHARE: Final = 0.1  # a training in memory takes up to eight times its table, see docs/scale
SAMPLE_ROWS: Final = 1_000
COMPRESSION: Final = 5  # of CSV by gzip, about
TEXT_BYTES: Final = 20  # of a short text in a frame

_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),  # cgroup v2
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),  # v1
)


class TableSize(Value):
    """A table's size: exact where the source tells it, else estimated from its first rows."""

    rows: int
    columns: int
    bytes: int  # in memory, as a frame
    exact_rows: bool


def choose_engine(
    wanted: EngineChoice, source: Source, environ: Mapping[str, str] | None = None
) -> Engine:
    """Return the engine for a source's table, whose size is looked up where it decides.

    Raises
    ------
    UnreachableError
        A file system, database or web server does not answer.
    """
    size = None
    if wanted == "auto":
        try:
            size = table_size(source, environ)
        except InputError:
            return Engine(name="memory", reason="the source has a mistake")  # reading it says so
    return engine_for(wanted, size, memory_limit())


def engine_for(wanted: EngineChoice, size: TableSize | None, there: int) -> Engine:
    """Return the engine for a table of a size (None: not known) and so many bytes of memory.

    ``auto`` takes external memory where the table takes more than a tenth of the memory that
    there is.
    """
    if wanted != "auto":
        return Engine(name=wanted, reason=f"training.engine is {wanted}")
    if size is None:
        reason = "the source does not tell its size; set training.engine: external if it is large"
        return Engine(name="memory", reason=reason)
    share = size.bytes / there
    compared = "more than" if share > MEMORY_SHARE else "at most"
    reason = (
        f"{size.rows:,} rows take about {gigabytes(size.bytes)} in memory, {compared} "
        f"{MEMORY_SHARE:.0%} of the {gigabytes(there)} there are"
    )
    return Engine(name="external" if share > MEMORY_SHARE else "memory", reason=reason)


def table_size(source: Source, environ: Mapping[str, str] | None = None) -> TableSize | None:
    """Return the size of a source's table; None where only reading all of it would tell.

    Raises
    ------
    InputError, UnreachableError
        As reading the source does.
    """
    if isinstance(source, HttpSource):
        return None
    environ = os.environ if environ is None else environ
    if isinstance(source, NatsSource):
        from evergreen.data.sources.environment import Environment
        from evergreen.data.sources.nats_source import nats_size

        return _size(*nats_size(source, Environment(environ), SAMPLE_ROWS), exact=True)
    with closing(open_stream(source, environ, piece_rows=SAMPLE_ROWS)) as stream:
        pieces = stream.read(stream.names, 0)
        sample = next(pieces, None)
        pieces.close()  # type: ignore[attr-defined]
    if sample is None or not sample.num_rows:
        return TableSize(rows=0, columns=len(stream.names), bytes=0, exact_rows=True)
    sample = sample.slice(0, SAMPLE_ROWS)
    rows = stream.rows if stream.rows is not None else _rows(source, stream, sample, environ)
    return None if rows is None else _size(rows, sample, exact=not isinstance(source, CsvSource))


def memory_limit() -> int:
    """Return the bytes of memory that this process may have: the machine's or its container's."""
    limits = [int(psutil.virtual_memory().total)]
    for path in _LIMITS:
        try:
            limits.append(int(path.read_text()))
        except (OSError, ValueError):  # not there, or "max"
            continue
    return min(limits)


def frame_bytes(contract: Contract, rows: int) -> int:
    """Return about what so many rows take in memory, going by their columns' types."""
    widths = (TEXT_BYTES if c.type in ("category", "identifier") else 8 for c in contract.columns)
    return rows * sum(widths)


def gigabytes(size: float) -> str:
    """Word a number of bytes."""
    for unit, scale in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if size >= scale:
            return f"{size / scale:.3g} {unit}"
    return f"{size / 1e3:.3g} kB"


def _size(rows: int, sample: pa.Table | None, *, exact: bool) -> TableSize:
    """Return the size of so many rows, going by the first ones."""
    if sample is None:
        return TableSize(rows=0, columns=0, bytes=0, exact_rows=True)
    return TableSize(
        rows=rows,
        columns=sample.num_columns,
        bytes=int(rows * _row_bytes(sample)),
        exact_rows=exact,
    )


def _row_bytes(sample: pa.Table) -> float:
    """Return what a row takes in a frame, where text that is numbers is read as numbers."""
    from evergreen.data.casting import as_number, is_missing
    from evergreen.data.sources.tidy import tidy

    size = 0
    for _, values in tidy(sample.to_pandas(), "").items():
        numbers = as_number(values)
        numeric = bool((numbers.notna() | is_missing(values)).all())
        size += (numbers if numeric else values).memory_usage(index=False, deep=True)
    return size / sample.num_rows


def _rows(
    source: Source, stream: TableStream, sample: pa.Table, environ: Mapping[str, str]
) -> int | None:
    if isinstance(source, SqlSource):
        from evergreen.data.sources.environment import Environment
        from evergreen.data.sources.sql_source import count_rows

        return count_rows(source, Environment(environ))
    ((path, (size, _)),) = stream.fingerprint.items()  # of a CSV file
    row_bytes = _text_bytes(sample) / sample.num_rows
    return int(size * (COMPRESSION if path.endswith(".gz") else 1) / max(1.0, row_bytes))


def _text_bytes(sample: pa.Table) -> int:
    """Return about how many bytes rows of CSV had: the values, and a mark after each."""
    import pyarrow.compute as pc

    values = sum(pc.sum(pc.binary_length(column)).as_py() or 0 for column in sample.columns)
    return int(values) + sample.num_columns * sample.num_rows
