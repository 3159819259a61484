"""One pass over a window: counted, checked against the contract, sampled, judged."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from evergreen.config import UseCase
from evergreen.data.contract import Contract
from evergreen.monitoring.counts import LossSums
from evergreen.monitoring.decision import WindowLoss
from evergreen.monitoring.history import ObservedWindow, QualityFinding
from evergreen.monitoring.judge import judge_window
from evergreen.monitoring.outputs import PredictionCounter
from evergreen.monitoring.profile import Profile
from evergreen.monitoring.reference import comparison_of
from evergreen.monitoring.segments import Segments
from evergreen.monitoring.settings import MonitoringConfig
from evergreen.monitoring.verdict import WindowVerdict
from evergreen.monitoring.window import WindowCounter, WindowProfile
from evergreen.monitoring.window_quality import QualityTally, is_serious
from evergreen.monitoring.window_source import LogRows, Piece, Span, TableRows, WindowRows

SAMPLE_ROWS = 5000  # that are drawn for pictures; verdicts look at all rows


@dataclass(frozen=True)
class Reference:
    """What windows are judged by: a version, its contract and its profile.

    ``note`` says so where the profile is not that of the version's bundle.
    """

    version: str
    contract: Contract
    profile: Profile
    note: str | None = None

    @property
    def predictions(self) -> PredictionCounter:
        """Return what counts predictions by this reference."""
        return PredictionCounter(comparison_of(self.profile))


@dataclass(frozen=True)
class CheckedWindow:
    """A judged window, an even sample of its rows to draw, and what it was judged by."""

    observed: ObservedWindow
    sample: pa.Table
    reference: Reference


def check_log(rows: LogRows, span: Span, reference: Reference, use_case: UseCase) -> CheckedWindow:
    """Judge logged predictions; performance by the labels that came since the last verdict on it.

    Raises
    ------
    UnreachableError
        If the log cannot be read.
    InputError
        If the reference lacks what windows are compared with (an older format).
    """
    started = time.monotonic()
    gathered = _Gathered(reference, use_case)
    profile = gathered.count(rows)
    labels = LossSums()
    for batch in rows.labels():
        labels = labels.merge(reference.predictions.count(batch).loss)
    judged = replace(profile, predictions=replace(profile.predictions, loss=labels))
    notes = [*span.notes, *([] if reference.note is None else [reference.note])]
    if others := rows.others():
        notes.append(f"{others} rows that other versions answered are left out.")
    if not profile.rows and span.fresh:
        verdict = _nothing_new(span)
    else:
        verdict = judge_window(reference.profile, judged, gathered.config(rows))
    observed = gathered.observed("log", rows, profile, verdict, notes)
    update = {"labels_until": span.until, "seconds": time.monotonic() - started}
    return CheckedWindow(observed.model_copy(update=update), gathered.sample.table(), reference)


def check_table(rows: TableRows, reference: Reference, use_case: UseCase) -> CheckedWindow:
    """Judge a table; performance by its target, where it has one.

    Raises
    ------
    InputError
        If the table cannot be used, or the reference is of an older format.
    UnreachableError
        If the source does not answer.
    """
    started = time.monotonic()
    gathered = _Gathered(reference, use_case)
    profile = gathered.count(rows)
    verdict = judge_window(reference.profile, profile, gathered.config(rows))
    observed = gathered.observed("table", rows, profile, verdict, [])
    update = {"content": rows.content, "seconds": time.monotonic() - started}
    return CheckedWindow(observed.model_copy(update=update), gathered.sample.table(), reference)


class _Gathered:
    """What one pass over the rows gathers."""

    def __init__(self, reference: Reference, use_case: UseCase) -> None:
        self.sample = EvenSample(SAMPLE_ROWS, use_case.training.seed)
        self._reference, self._use_case = reference, use_case
        self._segments = Segments(reference.profile, use_case.monitoring)
        self._quality = QualityTally(reference.contract, use_case.quality)
        self._first: datetime | None = None
        self._last: datetime | None = None

    def count(self, rows: WindowRows) -> WindowProfile:
        """Count every row once."""
        profile = WindowCounter(self._reference.profile).count(self._watched(rows))
        columns = dict(profile.columns)
        for name, unfit in self._quality.unfit.items():
            # What cannot be read came as missing; the verdict tells the two apart.
            counts = columns[name]
            columns[name] = replace(
                counts, missing=counts.missing - unfit, unreadable=counts.unreadable + unfit
            )
        unknown = tuple(sorted({*profile.unknown, *rows.unknown}))
        return replace(profile, columns=columns, unknown=unknown)

    def _watched(self, rows: WindowRows) -> Iterator[pa.RecordBatch]:
        for piece in rows.pieces():
            self._quality.add(piece.columns)
            self.sample.add(piece.batch)
            self._segments.add(piece.batch)
            self._see(piece)
            yield piece.batch

    def _see(self, piece: Piece) -> None:
        if piece.times is None or not len(piece.times):
            return
        first, last = _utc(piece.times.min()), _utc(piece.times.max())
        self._first = first if self._first is None else min(first, self._first)
        self._last = last if self._last is None else max(last, self._last)

    def config(self, rows: WindowRows) -> MonitoringConfig:
        """Return the policy, without columns whose values the log must not keep."""
        config = self._use_case.monitoring
        return config.model_copy(update={"ignore": (*config.ignore, *sorted(rows.redacted))})

    def observed(
        self,
        source: str,
        rows: WindowRows,
        profile: WindowProfile,
        verdict: WindowVerdict,
        notes: Sequence[str],
    ) -> ObservedWindow:
        """Bring everything together."""
        quality = self._quality.findings(profile.rows)
        more = list(notes)
        if rows.redacted:
            names = ", ".join(map(repr, sorted(rows.redacted)))
            more.append(f"Columns that the log does not keep are not compared: {names}.")
        segments = self._segments.verdicts()
        for one in segments:
            if one.verdict.alarm:
                more.append(f"Within {one.column} = {one.value}: {one.verdict.reasons[0]}")
        loss = profile.predictions.loss
        return ObservedWindow.model_validate(
            {
                "use_case": self._use_case.name,
                "version": self._reference.version,
                "source": source,
                "place": rows.place,
                "first": self._first,
                "last": self._last,
                "rows": profile.rows,
                "loss": WindowLoss(rows=loss.rows, total=loss.total, squares=loss.squares),
                "verdict": _with_quality(verdict, quality, more),
                "quality": quality,
                "segments": segments,
            }
        )


def _with_quality(
    verdict: WindowVerdict, quality: Sequence[QualityFinding], notes: Sequence[str]
) -> WindowVerdict:
    """Let broken promises call a person: a model is not retrained on rows that are wrong."""
    broken = tuple(f"Data quality: {one.reason}" for one in quality if is_serious(one))
    quiet = not verdict.alarm and not verdict.unmeasurable and not verdict.too_few
    return verdict.model_copy(
        update={
            "unmeasurable": (*verdict.unmeasurable, *broken),
            "reasons": (*broken, *(() if broken and quiet else verdict.reasons)),
            "notes": (*verdict.notes, *notes),
        }
    )


def _nothing_new(span: Span) -> WindowVerdict:
    since = "No row of this version came yet"
    if span.since is not None:
        since = f"No row came since the end of the last window, {span.since:%Y-%m-%d %H:%M:%S} UTC"
    return WindowVerdict(
        rows=0,
        labelled=0,
        alarm=False,
        families=(),
        too_few=True,
        reasons=(f"{since}: nothing was judged.",),
    )


class EvenSample:
    """At most n rows of a stream, each with the same chance (those that drew the least number)."""

    def __init__(self, rows: int, seed: int) -> None:
        self._rows, self._random = rows, np.random.default_rng(seed)
        self._parts: list[pa.Table] = []
        self._drawn: list[npt.NDArray[np.float64]] = []
        self._bound = np.inf

    def add(self, batch: pa.RecordBatch) -> None:
        """Take a batch."""
        drawn = self._random.random(batch.num_rows)
        chosen = np.flatnonzero(drawn <= self._bound)
        if not len(chosen):
            return
        self._parts.append(pa.Table.from_batches([batch]).take(pa.array(chosen)))
        self._drawn.append(drawn[chosen])
        if sum(map(len, self._drawn)) > 4 * self._rows:
            self._shrink()

    def table(self) -> pa.Table:
        """Return the sample."""
        self._shrink()
        return self._parts[0] if self._parts else pa.table({})

    def _shrink(self) -> None:
        if not self._parts:
            return
        table = pa.concat_tables(self._parts, promote_options="permissive")
        drawn = np.concatenate(self._drawn)
        if len(drawn) > self._rows:
            kept = np.sort(np.argpartition(drawn, self._rows)[: self._rows])
            table, drawn = table.take(pa.array(kept)), drawn[kept]
            self._bound = float(drawn.max())
        self._parts, self._drawn = [table], [drawn]


def _utc(moment: np.datetime64) -> datetime:
    """Return a moment, at the ends of the calendar where Python's own type lacks it."""
    micros = int(moment.astype("datetime64[us]").astype(np.int64))
    low, high = -62_135_596_800_000_000, 253_402_300_799_999_999  # the years 1 and 9999
    return datetime.fromtimestamp(0, UTC) + timedelta(microseconds=min(max(micros, low), high))
