"""What a demo showed: the traffic beside the decisions, and where the pages are."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import sqlalchemy as sa
from rich import box
from rich.console import Console
from rich.table import Table

from evergreen.monitoring.history import MonitoredWindow, MonitoringHistory
from evergreen.paths import Home
from evergreen.reporting.monitoring.wording import headline
from evergreen.reporting.numbers import share
from evergreen.serving.log_tables import FEEDBACK, PREDICTIONS, connect
from evergreen.serving.options import ServerOptions
from evergreen.values import Value

NAME: Final = "wine"


class Phase(Value):
    """A stretch of traffic: its scenario, and when it began (UTC)."""

    scenario: str
    begin: datetime

    @classmethod
    def begins(cls, scenario: str) -> Phase:
        """Return one that begins now."""
        return cls(scenario=scenario, begin=datetime.now(UTC))


class Answered(Value):
    """What the prediction log holds of a phase: rows with a label, how many were right, by whom."""

    rows: int
    right: int
    versions: tuple[str, ...]


def show_summary(home: Home, phases: Sequence[Phase], console: Console, *, url: str | None) -> bool:
    """Print what was seen; tell whether the last phase went better, by a newer version.

    ``url`` is where the API still answers.
    """
    answers = answers_of(home, phases)
    with closing(MonitoringHistory(home.database_url)) as history:
        windows = list(reversed(history.windows(NAME)))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title="What was seen", title_justify="left")
    for title, side in (("Traffic", "left"), ("Rows", "right"), ("Answered by", "left")):
        table.add_column(title, justify=side)  # type: ignore[arg-type]
    table.add_column("Right", justify="right")
    table.add_column("The loop said")
    for number, (phase, found) in enumerate(zip(phases, answers, strict=True)):
        said = headline(windows[number]).word if number < len(windows) else ""
        versions = "version " + ", ".join(found.versions)
        right = share(found.right / found.rows) if found.rows else "–"
        table.add_row(phase.scenario, f"{found.rows:,}", versions, right, said)
    console.print()
    console.print(table)
    for title, page in pages(home, windows):
        console.print(f"  [dim]{title:<12}[/dim] {page}", soft_wrap=True)
    if url is not None:
        console.print(f"  [dim]{'The API':<12}[/dim] {url}")
    return closed(answers)


def closed(answers: Sequence[Answered]) -> bool:
    """Tell whether the last phase was answered by another version than the first, and better."""
    first, before, last = answers[0], answers[-2], answers[-1]
    if not (first.rows and before.rows and last.rows):
        return False
    better = last.right / last.rows > before.right / before.rows
    return better and last.versions != first.versions


def answers_of(home: Home, phases: Sequence[Phase]) -> list[Answered]:
    """Return what came of each phase, up to the beginning of the next one."""
    engine = connect(ServerOptions(home=home).log_url)
    key = (PREDICTIONS.c.request_id == FEEDBACK.c.request_id) & (
        PREDICTIONS.c.request_row == FEEDBACK.c.request_row
    )
    right = sa.func.sum(sa.case((PREDICTIONS.c.prediction == FEEDBACK.c.label, 1), else_=0))
    ends = [*(phase.begin for phase in phases[1:]), datetime.now(UTC)]
    found = []
    try:
        with engine.connect() as connection:
            for phase, end in zip(phases, ends, strict=True):
                time = PREDICTIONS.c.time  # Unix seconds: the log is in SQLite here
                query = (
                    sa.select(PREDICTIONS.c.version, sa.func.count(), right)
                    .select_from(PREDICTIONS.join(FEEDBACK, key))
                    .where(time >= phase.begin.timestamp(), time < end.timestamp())
                    .group_by(PREDICTIONS.c.version)
                    .order_by(PREDICTIONS.c.version)
                )
                rows = connection.execute(query).all()
                found.append(
                    Answered(
                        rows=sum(row[1] for row in rows),
                        right=sum(row[2] for row in rows),
                        versions=tuple(str(row[0]) for row in rows),
                    )
                )
    finally:
        engine.dispose()
    return found


def pages(home: Home, windows: Sequence[MonitoredWindow]) -> list[tuple[str, Path]]:
    """Return title and file of the pages that were written."""
    acted = next((window for window in reversed(windows) if window.turn is not None), None)
    found: list[tuple[str, Path]] = [("Monitoring", home.reports / NAME / "monitoring.html")]
    if acted is not None and acted.report is not None:
        found += [
            ("Decision", Path(acted.report, "decision.html")),
            ("Window", Path(acted.report, "window.html")),
            ("Evidently", Path(acted.report, "evidently.html")),
        ]
    trainings = sorted(
        (home.reports / NAME).glob("*/training.html"), key=lambda p: p.stat().st_mtime
    )
    found += [("Training", page) for page in trainings[-1:]]
    return [(title, page) for title, page in found if page.is_file()]
