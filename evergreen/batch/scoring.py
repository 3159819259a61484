"""One chunk of a table: judged by the contract, scored, and parted into answers and refusals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from evergreen.batch.columns import Mask, ReadColumn, read_column
from evergreen.batch.settings import BatchConfig
from evergreen.data.contract import Contract
from evergreen.data.sources.streams import TableStream, as_array
from evergreen.errors import InputError
from evergreen.serving.onnx_model import faults
from evergreen.serving.parsing.fields import Field
from evergreen.serving.parsing.tables import TableReader
from evergreen.serving.runtime import Outputs, Runtime
from evergreen.serving.settings import ServingConfig

ROW: Final = "row"  # place in the source, from 0
PREDICTION: Final = "prediction"  # the class in its own type, or the number
LABEL: Final = "label"  # the class as text
PROBABILITY: Final = "probability_"  # followed by the class
VERSION: Final = "model_version"
FLAGS: Final = "flags"
REASONS: Final = "reasons"
NO_ANSWER: Final = "the model has no answer to these values: they are too extreme together"
TEXTS: Final = pa.list_(pa.string())


@dataclass(frozen=True)
class Scored:
    """What came of a chunk."""

    accepted: pa.Table
    rejected: pa.Table
    flagged: int  # accepted rows with flags


@dataclass(frozen=True)
class Layout:
    """Which columns are read, and which are written.

    ``kept`` and ``raw`` lead from a column of the source to the one that is written; ``kept`` stand
    beside predictions, ``raw`` (as text) beside the reasons of refused rows.
    """

    fields: tuple[Field, ...]
    kept: Mapping[str, str]
    raw: Mapping[str, str]
    written: bool
    decimal: str

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that are read."""
        return tuple(self.raw)


def make_layout(
    stream: TableStream, contract: Contract, batch: BatchConfig, settings: ServingConfig
) -> Layout:
    """Settle which columns of a source are read and written.

    Raises
    ------
    InputError
        If a column that the model takes, or one of ``batch.keep``, is absent; or if there is one
        that the contract does not know, and the policy refuses such tables.
    """
    fields = TableReader(contract, settings).fields
    _require(stream, [one.name for one in fields], "the model takes")
    if settings.extra_fields == "reject":
        known = {column.name for column in contract.columns}
        if extra := [name for name in stream.names if name not in known]:
            raise InputError(
                f"The table has columns that the contract does not know: {_listed(extra)}. Leave "
                "them out, or let them be ignored: batch.extra_fields: ignore"
            )
    kept = _kept(stream, contract, batch)
    ours = {ROW, PREDICTION, LABEL, VERSION, FLAGS, REASONS}
    ours |= {f"{PROBABILITY}{label}" for label in contract.labels or ()}

    def named(names: Sequence[str]) -> dict[str, str]:
        return {name: f"input.{name}" if name in ours else name for name in names}

    both = dict.fromkeys([*kept, *(one.name for one in fields)])
    raw = [name for name in stream.names if name in both]
    return Layout(fields, named(kept), named(raw), stream.written, stream.decimal)


def _kept(stream: TableStream, contract: Contract, batch: BatchConfig) -> list[str]:
    if batch.keep == "all":
        return list(stream.names)
    if batch.keep != "keys":
        _require(stream, batch.keep, "batch.keep names")
        return list(dict.fromkeys(batch.keep))
    keys = {one.name for one in contract.columns if one.role not in ("feature", "target")}
    return [name for name in stream.names if name in keys]


def _require(stream: TableStream, names: Sequence[str], who: str) -> None:
    if absent := [name for name in names if name not in stream.names]:
        plural = "columns" if len(absent) > 1 else "column"
        raise InputError(
            f"The table lacks the {plural} {_listed(absent)} that {who}. "
            f"It has: {_listed(stream.names)}."
        )


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(map(repr, names[:20]))
    return f"{shown} and {len(names) - 20} more" if len(names) > 20 else shown


class Scorer:
    """Scores chunks; safe to be used from several threads."""

    def __init__(self, runtime: Runtime, layout: Layout, version: str, types: Any) -> None:
        self._runtime, self._layout, self._version = runtime, layout, version
        self.labels = runtime.contract.labels
        self.schema = self._schema(types)
        names = [pa.field(name, pa.string()) for name in layout.raw.values()]
        self.rejected_schema = pa.schema([(ROW, pa.int64()), (REASONS, TEXTS), *names])

    def _schema(self, types: Mapping[str, Any]) -> pa.Schema:
        fields = [pa.field(ROW, pa.int64())]
        fields += [
            pa.field(name, _plain_type(types[source])) for source, name in self._layout.kept.items()
        ]
        if self.labels is None:
            fields.append(pa.field(PREDICTION, pa.float64()))
        else:
            fields.append(pa.field(PREDICTION, pa.array(list(self.labels)).type))
            fields.append(pa.field(LABEL, pa.string()))
            fields += [pa.field(f"{PROBABILITY}{one}", pa.float64()) for one in self.labels]
        return pa.schema([*fields, pa.field(VERSION, pa.string()), pa.field(FLAGS, TEXTS)])

    def score(self, chunk: pa.Table, first_row: int) -> Scored:
        """Judge and score rows, the first of which is the source's row ``first_row``.

        Raises
        ------
        InputError
            If the model cannot be computed, or a kept column changes its type on the way.
        """
        read = {
            one.name: read_column(
                one,
                chunk[one.name].combine_chunks(),
                written=self._layout.written,
                decimal=self._layout.decimal,
            )
            for one in self._layout.fields
        }
        refused = _refused(read, chunk.num_rows)
        rows = np.flatnonzero(~refused)
        outputs = self._predict(read, rows, chunk.num_rows)
        answerless = np.empty(0, np.int64)
        if outputs is not None:
            finite = _finite(outputs)
            if not finite.all():
                answerless, rows = rows[~finite], rows[finite]
                outputs = _part(outputs, finite)
        flags, flagged = _flags(read, rows, chunk.num_rows)
        return Scored(
            self._accepted(chunk, rows, first_row, outputs, flags),
            self._rejected(chunk, read, np.flatnonzero(refused), answerless, first_row),
            flagged,
        )

    def _predict(
        self, read: Mapping[str, ReadColumn], rows: npt.NDArray[Any], count: int
    ) -> Outputs | None:
        if not len(rows):
            return None
        inputs = {
            name: column.values if len(rows) == count else column.values[rows]
            for name, column in read.items()
        }
        try:
            return self._runtime.predict(inputs)
        except faults() as error:
            raise InputError(f"The model cannot be computed: {error}") from error

    def _accepted(
        self,
        chunk: pa.Table,
        rows: npt.NDArray[Any],
        first_row: int,
        outputs: Outputs | None,
        flags: pa.Array,
    ) -> pa.Table:
        kept = chunk.select(list(self._layout.kept))
        if len(rows) != chunk.num_rows:
            kept = kept.take(pa.array(rows))
        columns: dict[str, Any] = {ROW: pa.array(rows + first_row, pa.int64())}
        for source, name in self._layout.kept.items():
            columns[name] = _as_type(kept[source], self.schema.field(name).type, source)
        columns |= self._answers(outputs)
        columns[VERSION] = pa.repeat(pa.scalar(self._version), len(rows))
        columns[FLAGS] = flags
        return pa.table([columns[name] for name in self.schema.names], schema=self.schema)

    def _answers(self, outputs: Outputs | None) -> dict[str, Any]:
        if outputs is None:
            shares = [f"{PROBABILITY}{one}" for one in self.labels or ()]
            names = [PREDICTION, *([LABEL] if self.labels is not None else []), *shares]
            return {name: pa.array([], self.schema.field(name).type) for name in names}
        kind = self.schema.field(PREDICTION).type
        found: dict[str, Any] = {PREDICTION: pa.array(outputs.predictions, kind)}
        if self.labels is not None:
            found[LABEL] = _as_labels(found[PREDICTION])
        if outputs.probabilities is not None:
            for at, label in enumerate(self.labels or ()):
                share = np.ascontiguousarray(outputs.probabilities[:, at], np.float64)
                found[f"{PROBABILITY}{label}"] = pa.array(share)
        return found

    def _rejected(
        self,
        chunk: pa.Table,
        read: Mapping[str, ReadColumn],
        refused: npt.NDArray[Any],
        answerless: npt.NDArray[Any],
        first_row: int,
    ) -> pa.Table:
        rows = np.sort(np.concatenate([refused, answerless]))
        if not len(rows):
            return self.rejected_schema.empty_table()
        reasons: dict[int, list[str]] = {int(row): [NO_ANSWER] for row in answerless}
        for one in self._layout.fields:
            for row, text in _reasons(one, read[one.name]):
                reasons.setdefault(row, []).append(f"{one.name}: {text}")
        part = chunk.take(pa.array(rows))
        columns = [
            pa.array(rows + first_row, pa.int64()),
            pa.array([reasons[row] for row in rows.tolist()], TEXTS),
            *(_as_texts(part[name]) for name in self._layout.raw),
        ]
        return pa.table(columns, schema=self.rejected_schema)


def _refused(read: Mapping[str, ReadColumn], count: int) -> Mask:
    refused = np.zeros(count, np.bool_)
    for column in read.values():
        for breach in column.breaches:
            if breach.refused:
                refused |= breach.rows
        if column.unfit:
            refused[list(column.unfit)] = True
    return refused


def _reasons(one: Field, column: ReadColumn) -> list[tuple[int, str]]:
    found = list(column.unfit.items())
    for breach in column.breaches:
        if breach.refused:
            found += [
                (row, one.reason(breach.name, column.values[row]))
                for row in np.flatnonzero(breach.rows).tolist()
            ]
    return found


def _finite(outputs: Outputs) -> Mask:
    if outputs.probabilities is not None:
        return np.asarray(np.isfinite(outputs.probabilities).all(axis=1))
    return np.isfinite(outputs.predictions.astype(np.float64))


def _part(outputs: Outputs, rows: Mask) -> Outputs:
    shares = outputs.probabilities
    return Outputs(
        outputs.predictions[rows], None if shares is None else shares[rows], outputs.labels
    )


def _flags(
    read: Mapping[str, ReadColumn], rows: npt.NDArray[Any], count: int
) -> tuple[pa.Array, int]:
    """Return the flags of each accepted row (``flag:column``), and how many rows have any."""
    names: list[str] = []
    places: list[npt.NDArray[Any]] = []
    for name, column in read.items():
        for breach in column.breaches:
            if not breach.refused and breach.rows.any():
                mask = breach.rows if len(rows) == count else breach.rows[rows]
                names.append(f"{breach.name}:{name}")
                places.append(np.flatnonzero(mask))
    where = np.concatenate(places) if places else np.empty(0, np.int64)
    codes = np.repeat(np.arange(len(names)), [len(place) for place in places])
    counts = np.bincount(where, minlength=len(rows))
    offsets = np.zeros(len(rows) + 1, np.int32)
    np.cumsum(counts, out=offsets[1:])
    values = pa.array(names, pa.string()).take(pa.array(codes[np.argsort(where, kind="stable")]))
    return pa.ListArray.from_arrays(pa.array(offsets), values), int(np.count_nonzero(counts))


def _as_labels(predictions: pa.Array) -> pa.Array:
    """Write classes as text."""
    if pa.types.is_string(predictions.type):
        return predictions
    encoded = predictions.dictionary_encode()
    texts = pa.array([str(label) for label in encoded.dictionary.to_pylist()], pa.string())
    return texts.take(encoded.indices)


def _plain_type(kind: Any) -> Any:
    """Return the type that a kept column is written with."""
    if pa.types.is_dictionary(kind):
        return _plain_type(kind.value_type)
    return pa.string() if pa.types.is_null(kind) or pa.types.is_large_string(kind) else kind


def _as_type(column: pa.ChunkedArray, kind: Any, name: str) -> pa.ChunkedArray:
    if column.type == kind:
        return column
    try:
        return column.cast(kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise InputError(
            f"The column {name!r} holds {kind} at first and {column.type} later on, so it cannot "
            "stand beside the predictions. Leave it out of batch.keep, or make it one type at the "
            "source."
        ) from error


def _as_texts(column: pa.ChunkedArray) -> pa.Array:
    try:
        return pc.cast(column, pa.string()).combine_chunks()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):  # bytes that are no text, nested values
        texts = [None if value is None else str(value) for value in column.to_pylist()]
        return as_array(texts).cast(pa.string())
