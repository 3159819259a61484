"""The page of one window: what was tested, what was found, what was decided; no scripts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evergreen.reporting.monitoring.wording import headline
from evergreen.reporting.pages import html_page

if TYPE_CHECKING:
    from evergreen.monitoring.evidently_report import EvidentlyFigures
    from evergreen.monitoring.history import MonitoredWindow


def window_summary(window: MonitoredWindow, figures: EvidentlyFigures) -> str:
    """Return a window's page: self-contained, and shown by the dashboard, which runs no scripts."""
    verdict = window.verdict
    tests = [(one.name, one) for one in verdict.multivariate]
    tests += [(f"predictions: {one.name}", one) for one in verdict.predictions]
    return html_page(
        "window.html.j2",
        window=window,
        verdict=verdict,
        headline=headline(window),
        columns=sorted(verdict.columns, key=lambda one: (not one.alarm, -(one.distance or 0.0))),
        tests=tests,
        figures=figures,
        evidently={one.column: one for one in figures.columns},
    )
