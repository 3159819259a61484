"""The window: judged, drawn, decided about, and written down."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

from zenml import log_metadata, step
from zenml.types import HTMLString

from evergreen.config import UseCase
from evergreen.monitoring import parts
from evergreen.monitoring.alerting import alert_of
from evergreen.monitoring.evidently_report import EvidentlyFigures
from evergreen.monitoring.history import MonitoredWindow, ObservedWindow
from evergreen.monitoring.monitor import conclude, draw, observe, window_folder
from evergreen.monitoring.on_dask import observe_on_dask
from evergreen.monitoring.parts import CountedPart, WindowPlan
from evergreen.monitoring.window_check import CheckedWindow
from evergreen.paths import Home
from evergreen.reporting.monitoring.files import write_pages
from evergreen.reporting.window_summary import window_summary
from evergreen.serving.artifacts import bundle_folder
from evergreen.serving.registry_reader import Located, locate, open_registry
from steps.alerting import tell
from steps.announcements import announce
from steps.batch.scoring import ScoringModel, tracking_uri
from steps.materializers import PartMaterializer
from steps.workspace import keep_reports, run_name, scratch_file


@step(enable_cache=False)
def find_champion(use_case: UseCase) -> Annotated[ScoringModel, "monitored_model"]:
    """Look up the version that answers.

    Raises
    ------
    InputError
        If there is none yet.
    UnreachableError
        If the registry does not answer.
    """
    announce("Look up the champion")
    found = locate(open_registry(tracking_uri()), use_case.name)
    return ScoringModel(name=found.name, version=found.version, source=found.source)


@step(enable_cache=False, enable_artifact_visualization=False)
def observe_window(
    model: ScoringModel, use_case: UseCase, seconds: float | None = None
) -> tuple[
    Annotated[ObservedWindow, "observed_window"], Annotated[EvidentlyFigures, "univariate_figures"]
]:
    """Judge a window by all of its rows, and let Evidently draw a sample of them.

    ``seconds`` is the time span that was asked for, None: what came since the last window.
    """
    home = Home.locate()
    folder = champion_folder(model, home)
    dask = use_case.monitoring.dask
    announce(f"Judge the window on {dask.title}" if dask.chosen else "Judge the window")
    way = observe_on_dask if dask.chosen else observe
    checked = way(use_case, folder, model.version, home, asked=_span(seconds))
    observed, figures = _drawn(checked, use_case, home)
    return observed, figures  # ZenML tells several outputs by this form


@step(enable_cache=False)
def plan_window(
    model: ScoringModel, use_case: UseCase, seconds: float | None = None
) -> Annotated[WindowPlan, "window_plan"]:
    """Choose the window as `observe_window` does, and divide it into parts."""
    home = Home.locate()
    announce("Divide the window")
    folder = champion_folder(model, home)
    return parts.plan_window(use_case, folder, model.version, home, asked=_span(seconds))


@step(
    enable_cache=False,
    enable_artifact_visualization=False,
    output_materializers=PartMaterializer,
)
def count_part(
    model: ScoringModel, plan: WindowPlan, use_case: UseCase, number: int
) -> Annotated[CountedPart, "counted_part"]:
    """Count one part of the window, the first being 0."""
    home = Home.locate()
    announce(f"Count part {number + 1} of {use_case.monitoring.partitions}")
    bundle = champion_folder(model, home)
    counted = parts.count_part(use_case, bundle, model.version, home, plan, number)
    folder = scratch_file("part")
    folder.mkdir()
    return CountedPart.write(counted, folder)


@step(enable_cache=False, enable_artifact_visualization=False)
def judge_parts(
    counted: list[CountedPart], model: ScoringModel, plan: WindowPlan, use_case: UseCase
) -> tuple[
    Annotated[ObservedWindow, "observed_window"], Annotated[EvidentlyFigures, "univariate_figures"]
]:
    """Judge the window whose parts were counted, and let Evidently draw a sample of its rows."""
    home = Home.locate()
    announce("Judge the window")
    bundle = champion_folder(model, home)
    read = [part.read() for part in counted]
    checked = parts.judge_parts(use_case, bundle, model.version, home, plan, read)
    observed, figures = _drawn(checked, use_case, home)
    return observed, figures  # ZenML tells several outputs by this form


def _span(seconds: float | None) -> timedelta | None:
    return None if seconds is None else timedelta(seconds=seconds)


def _drawn(
    checked: CheckedWindow, use_case: UseCase, home: Home
) -> tuple[ObservedWindow, EvidentlyFigures]:
    """Draw the univariate report, where there is something to draw."""
    observed = checked.observed
    reports = window_folder(home, use_case.name, datetime.now(UTC))
    figures = EvidentlyFigures(reference_rows=0, window_rows=checked.sample.num_rows)
    if observed.rows and not observed.verdict.too_few:
        announce("Draw the univariate report")
        figures = draw(checked, reports)
        keep_reports(reports)
    update = {"report": str(reports), "zenml_run": run_name()}
    return observed.model_copy(update=update), figures


@step(enable_cache=False)
def decide_window(
    observed: ObservedWindow, figures: EvidentlyFigures, use_case: UseCase
) -> tuple[Annotated[MonitoredWindow, "window"], Annotated[HTMLString, "window_summary"]]:
    """Decide by policy and history, and write verdict and decision down."""
    announce("Decide")
    window = conclude(observed, use_case, Home.locate())
    page = window_summary(window, figures)
    if window.report is not None:
        folder = Path(window.report)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "window.html").write_text(page, encoding="utf-8")
        keep_reports(folder)
    write_pages(Home.locate(), window.use_case)
    if (alert := alert_of(window)) is not None:
        tell(alert, use_case)
    log_metadata(
        {
            "action": window.action,
            "rows": window.rows,
            "labelled": window.verdict.labelled,
            "model_version": window.version,
            "source": window.place,
            "alarms": ", ".join(window.verdict.families) or "none",
            "drifted": ", ".join(window.verdict.drifted) or "none",
            "reasons": "; ".join(window.decision.reasons),
            "univariate_report": figures.page or "",
        }
    )
    return window, HTMLString(page)


def champion_folder(model: ScoringModel, home: Home) -> Path:
    """Return a folder with the files of a model's bundle."""
    located = Located(model.name, model.version, model.source)
    cache = home.root / "serving" / "bundles"
    return bundle_folder(open_registry(tracking_uri()), located, cache)
