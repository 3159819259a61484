"""One turn of monitoring: observe a window, take late labels, decide, write it down."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

from evergreen.config import UseCase
from evergreen.monitoring.accepted import reference_in_force
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
from evergreen.monitoring.window_check import CheckedWindow, Reference, check_log, check_table
from evergreen.monitoring.window_source import LogRows, TableRows, next_span
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
    found = open_bundle(bundle)
    reference = Reference(version, found.contract, found.profile)
    comparison_of(found.profile)  # an old one is refused before anything is read
    if use_case.monitoring.source is not None:
        runtime = load_runtime(bundle, version)
        table = TableRows(use_case.monitoring.source, runtime, use_case.serving)
        return check_table(table, reference, use_case)
    url = ServerOptions(settings=use_case.serving, home=home).log_url
    with (
        closing(PredictionHistory(url, found.contract)) as log,
        closing(MonitoringHistory(home.database_url)) as history,
    ):
        take_late_labels(history, log, reference)
        reference = reference_in_force(reference, history, log, use_case.monitoring)
        before = history.windows(use_case.name, LOOK_BACK)
        moment = now or datetime.now(UTC)
        span = next_span(use_case.monitoring.window, before, version, moment, asked)
        rows = LogRows(log, use_case.serving, f"prediction log {shown(url)}", version, span)
        return check_log(rows, span, reference, use_case)


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
