"""The page of one window: what was tested, what was found, what was decided; no scripts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from evergreen.reporting.pages import html_page
from evergreen.reporting.wording import Headline, Tone

if TYPE_CHECKING:
    from evergreen.monitoring.evidently_report import EvidentlyFigures
    from evergreen.monitoring.history import MonitoredWindow

_HEADLINES: Final[dict[str, tuple[Tone, str]]] = {
    "none": ("good", "No drift"),
    "watch": ("wait", "Watch"),
    "retrain": ("bad", "Retrain"),
    "rollback": ("bad", "Roll back"),
    "alert": ("bad", "Alert"),
}


def window_summary(window: MonitoredWindow, figures: EvidentlyFigures) -> str:
    """Return a window's page: self-contained, and shown by the dashboard, which runs no scripts."""
    from evergreen.monitoring.outcome import advice

    tone, word = _HEADLINES[window.action]
    verdict = window.verdict
    tests = [(one.name, one) for one in verdict.multivariate]
    tests += [(f"predictions: {one.name}", one) for one in verdict.predictions]
    return html_page(
        "window.html.j2",
        window=window,
        verdict=verdict,
        headline=Headline(tone, word, advice(window.action), window.decision.reasons),
        columns=sorted(verdict.columns, key=lambda one: (not one.alarm, -(one.distance or 0.0))),
        tests=tests,
        figures=figures,
        evidently={one.column: one for one in figures.columns},
    )
