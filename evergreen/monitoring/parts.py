"""A window counted in parts, by processes that need not share a machine, and judged as one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import reduce
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow.parquet as pq

from evergreen.config import UseCase
from evergreen.monitoring.accepted import reference_in_force
from evergreen.monitoring.counted import CountedWindow, DrawnRows, count_window
from evergreen.monitoring.monitor import (
    log_in_use,
    log_rows,
    reference_of,
    span_to_judge,
    table_rows,
    timed,
)
from evergreen.monitoring.window import WindowProfile
from evergreen.monitoring.window_check import CheckedWindow, check_log, check_table
from evergreen.monitoring.window_source import Span
from evergreen.paths import Home
from evergreen.serving.prediction_history import PredictionHistory
from evergreen.values import Value

FACTS: Final = "part.json"
SAMPLE: Final = "sample.parquet"
DRAWS: Final = "draws.npy"
WINDOW: Final = "window.npz"


class WindowPlan(Value):
    """How a window is divided. Of the log: what it is, and its shares, the newest first."""

    begun: datetime
    span: Span | None = None
    shares: tuple[Span, ...] = ()


class PartFacts(Value):
    """What a counted part is, beside its files."""

    place: str
    redacted: frozenset[str]
    content: str | None
    first: datetime | None
    last: datetime | None
    broken: tuple[tuple[str, str, int], ...]
    segments: int


@dataclass(frozen=True)
class CountedPart:
    """A counted part: a folder of files without pickles."""

    folder: Path

    @classmethod
    def write(cls, counted: CountedWindow, folder: Path) -> CountedPart:
        """Write a part into an existing, empty folder."""
        (folder / WINDOW).write_bytes(counted.profile.to_bytes())
        for number, profile in enumerate(counted.segments):
            (folder / _segment(number)).write_bytes(profile.to_bytes())
        pq.write_table(counted.drawn.table, folder / SAMPLE, compression="zstd")
        np.save(folder / DRAWS, counted.drawn.draws, allow_pickle=False)
        facts = PartFacts(
            place=counted.place,
            redacted=counted.redacted,
            content=counted.content,
            first=counted.first,
            last=counted.last,
            broken=tuple((*key, rows) for key, rows in sorted(counted.broken.items())),
            segments=len(counted.segments),
        )
        (folder / FACTS).write_text(facts.model_dump_json(), encoding="utf-8")
        return cls(folder)

    def read(self) -> CountedWindow:
        """Return what was counted.

        Raises
        ------
        InputError
            If a file is damaged.
        """
        facts = PartFacts.model_validate_json((self.folder / FACTS).read_text(encoding="utf-8"))
        names = [_segment(number) for number in range(facts.segments)]
        return CountedWindow(
            profile=WindowProfile.from_bytes((self.folder / WINDOW).read_bytes()),
            drawn=DrawnRows(
                pq.read_table(self.folder / SAMPLE),
                np.load(self.folder / DRAWS, allow_pickle=False),
            ),
            broken=Counter({(check, name): rows for check, name, rows in facts.broken}),
            segments=tuple(
                WindowProfile.from_bytes((self.folder / name).read_bytes()) for name in names
            ),
            place=facts.place,
            redacted=facts.redacted,
            content=facts.content,
            first=facts.first,
            last=facts.last,
        )


def plan_window(
    use_case: UseCase,
    bundle: Path,
    version: str,
    home: Home,
    *,
    asked: timedelta | None = None,
    now: datetime | None = None,
) -> WindowPlan:
    """Choose the window as `evergreen.monitoring.monitor.observe` does, and divide it.

    Raises as that does.
    """
    reference = reference_of(bundle, version)
    begun = datetime.now(UTC)
    if use_case.monitoring.source is not None:
        return WindowPlan(begun=begun)
    with log_in_use(use_case, reference, home) as (log, history):
        _, span = span_to_judge(use_case, reference, log, history, asked, now or begun)
        return WindowPlan(begun=begun, span=span, shares=_shares(log, span, version, use_case))


def count_part(
    use_case: UseCase, bundle: Path, version: str, home: Home, plan: WindowPlan, number: int
) -> CountedWindow:
    """Count the part of this number (from 0); raises as `observe` does."""
    reference = reference_of(bundle, version)
    if (source := use_case.monitoring.source) is not None:
        rows = table_rows(source, use_case, bundle, version)
        rows.part = (number, use_case.monitoring.partitions)
        return count_window(rows, reference, use_case, number)
    with log_in_use(use_case, reference, home) as (log, history):
        reference = reference_in_force(reference, history, log, use_case.monitoring)
        logged = log_rows(use_case, log, reference, home, plan.shares[number])
        return count_window(logged, reference, use_case, number)


def judge_parts(
    use_case: UseCase,
    bundle: Path,
    version: str,
    home: Home,
    plan: WindowPlan,
    parts: Sequence[CountedWindow],
) -> CheckedWindow:
    """Judge the window whose parts these are.

    Raises
    ------
    InputError
        If they are parts of different tables, or the reference changed while they were counted.
    UnreachableError
        If log or history do not answer.
    """
    counted = reduce(CountedWindow.merge, parts)
    reference = reference_of(bundle, version)
    if plan.span is None:
        return timed(check_table(counted, reference, use_case), _seconds_since(plan.begun))
    with log_in_use(use_case, reference, home) as (log, history):
        reference = reference_in_force(reference, history, log, use_case.monitoring)
        rows = log_rows(use_case, log, reference, home, plan.span)
        checked = check_log(counted, rows, plan.span, reference, use_case)
        return timed(checked, _seconds_since(plan.begun))


def _seconds_since(moment: datetime) -> float:
    return (datetime.now(UTC) - moment).total_seconds()


def _shares(
    log: PredictionHistory, span: Span, version: str, use_case: UseCase
) -> tuple[Span, ...]:
    """Cut a span at moments between which about as many rows came, the newest share first."""
    rows = log.count(since=span.since, until=span.until, version=version)
    rows = rows if span.rows is None else min(rows, span.rows)
    of, shares, until = use_case.monitoring.partitions, [], span.until
    for number in range(1, of):
        newer = number * rows // of
        moment = log.time_of(newer, since=span.since, until=span.until, version=version)
        since = until if moment is None else min(moment, until)
        shares.append(replace(span, since=since, until=until, rows=None))
        until = since
    left = span.rows
    if left is not None:
        left -= log.count(since=until, until=span.until, version=version)
    shares.append(replace(span, until=until, rows=left))
    return tuple(shares)


def _segment(number: int) -> str:
    return f"segment.{number}.npz"
