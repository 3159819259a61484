"""A counted window: judged, its promises checked, with a sample of its rows to draw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from evergreen.config import UseCase
from evergreen.monitoring.counted import CountedWindow, Reference
from evergreen.monitoring.counts import LossSums
from evergreen.monitoring.decision import WindowLoss
from evergreen.monitoring.history import ObservedWindow, QualityFinding
from evergreen.monitoring.judge import judge_window
from evergreen.monitoring.segments import Segments
from evergreen.monitoring.settings import MonitoringConfig
from evergreen.monitoring.verdict import WindowVerdict
from evergreen.monitoring.window_quality import findings, is_serious
from evergreen.monitoring.window_source import LogRows, Span


@dataclass(frozen=True)
class CheckedWindow:
    """A judged window, an even sample of its rows to draw, and what it was judged by."""

    observed: ObservedWindow
    sample: pa.Table
    reference: Reference


def check_log(
    counted: CountedWindow, rows: LogRows, span: Span, reference: Reference, use_case: UseCase
) -> CheckedWindow:
    """Judge logged predictions; performance by the labels that came since the last verdict on it.

    Raises
    ------
    UnreachableError
        If the log cannot be read.
    InputError
        If the reference lacks what windows are compared with (an older format).
    """
    labels = LossSums()
    for batch in rows.labels():
        labels = labels.merge(reference.predictions.count(batch).loss)
    profile = counted.profile
    judged = replace(profile, predictions=replace(profile.predictions, loss=labels))
    notes = [*span.notes, *([] if reference.note is None else [reference.note])]
    if others := rows.others():
        notes.append(f"{others} rows that other versions answered are left out.")
    if not profile.rows and span.fresh:
        verdict = _nothing_new(span)
    else:
        verdict = judge_window(reference.profile, judged, _policy(counted, use_case))
    observed = _observed("log", counted, reference, use_case, verdict, notes)
    update = {"labels_until": span.until}
    return CheckedWindow(observed.model_copy(update=update), counted.drawn.table, reference)


def check_table(counted: CountedWindow, reference: Reference, use_case: UseCase) -> CheckedWindow:
    """Judge a table; performance by its target, where it has one.

    Raises
    ------
    InputError
        If the reference is of an older format.
    """
    verdict = judge_window(reference.profile, counted.profile, _policy(counted, use_case))
    observed = _observed("table", counted, reference, use_case, verdict, [])
    update = {"content": counted.content}
    return CheckedWindow(observed.model_copy(update=update), counted.drawn.table, reference)


def _policy(counted: CountedWindow, use_case: UseCase) -> MonitoringConfig:
    """Return the policy, without columns whose values the log must not keep."""
    config = use_case.monitoring
    return config.model_copy(update={"ignore": (*config.ignore, *sorted(counted.redacted))})


def _observed(
    source: str,
    counted: CountedWindow,
    reference: Reference,
    use_case: UseCase,
    verdict: WindowVerdict,
    notes: Sequence[str],
) -> ObservedWindow:
    """Bring everything together."""
    profile = counted.profile
    quality = findings(counted.broken, reference.contract, use_case.quality, profile.rows)
    more = list(notes)
    if counted.redacted:
        names = ", ".join(map(repr, sorted(counted.redacted)))
        more.append(f"Columns that the log does not keep are not compared: {names}.")
    segments = Segments(reference.profile, use_case.monitoring).verdicts(counted.segments)
    for one in segments:
        if one.verdict.alarm:
            more.append(f"Within {one.column} = {one.value}: {one.verdict.reasons[0]}")
    loss = profile.predictions.loss
    return ObservedWindow.model_validate(
        {
            "use_case": use_case.name,
            "version": reference.version,
            "source": source,
            "place": counted.place,
            "first": counted.first,
            "last": counted.last,
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
