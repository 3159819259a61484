"""What a monitoring run tells at its end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from evergreen.errors import ExitCode
from evergreen.monitoring.decision import Action
from evergreen.monitoring.evidently_report import EvidentlyFigures
from evergreen.monitoring.history import MonitoredWindow
from evergreen.paths import Home
from evergreen.reporting.monitoring.files import monitoring_page_of
from evergreen.reporting.monitoring.wording import headline
from evergreen.values import Value


class MonitoringOutcome(Value):
    """What the command line tells at the end: the object that ``--json`` prints."""

    pipeline: Literal["monitor"] = "monitor"
    status: Action
    message: str
    exit_code: int
    window: MonitoredWindow
    univariate: EvidentlyFigures
    reports: Mapping[str, str]
    stack: str
    zenml_run: str
    log: str
    total_seconds: float

    @classmethod
    def of(
        cls, window: MonitoredWindow, univariate: EvidentlyFigures, **facts: Any
    ) -> MonitoringOutcome:
        """Bring it together: what calls for an act is exit code 1, so that cron tells somebody."""
        acts = window.action not in ("none", "watch")
        drawn = {} if univariate.page is None else {"univariate": univariate.page}
        return cls(
            status=window.action,
            message=message(window),
            exit_code=ExitCode.REFUSED if acts else ExitCode.DONE,
            window=window,
            univariate=univariate,
            reports={**drawn, **window_pages(window)},
            **facts,
        )


def window_pages(window: MonitoredWindow) -> dict[str, str]:
    """Return the pages on a window and on all of them, by name."""
    if window.report is None:
        return {}
    return {
        "window": f"{window.report}/window.html",
        "decision": f"{window.report}/decision.html",
        "monitoring": str(monitoring_page_of(Home.locate(), window.use_case)),
    }


def message(window: MonitoredWindow) -> str:
    """Say what was found, and why that is done which is decided."""
    said = headline(window)
    return " ".join((said.sentence, *said.reasons))
