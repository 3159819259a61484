"""The rows of a window, piece by piece: from the prediction log, or from a table.

Every piece is read as the API reads requests, so that a value means the same wherever it came from.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from evergreen.batch.columns import ReadColumn, read_column
from evergreen.data.contract import Contract
from evergreen.data.source_config import Source
from evergreen.data.sources import describe_source
from evergreen.data.sources.streams import TableStream, evenly, known_rows, open_stream, share
from evergreen.errors import InputError
from evergreen.monitoring.history import MonitoredWindow
from evergreen.monitoring.outputs import window_batch
from evergreen.monitoring.settings import WindowConfig
from evergreen.serving.onnx_model import faults
from evergreen.serving.parsing.fields import Field
from evergreen.serving.parsing.tables import TableReader
from evergreen.serving.prediction_history import PredictionHistory
from evergreen.serving.prediction_history import Window as LoggedRows
from evergreen.serving.runtime import Outputs, Runtime
from evergreen.serving.settings import ServingConfig

PIECE_ROWS: Final = 65_536
MOST_LABELS: Final = 50_000  # the newest labels that a verdict on performance looks at
_TICK: Final = timedelta(microseconds=1)


@dataclass(frozen=True)
class Piece:
    """Some rows of a window.

    ``batch`` is what `evergreen.monitoring.window.WindowCounter` counts; ``columns`` are the
    features that are there, as they were read; ``times`` are datetime64[us] in UTC where known.
    """

    batch: pa.RecordBatch
    columns: Mapping[str, ReadColumn]
    times: npt.NDArray[np.datetime64] | None = None


class WindowRows(Protocol):
    """Where a window's rows come from. After `pieces` ended, the other attributes hold."""

    place: str  # in words, without secrets
    redacted: set[str]  # columns whose values were not kept
    unknown: tuple[str, ...]  # columns that training did not know
    content: str | None  # digest by which the same rows are known again, where anything tells

    def pieces(self) -> Iterator[Piece]:
        """Yield the rows, in any order."""
        ...


@dataclass(frozen=True)
class Span:
    """Which logged rows make the next window: after ``since``, before ``until``, the newest.

    ``labels_since`` is the moment up to which labels had their say already.
    """

    until: datetime
    since: datetime | None = None
    rows: int | None = None
    labels_since: datetime | None = None
    fresh: bool = False  # whether no row may have come yet, since the window before
    notes: tuple[str, ...] = ()


def next_span(
    config: WindowConfig,
    before: Sequence[MonitoredWindow],
    version: str,
    now: datetime,
    asked: timedelta | None = None,
) -> Span:
    """Choose the next window of a version's predictions: what came since the last judged one.

    So no row is judged twice, and an alarm never confirms itself. ``asked`` is a time span that
    somebody wants to see whatever was judged before.
    """
    mine = [w for w in before if w.source == "log" and w.version == version]
    heard = [w.labels_until for w in mine if w.labels_until and w.verdict.measured is not None]
    labels = next((moment for moment in heard if moment <= now), None)
    if asked is not None:
        return Span(until=now, since=now - asked, labels_since=labels)
    floor = None if config.span is None else now - config.span
    ends = [w.last for w in mine if w.last is not None and not w.verdict.too_few]
    last = ends[0] if ends else None
    if last is not None and last > now:
        note = (
            f"The clock went back: the last window ended at {_shown(last)}, which is yet to come. "
            "The newest rows up to now are judged; some may have been judged before."
        )
        return Span(now, floor, config.rows, labels, notes=(note,))
    if last is None:
        # A version that just took over from one with traffic may have none yet.
        took_over = any(w.source == "log" and w.last is not None for w in before)
        return Span(now, floor, config.rows, labels, fresh=took_over)
    if floor is not None and floor > last:
        return Span(now, floor, config.rows, labels)
    return Span(now, last + _TICK, config.rows, labels, fresh=True)


class LogRows:
    """One version's predictions in the prediction log; shadows are left out."""

    def __init__(
        self,
        history: PredictionHistory,
        settings: ServingConfig,
        place: str,
        version: str,
        span: Span,
    ) -> None:
        self.place = place
        self.redacted: set[str] = set()
        self.unknown: tuple[str, ...] = ()
        self.content: str | None = None
        self._history, self._version, self._span = history, version, span
        self._fields = TableReader(history.contract, settings).fields

    def pieces(self) -> Iterator[Piece]:
        """Yield the window's rows, the newest first."""
        span = self._span
        for rows in self._history.parts(
            since=span.since, until=span.until, last=span.rows, version=self._version
        ):
            self.redacted.update(rows.redacted)
            yield self._piece(rows)

    def labels(self) -> Iterator[pa.RecordBatch]:
        """Yield predictions of this version whose truth came since the last verdict on them."""
        parts = self._history.parts(
            version=self._version,
            last=MOST_LABELS,
            labelled=True,
            labelled_since=self._span.labels_since,
        )
        return (outputs_of(self._history.contract, rows) for rows in parts)

    def others(self) -> int:
        """Return how many rows of the span other versions answered."""
        span = self._span
        count = self._history.count
        everything = count(since=span.since, until=span.until)
        return everything - count(since=span.since, until=span.until, version=self._version)

    def _piece(self, rows: LoggedRows) -> Piece:
        columns = {
            one.name: ReadColumn(values, tuple(one.breaches(values)), {})
            for one in self._fields
            for values in (rows.inputs[one.name],)
            if one.name not in rows.redacted
        }
        batch = window_batch(
            self._history.contract,
            {name: column.values for name, column in columns.items()},
            predictions=rows.predictions,
            probabilities=rows.probabilities,
            actual=rows.actual,
        )
        return Piece(batch, columns, rows.times)


def outputs_of(contract: Contract, rows: LoggedRows) -> pa.RecordBatch:
    """Return predictions and truth alone."""
    return window_batch(
        contract,
        {},
        predictions=rows.predictions,
        probabilities=rows.probabilities,
        actual=rows.actual,
    )


@dataclass
class TableRows:
    """The rows of a table from any source; the model predicts them, where they have its columns.

    ``content`` is a digest by which the same table is known again, None where nothing tells.
    ``part`` is which part is meant (from 0), and of how many.

    Raises
    ------
    InputError
        If the source holds no usable table, or one without any column that the model takes; if a
        part is asked of a source that does not say beforehand how many rows it has.
    UnreachableError
        If the source does not answer.
    """

    source: Source
    runtime: Runtime
    settings: ServingConfig
    environ: Mapping[str, str] | None = None
    part: tuple[int, int] = (0, 1)
    redacted: set[str] = field(default_factory=set)
    unknown: tuple[str, ...] = ()
    content: str | None = None

    def __post_init__(self) -> None:
        self.place = describe_source(self.source)

    def pieces(self) -> Iterator[Piece]:
        """Yield the rows in their order."""
        with closing(open_stream(self.source, self.environ, piece_rows=PIECE_ROWS)) as stream:
            contract = self.runtime.contract
            fields = [
                one
                for one in TableReader(contract, self.settings).fields
                if one.name in stream.names
            ]
            if not fields:
                raise InputError(
                    f"{self.place} has none of the columns that the model takes: "
                    f"{_listed([column.name for column in contract.features])}. "
                    f"It has: {_listed(stream.names)}."
                )
            known = {column.name for column in contract.columns}
            self.unknown = tuple(name for name in stream.names if name not in known)
            if stream.proven:
                self.content = _digest(self.source, stream)
            extra = [c.name for c in contract.columns if c.role in ("target", "timestamp")]
            names = [one.name for one in fields]
            names += [name for name in extra if name in stream.names and name not in names]
            start, pieces = self._share(stream)
            for table in islice(evenly(stream.read(names, start), PIECE_ROWS), pieces):
                yield self._piece(table, fields, stream)

    def _share(self, stream: TableStream) -> tuple[int, int | None]:
        """Return the first row of the part, and how many pieces it has; None: all."""
        number, of = self.part
        if of == 1:
            return 0, None
        rows = known_rows(stream, self.place, "monitoring.partitions")
        first, last = share(number, of, -(-rows // PIECE_ROWS))
        return first * PIECE_ROWS, last - first

    def _piece(self, table: pa.Table, fields: Sequence[Field], stream: TableStream) -> Piece:
        contract = self.runtime.contract
        columns = {
            one.name: _with_infinities(
                read_column(
                    one,
                    _column(table, one.name),
                    written=stream.written,
                    decimal=stream.decimal,
                ),
                _column(table, one.name),
            )
            for one in fields
        }
        whole = len(fields) == len(contract.features)
        outputs, answered = self._predict(columns, table.num_rows) if whole else (None, None)
        predictions, probabilities = _spread(outputs, answered, table.num_rows, contract)
        batch = window_batch(
            contract,
            {name: column.values for name, column in columns.items()},
            predictions=predictions,
            probabilities=probabilities,
            actual=_actual(table, contract),
        )
        return Piece(batch, columns, _times(table, contract))

    def _predict(
        self, columns: Mapping[str, ReadColumn], count: int
    ) -> tuple[Outputs | None, npt.NDArray[Any]]:
        """Predict the rows that the API would take."""
        refused = np.zeros(count, np.bool_)
        for column in columns.values():
            refused[list(column.unfit)] = True
            for breach in column.breaches:
                if breach.refused:
                    refused |= breach.rows
        rows = np.flatnonzero(~refused)
        if not len(rows):
            return None, rows
        try:
            found = self.runtime.predict({n: column.values[rows] for n, column in columns.items()})
        except faults() as error:
            raise InputError(f"The model cannot be computed on {self.place}: {error}") from error
        return found, rows


def _column(table: pa.Table, name: str) -> pa.Array:
    if name not in table.column_names:  # a piece may lack some
        return pa.nulls(table.num_rows)
    found = table[name].combine_chunks()
    return pa.concat_arrays(found.chunks) if isinstance(found, pa.ChunkedArray) else found


def _with_infinities(read: ReadColumn, column: pa.Array) -> ReadColumn:
    """Keep infinities, which no model takes, as what they are: they are counted by themselves."""
    if not pa.types.is_floating(column.type) or read.values.dtype != np.float64:
        return read
    raw = np.asarray(column.cast(pa.float64()).to_numpy(zero_copy_only=False))
    infinite = np.isinf(raw)
    if not infinite.any():
        return read
    values = read.values.copy()
    values[infinite] = raw[infinite]
    return ReadColumn(values, read.breaches, read.unfit)


def _spread(
    outputs: Outputs | None, rows: npt.NDArray[Any] | None, count: int, contract: Contract
) -> tuple[npt.NDArray[Any] | None, npt.NDArray[np.float64] | None]:
    """Return predictions for all rows, missing where the API would refuse them."""
    if rows is None:
        return None, None
    regression = contract.labels is None
    predictions: npt.NDArray[Any] = np.full(count, np.nan if regression else None, dtype=object)
    probabilities = None
    if outputs is not None:
        predictions[rows] = outputs.predictions
        if outputs.probabilities is not None:
            probabilities = np.full((count, len(contract.labels or ())), np.nan)
            probabilities[rows] = outputs.probabilities
    return (predictions.astype(np.float64) if regression else predictions), probabilities


def _actual(table: pa.Table, contract: Contract) -> npt.NDArray[Any] | None:
    """Return the truth as the contract's labels or numbers, missing where it cannot be read."""
    if contract.target not in table.column_names:
        return None
    import pandas as pd

    from evergreen.data.casting import as_number
    from evergreen.data.conform import as_label

    values = pd.Series(table[contract.target].to_pylist(), dtype=object)
    if contract.labels is None:
        return np.asarray(as_number(values), dtype=np.float64)
    found = np.empty(len(values), dtype=object)
    found[:] = as_label(values, contract).tolist()
    return found


def _times(table: pa.Table, contract: Contract) -> npt.NDArray[np.datetime64] | None:
    from evergreen.monitoring.reading import read_moments

    names = [c.name for c in contract.columns if c.role == "timestamp"]
    if not names or names[0] not in table.column_names:
        return None
    seconds, _ = read_moments(_column(table, names[0]))
    micros = np.round(seconds[np.isfinite(seconds)] * 1e6).astype(np.int64)
    return micros.view("datetime64[us]")


def _digest(source: Source, stream: TableStream) -> str:
    told = {"from": describe_source(source), **stream.fingerprint}
    return hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(map(repr, names[:10]))
    return f"{shown} and {len(names) - 10} more" if len(names) > 10 else shown


def _shown(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
