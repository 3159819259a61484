"""One turn of monitoring: observe a window, take late labels, decide, write it down."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from evergreen.config import UseCase
from evergreen.data.source_config import Source
from evergreen.monitoring.accepted import reference_in_force
from evergreen.monitoring.counted import Reference, count_window
from evergreen.monitoring.decision import decide
from evergreen.monitoring.evidently_report import EvidentlyFigures, draw_report, forget_old_pages
from evergreen.monitoring.history import (
    LOOK_BACK,
    MonitoredWindow,
    MonitoringHistory,
    ObservedWindow,
)
from evergreen.monitoring.late_labels import take_late_labels
from evergreen.monitoring.reference import comparison_of
from evergreen.monitoring.window_check import CheckedWindow, check_log, check_table
from evergreen.monitoring.window_source import LogRows, Span, TableRows, next_span
from evergreen.paths import Home
from evergreen.promotion.bundle import open_bundle
from evergreen.serving.log_tables import shown
from evergreen.serving.options import ServerOptions
from evergreen.serving.prediction_history import PredictionHistory
from evergreen.serving.runtime import load_runtime


def observe(
    use_case: UseCase,
    bundle: Path,
    version: str,
    home: Home,
    *,
    asked: timedelta | None = None,
    now: datetime | None = None,
) -> CheckedWindow:
    """Judge the window that the use case names, for a version and its bundle.

    That is ``monitoring.source`` where there is one, else the prediction log: what came since the
    last judged window, or within the time span ``asked``.

    Raises
    ------
    InputError
        If the window or the bundle cannot be used.
    UnreachableError
        If log, history or source do not answer.
    """
    started = time.monotonic()
    reference = reference_of(bundle, version)
    if (source := use_case.monitoring.source) is not None:
        counted = count_window(table_rows(source, use_case, bundle, version), reference, use_case)
        return timed(check_table(counted, reference, use_case), time.monotonic() - started)
    with log_in_use(use_case, reference, home) as (log, history):
        moment = now or datetime.now(UTC)
        reference, span = span_to_judge(use_case, reference, log, history, asked, moment)
        rows = log_rows(use_case, log, reference, home, span)
        counted = count_window(rows, reference, use_case)
        checked = check_log(counted, rows, span, reference, use_case)
        return timed(checked, time.monotonic() - started)


def reference_of(bundle: Path, version: str) -> Reference:
    """Return the reference that is in a bundle; an old one is refused before anything is read."""
    found = open_bundle(bundle)
    comparison_of(found.profile)
    return Reference(version, found.contract, found.profile)


def table_rows(source: Source, use_case: UseCase, bundle: Path, version: str) -> TableRows:
    """Return the rows of a table, which the model of the bundle predicts."""
    return TableRows(source, load_runtime(bundle, version), use_case.serving)


@contextmanager
def log_in_use(
    use_case: UseCase, reference: Reference, home: Home
) -> Iterator[tuple[PredictionHistory, MonitoringHistory]]:
    """Open the prediction log, and what was judged of it."""
    url = ServerOptions(settings=use_case.serving, home=home).log_url
    with (
        closing(PredictionHistory(url, reference.contract)) as log,
        closing(MonitoringHistory(home.database_url)) as history,
    ):
        yield log, history


def span_to_judge(
    use_case: UseCase,
    reference: Reference,
    log: PredictionHistory,
    history: MonitoringHistory,
    asked: timedelta | None,
    now: datetime,
) -> tuple[Reference, Span]:
    """Take late labels; return the reference in force, and what of the log comes next."""
    take_late_labels(history, log, reference)
    reference = reference_in_force(reference, history, log, use_case.monitoring)
    before = history.windows(use_case.name, LOOK_BACK)
    span = next_span(use_case.monitoring.window, before, reference.version, now, asked)
    return reference, span


def log_rows(
    use_case: UseCase, log: PredictionHistory, reference: Reference, home: Home, span: Span
) -> LogRows:
    """Return the logged predictions of the reference's version within a span."""
    url = ServerOptions(settings=use_case.serving, home=home).log_url
    place = f"prediction log {shown(url)}"
    return LogRows(log, use_case.serving, place, reference.version, span)


def timed(checked: CheckedWindow, seconds: float) -> CheckedWindow:
    """Return a checked window with the seconds that it took."""
    return replace(checked, observed=checked.observed.model_copy(update={"seconds": seconds}))


def draw(checked: CheckedWindow, folder: Path) -> EvidentlyFigures:
    """Draw the univariate report of a window's sample into a folder of its use case's reports."""
    comparison = comparison_of(checked.reference.profile)
    figures = draw_report(checked.sample, comparison, folder)
    forget_old_pages(folder.parent)
    return figures


def conclude(
    observed: ObservedWindow, use_case: UseCase, home: Home, *, now: datetime | None = None
) -> MonitoredWindow:
    """Decide about a window and write both into the history.

    Raises
    ------
    UnreachableError
        If the history cannot be used.
    """
    with closing(MonitoringHistory(home.database_url)) as history:
        past = history.policy_history(observed)
        decision = decide(observed.verdict, use_case.monitoring, past, now or datetime.now(UTC))
        return history.record(observed, decision)


def window_folder(home: Home, use_case: str, now: datetime) -> Path:
    """Return the folder of one window's reports; it sorts by time."""
    return home.run_reports(use_case, "monitoring") / f"{now:%Y%m%dT%H%M%S%f}"
