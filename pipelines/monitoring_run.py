"""``--pipeline monitor``: everything around one run of monitoring."""

from __future__ import annotations

import argparse
import json
from datetime import timedelta
from pathlib import Path

from evergreen.config import UseCase
from evergreen.durations import read_span
from evergreen.errors import InputError
from evergreen.monitoring.display import show_monitoring
from evergreen.monitoring.evidently_report import EvidentlyFigures
from evergreen.monitoring.history import MonitoredWindow
from evergreen.monitoring.outcome import MonitoringOutcome
from evergreen.paths import Home
from evergreen.reporting.monitoring.files import report_here, write_pages
from evergreen.terminal import LiveView
from evergreen.use_case import load_use_case
from pipelines import session
from pipelines.elsewhere import carry_out

LOG = "log"  # what --window calls the prediction log
JUDGING = "two at once would judge the same rows."


def run_monitoring(options: argparse.Namespace) -> int:
    """Judge one window and return the exit code that its decision calls for."""
    asked = None if options.since is None else read_span(options.since, "--since")
    use_case = load_use_case(Path(options.config), [*options.overrides, *overrides(options)])
    if asked is not None and use_case.monitoring.source is not None:
        raise InputError("--since goes with the prediction log; a table is judged as a whole.")
    tag = lock_name(use_case)
    with session.running(options, tag, tag, JUDGING) as around:
        with around.view as view:
            window, figures, stack_name = execute(use_case, options, view, around.name, tag, asked)
        outcome = MonitoringOutcome.of(
            window,
            figures,
            stack=stack_name,
            zenml_run=around.name,
            log=str(around.log),
            total_seconds=around.seconds,
        )
        if options.json:
            around.out.write(outcome.model_dump_json(indent=2) + "\n")
        else:
            show_monitoring(outcome, around.out, quiet=options.quiet)
    return outcome.exit_code


def lock_name(use_case: UseCase) -> str:
    """Return the name of the lock that whoever judges windows of a use case holds."""
    return f"monitor-{use_case.name}"


def overrides(options: argparse.Namespace) -> list[str]:
    """Return what the command line's own options say as overrides of the use case."""
    if options.window is None:
        return []
    return [f"monitoring.source={'null' if options.window == LOG else json.dumps(options.window)}"]


def execute(
    use_case: UseCase,
    options: argparse.Namespace,
    view: LiveView,
    run_name: str,
    tag: str,
    asked: timedelta | None,
) -> tuple[MonitoredWindow, EvidentlyFigures, str]:
    """Prepare the stack, and run the pipeline to its end."""
    view.show("Start ZenML")
    session.start_zenml()
    stack_name = session.ensure_stack(options.stack)
    session.prepare_tracking(use_case)
    session.mend_stale_runs(use_case, tag)

    from pipelines.in_pods import pipeline_called
    from steps.announcements import listening

    seconds = None if asked is None else asked.total_seconds()
    configured = pipeline_called("monitor").with_options(
        run_name=run_name, enable_cache=False, tags=[tag]
    )
    with listening(view.show):
        run = carry_out(configured, run_name, view, use_case, seconds)
    window: MonitoredWindow = run.steps["decide_window"].regular_outputs["window"].load()
    judging = "judge_parts" if use_case.monitoring.in_steps else "observe_window"
    figures: EvidentlyFigures = run.steps[judging].regular_outputs["univariate_figures"].load()
    window = reports_home(window, Home.locate())
    if figures.page is not None:
        here = str(report_here(figures.page, Home.locate()))
        figures = figures.model_copy(update={"page": here})
    return window, figures, stack_name


def reports_home(window: MonitoredWindow, home: Home) -> MonitoredWindow:
    """Bring a window's pages home where a step on another machine drew them."""
    if window.report is None or Path(window.report).is_relative_to(home.reports):
        return window
    from steps.workspace import fetch_reports

    folder = report_here(window.report, home)
    fetch_reports(folder)
    write_pages(home, window.use_case)
    return window.model_copy(update={"report": str(folder)})
