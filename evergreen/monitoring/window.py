"""The profile of a window: one pass over Arrow batches, in memory that does not grow with rows.

Profiles of parts (files, pods, hours) add up: merging is associative and commutative, exact for
every count, and within rounding for sums.
"""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from evergreen.errors import InputError
from evergreen.monitoring.counts import ColumnCounts, LossSums, PredictionCounts
from evergreen.monitoring.encoding import ColumnEncoder, ScoreTable
from evergreen.monitoring.grid import CodeArray, Grid
from evergreen.monitoring.outputs import OUTPUTS, PredictionCounter
from evergreen.monitoring.profile import Profile
from evergreen.monitoring.reading import mixed
from evergreen.monitoring.reference import comparison_of
from evergreen.monitoring.sample import RowSample
from evergreen.monitoring.scores import ScoreSums

FORMAT: Final = 1
PART: Final = 65_536  # rows that are counted together
THREADS: Final = 4  # parts at most that are counted at once; each takes about 60 MB of 40 columns


@dataclass(frozen=True, eq=False)
class WindowProfile:
    """What a check needs to know of a window.

    ``key`` names the reference that it was counted by; ``absent`` columns of the reference were
    missing in at least one batch, ``unknown`` ones are not in the reference.
    """

    key: str
    rows: int
    columns: Mapping[str, ColumnCounts]
    scores: ScoreSums
    errors: npt.NDArray[np.int64]  # rows per bin of the reconstruction error
    sample: RowSample
    predictions: PredictionCounts
    absent: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()

    def merge(self, other: WindowProfile) -> WindowProfile:
        """Return the profile of both parts together.

        Raises
        ------
        InputError
            If the parts were counted by different references.
        """
        if self.key != other.key:
            raise InputError(
                "Two parts of a window were counted by different references: count both by one."
            )
        return WindowProfile(
            key=self.key,
            rows=self.rows + other.rows,
            columns={n: c.merge(other.columns[n]) for n, c in self.columns.items()},
            scores=self.scores.merge(other.scores),
            errors=self.errors + other.errors,
            sample=self.sample.merge(other.sample),
            predictions=self.predictions.merge(other.predictions),
            absent=tuple(sorted({*self.absent, *other.absent})),
            unknown=tuple(sorted({*self.unknown, *other.unknown})),
        )

    def to_bytes(self) -> bytes:
        """Write the profile as an NPZ archive (no pickles) with a JSON header."""
        arrays: dict[str, npt.NDArray[Any]] = {"errors": self.errors}
        header: dict[str, Any] = {
            "format": FORMAT,
            "key": self.key,
            "rows": self.rows,
            "absent": self.absent,
            "unknown": self.unknown,
        }
        arrays |= {f"scores.{name}": value for name, value in vars(self.scores).items()}
        arrays |= {f"sample.{name}": value for name, value in vars(self.sample).items()}
        plain = []
        for place, (name, counts) in enumerate(self.columns.items()):
            arrays[f"column.{place}"] = counts.bins
            fields = {k: v for k, v in vars(counts).items() if k != "bins"}
            plain.append({"name": name, **fields})
        made = self.predictions
        arrays |= {"labels": made.labels, "sureness": made.sureness}
        for place, bins in enumerate(made.bins.values()):
            arrays[f"output.{place}"] = bins
        header["columns"] = plain
        header["outputs"] = list(made.bins)
        header["predictions"] = {n: getattr(made, n) for n in ("rows", "missing", "unknown")}
        header["loss"] = vars(made.loss)
        arrays["header"] = np.frombuffer(json.dumps(header).encode(), dtype=np.uint8)
        buffer = io.BytesIO()
        np.savez_compressed(buffer, allow_pickle=False, **arrays)
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read what `to_bytes` wrote.

        Raises
        ------
        InputError
            If the bytes are damaged, or of another format.
        """
        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in archive.files}
            header = json.loads(arrays["header"].tobytes())
            if header["format"] != FORMAT:
                raise InputError(f"A window profile has format {header['format']}, not {FORMAT}.")
            return cls._from_parts(header, arrays)
        except (ValueError, KeyError, TypeError, OSError, EOFError, zipfile.BadZipFile) as error:
            raise InputError(f"A window profile is damaged: {error}") from error

    @classmethod
    def _from_parts(cls, header: dict[str, Any], arrays: dict[str, npt.NDArray[Any]]) -> Self:
        columns = {}
        for place, fields in enumerate(header["columns"]):
            name = fields.pop("name")
            columns[name] = ColumnCounts(bins=arrays[f"column.{place}"], **fields)
        outputs = {name: arrays[f"output.{p}"] for p, name in enumerate(header["outputs"])}
        return cls(
            key=header["key"],
            rows=header["rows"],
            columns=columns,
            scores=ScoreSums(*(arrays[f"scores.{n}"] for n in _names(ScoreSums))),
            errors=arrays["errors"],
            sample=RowSample(*(arrays[f"sample.{n}"] for n in _names(RowSample))),
            predictions=PredictionCounts(
                **header["predictions"],
                labels=arrays["labels"],
                bins=outputs,
                sureness=arrays["sureness"],
                loss=LossSums(**header["loss"]),
            ),
            absent=tuple(header["absent"]),
            unknown=tuple(header["unknown"]),
        )


class WindowCounter:
    """Counts batches against a reference; make it once per reference and use it for many windows.

    Batches hold the contract's feature columns by name, and where known ``evergreen.prediction``,
    ``evergreen.probability.LABEL`` and ``evergreen.actual`` (see `evergreen.monitoring.outputs`).

    Raises
    ------
    InputError
        If the profile lacks what windows are compared with (an older format).
    """

    def __init__(self, reference: Profile) -> None:
        comparison = comparison_of(reference)
        self.key = comparison.key
        self._encoders = {column.name: ColumnEncoder(column) for column in comparison.columns}
        structure = comparison.structure
        self._scored = () if structure is None else structure.columns
        self._table = ScoreTable([self._encoders[name] for name in self._scored])
        self._components = None
        self._errors: Grid | None = None
        if structure is not None and structure.components is not None and structure.errors:
            self._components = structure.components.array()
            self._centre = structure.centre.array()
            self._scale = structure.scale.array()
            self._errors = structure.errors.grid()
        self._predictions = PredictionCounter(comparison)

    def empty(self) -> WindowProfile:
        """Return the profile of no rows."""
        return WindowProfile(
            key=self.key,
            rows=0,
            columns={name: encoder.nothing() for name, encoder in self._encoders.items()},
            scores=ScoreSums.empty(len(self._scored)),
            errors=np.zeros(0 if self._errors is None else self._errors.bins, np.int64),
            sample=RowSample.empty(len(self._encoders)),
            predictions=self._predictions.nothing(),
        )

    def count(self, batches: Iterable[pa.RecordBatch | pa.Table]) -> WindowProfile:
        """Profile a window; batches are read one after the other and not kept."""
        with libraries().limit(limits=1, user_api="blas"):  # in products this small, threads wait
            return self._count(batches)

    def _count(self, batches: Iterable[pa.RecordBatch | pa.Table]) -> WindowProfile:
        """Count some parts at once, and merge them in their order."""
        profile = self.empty()
        waiting: deque[Future[WindowProfile]] = deque()
        threads = min(THREADS, len(os.sched_getaffinity(0)))
        with ThreadPoolExecutor(threads) as pool:
            for part in _parts(batches):
                if not part.num_rows:
                    profile = replace(profile, unknown=self._unknown(part, profile.unknown))
                    continue
                waiting.append(pool.submit(self._part, part, profile.sample.below))
                if len(waiting) > threads:
                    profile = profile.merge(waiting.popleft().result())
            for one in waiting:
                profile = profile.merge(one.result())
        return profile

    def _unknown(self, batch: pa.RecordBatch, before: tuple[str, ...] = ()) -> tuple[str, ...]:
        names = {n for n in batch.schema.names if n not in self._encoders}
        return tuple(sorted({*before, *(n for n in names if not n.startswith(OUTPUTS))}))

    def _part(self, batch: pa.RecordBatch, below: int | None) -> WindowProfile:
        rows = batch.num_rows
        found = set(batch.schema.names)
        codes: dict[str, CodeArray] = {}
        counts: dict[str, ColumnCounts] = {}
        hashes = np.zeros(rows, dtype=np.uint64)
        for name, encoder in self._encoders.items():
            column = batch.column(name) if name in found else pa.nulls(rows)
            encoded = encoder.encode(column)
            codes[name], counts[name] = encoded.codes, encoded.counts
            hashes = mixed(hashes, encoded.bits)
        scores, errors = self._structure([codes[name] for name in self._scored])
        return WindowProfile(
            key=self.key,
            rows=rows,
            columns=counts,
            scores=scores,
            errors=errors,
            sample=RowSample.of(hashes, list(codes.values()), below),
            predictions=self._predictions.count(batch),
            absent=tuple(name for name in self._encoders if name not in found),
            unknown=self._unknown(batch),
        )

    def _structure(self, codes: list[CodeArray]) -> tuple[ScoreSums, npt.NDArray[np.int64]]:
        if not codes:
            return ScoreSums.empty(0), np.zeros(0, np.int64)
        scores, present = self._table.scores(codes)
        sums = ScoreSums.of(scores, present)
        if self._errors is None or self._components is None:
            return sums, np.zeros(0, np.int64)
        errors = reconstruction_errors(scores, present, self._centre, self._scale, self._components)
        return sums, self._errors.count(self._errors.codes(errors))


def reconstruction_errors(
    scores: npt.NDArray[np.float32],
    present: npt.NDArray[np.bool_] | None,
    centre: npt.NDArray[np.float32],
    scale: npt.NDArray[np.float32],
    components: npt.NDArray[np.float32],
) -> npt.NDArray[np.float64]:
    """Return each row's distance from the space of the components; missing scores are average."""
    standard = scores - centre
    standard /= scale
    if present is not None:
        standard[~present] = 0
    within = standard @ components
    whole = np.square(standard, out=standard).sum(axis=1, dtype=np.float64)
    part = np.square(within, out=within).sum(axis=1, dtype=np.float64)
    return np.asarray(np.sqrt(np.maximum(whole - part, 0.0)), dtype=np.float64)


def _parts(batches: Iterable[pa.RecordBatch | pa.Table]) -> Iterator[pa.RecordBatch]:
    """Yield batches of at most `PART` rows; an empty one as it is."""
    for given in batches:
        for batch in given.to_batches() if isinstance(given, pa.Table) else [given]:
            for start in range(0, max(1, batch.num_rows), PART):
                yield batch.slice(start, PART)


@cache
def libraries() -> Any:
    """Return the loaded libraries that have threads; to find them takes longer than a window."""
    from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

    return ThreadpoolController()


def _names(kind: Any) -> tuple[str, ...]:
    return tuple(kind.__dataclass_fields__)
