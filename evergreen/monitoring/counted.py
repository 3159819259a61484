"""What one pass over a window's rows gathers; that of its parts adds up.

Whatever a verdict goes by is exact under merging, sums within rounding; so a window that several
processes counted is judged as if one had counted it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from evergreen.config import UseCase
from evergreen.data.contract import Contract
from evergreen.data.sources.streams import changed_meanwhile
from evergreen.monitoring.outputs import PredictionCounter
from evergreen.monitoring.profile import Profile
from evergreen.monitoring.reference import comparison_of
from evergreen.monitoring.segments import Segments
from evergreen.monitoring.window import WindowCounter, WindowProfile
from evergreen.monitoring.window_quality import Broken, QualityTally
from evergreen.monitoring.window_source import Piece, WindowRows

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


@dataclass(frozen=True, eq=False)
class DrawnRows:
    """Rows that were drawn, and the number that each drew; those with the least are kept."""

    table: pa.Table
    draws: npt.NDArray[np.float64]

    def merge(self, other: DrawnRows) -> DrawnRows:
        """Return what would have been drawn from both together."""
        if not len(self.draws) or not len(other.draws):
            return self if len(self.draws) else other
        table = pa.concat_tables([self.table, other.table], promote_options="permissive")
        return DrawnRows(table, np.concatenate([self.draws, other.draws])).least(SAMPLE_ROWS)

    def least(self, rows: int) -> DrawnRows:
        """Return at most so many."""
        if len(self.draws) <= rows:
            return self
        kept = np.sort(np.argpartition(self.draws, rows)[:rows])
        return DrawnRows(self.table.take(pa.array(kept)), self.draws[kept])


@dataclass(frozen=True, eq=False)
class CountedWindow:
    """A window, or a part of one, of which every row was counted once.

    ``segments`` are the profiles of the groups of ``monitoring.segments``, in their order;
    ``content`` is a digest by which the same table is known again.
    """

    profile: WindowProfile
    drawn: DrawnRows
    broken: Broken
    segments: tuple[WindowProfile, ...]
    place: str  # in words, without secrets
    redacted: frozenset[str] = frozenset()  # columns whose values were not kept
    content: str | None = None
    first: datetime | None = None
    last: datetime | None = None

    def merge(self, other: CountedWindow) -> CountedWindow:
        """Return both parts together.

        Raises
        ------
        InputError
            If they are of different tables, or were counted by different references.
        """
        if self.content != other.content:
            raise changed_meanwhile(self.place)
        firsts = [each.first for each in (self, other) if each.first is not None]
        lasts = [each.last for each in (self, other) if each.last is not None]
        return CountedWindow(
            profile=self.profile.merge(other.profile),
            drawn=self.drawn.merge(other.drawn),
            broken=self.broken + other.broken,
            segments=tuple(
                ours.merge(theirs)
                for ours, theirs in zip(self.segments, other.segments, strict=True)
            ),
            place=self.place,
            redacted=self.redacted | other.redacted,
            content=self.content,
            first=min(firsts, default=None),
            last=max(lasts, default=None),
        )


def count_window(
    rows: WindowRows, reference: Reference, use_case: UseCase, part: int = 0
) -> CountedWindow:
    """Count every row once, by contract and profile of a reference.

    ``part`` is the number of the part that the rows are: each draws numbers of its own.

    Raises
    ------
    InputError
        If the rows cannot be used, or the profile is of an older format.
    UnreachableError
        If their source does not answer.
    """
    pass_over = _Pass(reference, use_case, part)
    counted = WindowCounter(reference.profile).count(pass_over.watched(rows))
    return CountedWindow(
        profile=_unreadable_told_apart(counted, pass_over.quality.unfit, rows),
        drawn=pass_over.sample.drawn(),
        broken=pass_over.quality.broken,
        segments=pass_over.segments.profiles(),
        place=rows.place,
        redacted=frozenset(rows.redacted),
        content=rows.content,
        first=pass_over.first,
        last=pass_over.last,
    )


def _unreadable_told_apart(
    profile: WindowProfile, unfit: Mapping[str, int], rows: WindowRows
) -> WindowProfile:
    """Take what cannot be read, and came as missing, out of what is missing."""
    columns = dict(profile.columns)
    for name, count in unfit.items():
        counts = columns[name]
        columns[name] = replace(
            counts, missing=counts.missing - count, unreadable=counts.unreadable + count
        )
    unknown = tuple(sorted({*profile.unknown, *rows.unknown}))
    return replace(profile, columns=columns, unknown=unknown)


class _Pass:
    """Looks at the pieces of a window while they are counted."""

    def __init__(self, reference: Reference, use_case: UseCase, part: int) -> None:
        seed = use_case.training.seed
        self.sample = EvenSample(SAMPLE_ROWS, seed if part == 0 else (seed, part))
        self.segments = Segments(reference.profile, use_case.monitoring)
        self.quality = QualityTally(reference.contract)
        self.first: datetime | None = None
        self.last: datetime | None = None

    def watched(self, rows: WindowRows) -> Iterator[pa.RecordBatch]:
        for piece in rows.pieces():
            self.quality.add(piece.columns)
            self.sample.add(piece.batch)
            self.segments.add(piece.batch)
            self._see(piece)
            yield piece.batch

    def _see(self, piece: Piece) -> None:
        if piece.times is None or not len(piece.times):
            return
        first, last = _utc(piece.times.min()), _utc(piece.times.max())
        self.first = first if self.first is None else min(first, self.first)
        self.last = last if self.last is None else max(last, self.last)


class EvenSample:
    """At most n rows of a stream, each with the same chance (those that drew the least number)."""

    def __init__(self, rows: int, seed: int | tuple[int, int]) -> None:
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
            kept = self.drawn()
            self._parts, self._drawn = [kept.table], [kept.draws]
            self._bound = float(kept.draws.max())

    def drawn(self) -> DrawnRows:
        """Return the sample."""
        if not self._parts:
            return DrawnRows(pa.table({}), np.zeros(0))
        table = pa.concat_tables(self._parts, promote_options="permissive")
        return DrawnRows(table, np.concatenate(self._drawn)).least(self._rows)


def _utc(moment: np.datetime64) -> datetime:
    """Return a moment, at the ends of the calendar where Python's own type lacks it."""
    micros = int(moment.astype("datetime64[us]").astype(np.int64))
    low, high = -62_135_596_800_000_000, 253_402_300_799_999_999  # the years 1 and 9999
    return datetime.fromtimestamp(0, UTC) + timedelta(microseconds=min(max(micros, low), high))
