"""The pages on disk: one on the whole history, one on each decision."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path

from evergreen.monitoring.history import MonitoredWindow, MonitoringHistory
from evergreen.paths import Home
from evergreen.reporting.monitoring.decision_page import decision_page
from evergreen.reporting.monitoring.trend_page import DRAWN, monitoring_page


def monitoring_page_of(home: Home, use_case: str) -> Path:
    """Return where a use case's monitoring page is, or will be."""
    return home.reports / use_case / "monitoring.html"


def report_here(path: str, home: Home) -> Path:
    """Return where a window's page or folder is in this home, whichever machine wrote it.

    Those of other homes have the same place below theirs; what lies elsewhere stays where it is.
    """
    written = Path(path)
    if written.is_relative_to(home.reports):
        return written
    for place in range(len(written.parts) - 2):
        if written.parts[place] == home.reports.name and written.parts[place + 2] == "monitoring":
            return home.reports.joinpath(*written.parts[place + 1 :])
    return written


def write_pages(home: Home, use_case: str) -> Path | None:
    """Write the pages of a use case anew, and return the monitoring page's file.

    Decisions get theirs beside the window's report: the newest one, and the last that a retraining
    came of, whose outcome is known later. None: no window was judged yet.

    Raises
    ------
    UnreachableError
        If the history cannot be read.
    """
    with closing(MonitoringHistory(home.database_url)) as history:
        windows = tuple(
            window
            if window.report is None
            else window.model_copy(update={"report": str(report_here(window.report, home))})
            for window in history.windows(use_case, DRAWN)
        )
    if not windows:
        return None
    turned = next((window for window in windows if window.turn is not None), None)
    for window in {windows[0].id: windows[0], **({turned.id: turned} if turned else {})}.values():
        _write_decision(window, windows)
    page = monitoring_page_of(home, use_case)
    _write(page, monitoring_page(windows))
    return page


def _write_decision(window: MonitoredWindow, windows: tuple[MonitoredWindow, ...]) -> None:
    folder = None if window.report is None else Path(window.report)
    if folder is not None and folder.is_dir():  # old reports are cleared away
        _write(folder / "decision.html", decision_page(window, windows))


def _write(file: Path, page: str) -> None:
    """Put a page in place at once: whoever reads sees the old one or the new one."""
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_suffix(f".{os.getpid()}")
    temporary.write_text(page, encoding="utf-8")
    temporary.replace(file)
