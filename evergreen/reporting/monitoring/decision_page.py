"""The decision about one window on one screen: what moved, how much, since when, what was done."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from evergreen.monitoring.history import MonitoredWindow
from evergreen.reporting.monitoring.drawings import timeline
from evergreen.reporting.monitoring.trend_page import (
    DRAWN,
    column_rows,
    key_figures,
    performance_charts,
    together_rows,
)
from evergreen.reporting.monitoring.trends import in_order, performance_trends
from evergreen.reporting.monitoring.wording import as_sentence, headline, outcome_of, when
from evergreen.reporting.numbers import moment, plural
from evergreen.reporting.pages import html_page

MOST: Final = 6  # columns that moved; one screen has no room for more


def decision_page(
    window: MonitoredWindow, earlier: Sequence[MonitoredWindow] = (), *, now: datetime | None = None
) -> str:
    """Return the decision about ``window`` as one self-contained HTML page.

    Parameters
    ----------
    earlier
        Windows of the same use case; those judged after ``window`` are left out.
    now
        When the page is made, UTC.
    """
    others = [each for each in in_order(earlier) if _is_before(each, window)]
    windows = [*others, window][-DRAWN:]
    columns, together = column_rows(windows), together_rows(windows)
    performance = performance_trends(windows)
    moved = [row for row in [*columns, *together] if row.trend.now.alarm]
    measured = [one for one in performance_charts(windows, performance) if one[0] == "measured"]
    charts = measured or performance_charts(windows, performance)[:1]
    return html_page(
        "decision.html.j2",
        window=window,
        windows=windows,
        headline=headline(window),
        outcome=as_sentence(outcome_of(window)),
        facts=_facts(window),
        key_figures=key_figures(windows, columns, performance),
        timeline=timeline(windows),
        first=when(windows[0].end),
        last=when(window.end),
        moved=moved[:MOST],
        more=moved[MOST:],
        alike=_alike(window),
        charts=charts,
        now=now or datetime.now(UTC),
    )


def _is_before(other: MonitoredWindow, window: MonitoredWindow) -> bool:
    if other.id is not None and window.id is not None:
        return other.id < window.id
    return other.end < window.end


def _alike(window: MonitoredWindow) -> str:
    """Say how much did not move; a reader of alarms alone thinks the worst."""
    verdict = window.verdict
    calm = sum(not column.alarm for column in verdict.columns)
    if not verdict.columns:
        return "No column was judged."
    if calm == len(verdict.columns):
        return f"{plural(calm, 'column')}: all as they were at training."
    return f"{plural(calm, 'other column')} as at training." if calm else "No column is as it was."


def _facts(window: MonitoredWindow) -> list[tuple[str, str]]:
    """Return name and value of what was done."""
    facts: list[tuple[str, str]] = [("Decision", window.action)]
    training = window.decision.training
    if training is not None:
        most = f"the newest {plural(training.max_rows, 'labelled row')} at most"
        rows = most if training.rows is None else plural(training.rows, "labelled row")
        facts.append(("Rows to train on", rows))
        if training.since is not None:
            facts.append(("The change came after", moment(training.since)))
        if training.follow_up:
            facts.append(("Follow-up", "a second turn on the same change, now with more rows"))
    back = window.action == "rollback"
    if window.turn is not None:
        done = "carried out" if back and window.turn == "promoted" else window.turn
        facts.append(("Rollback" if back else "Retraining", done))
        facts.append(("Last heard of", moment(window.turn_time)))
    if window.new_version is not None:
        facts.append(("Champion since then" if back else "Version made", window.new_version))
    return facts
