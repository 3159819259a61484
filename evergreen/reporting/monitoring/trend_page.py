"""The monitoring page: how everything moved over the windows, and what was done about it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from markupsafe import Markup

from evergreen.monitoring.decision import Action
from evergreen.monitoring.history import MonitoredWindow
from evergreen.monitoring.verdict import ColumnVerdict
from evergreen.reporting.monitoring.drawings import COLOUR_OF, Chart, chart, sparkline, timeline
from evergreen.reporting.monitoring.trends import (
    Trend,
    alarming_since,
    column_trends,
    finding_trends,
    in_order,
    performance_trends,
)
from evergreen.reporting.monitoring.wording import (
    DECISIONS,
    TONES,
    headline,
    outcome_of,
    what_moved,
    when,
)
from evergreen.reporting.numbers import count, measured, number, plural, share
from evergreen.reporting.pages import html_page
from evergreen.reporting.wording import Headline, Tone

DRAWN: Final = 120  # windows; the page is to be read, the history has all
LISTED: Final = 40  # windows in the table
REASONS: Final = 5  # lines under the headline; the decision page has all
SHOWN_COLUMNS: Final = 30  # the others are folded away


@dataclass(frozen=True)
class TrendRow:
    """One line of a table of trends."""

    trend: Trend
    spark: Markup
    now: str
    since: str  # "" where nothing alarms
    length: str  # in windows
    column: ColumnVerdict | None = None


@dataclass(frozen=True)
class WindowRow:
    """One line of the table of windows."""

    window: MonitoredWindow
    end: str
    moved: str
    loss: str
    decision: str
    tone: Tone
    done: str
    first_of_version: bool


@dataclass(frozen=True)
class Figure:
    """A number on top of the page, and what belongs to it."""

    title: str
    value: str
    notes: tuple[str, ...]
    bad: bool = False


def monitoring_page(windows: Sequence[MonitoredWindow], *, now: datetime | None = None) -> str:
    """Return the history of a use case as one self-contained HTML page.

    Parameters
    ----------
    windows
        Judged windows of one use case, in any order.
    now
        When the page is made, UTC.

    Raises
    ------
    ValueError
        If there is no window.
    """
    if not windows:
        raise ValueError("a page on monitoring needs a window")
    ordered = in_order(windows)
    drawn = ordered[-DRAWN:]
    newest = drawn[-1]
    columns = column_rows(drawn)
    performance = performance_trends(drawn)
    return html_page(
        "monitoring.html.j2",
        newest=newest,
        total=len(ordered),
        drawn=drawn,
        headline=_brief(headline(newest)),
        key_figures=key_figures(drawn, columns, performance),
        timeline=timeline(drawn),
        key=_key(drawn),
        first=when(drawn[0].end),
        last=when(newest.end),
        charts=performance_charts(drawn, performance),
        columns=columns[:SHOWN_COLUMNS],
        folded=columns[SHOWN_COLUMNS:],
        together=together_rows(drawn),
        windows=[_window_row(ordered, n) for n in _newest(len(ordered), LISTED)],
        now=now or datetime.now(UTC),
    )


def column_rows(windows: Sequence[MonitoredWindow]) -> list[TrendRow]:
    """Return the columns' trends: those that alarm first, then by their distance."""
    verdicts = {found.column: found for found in windows[-1].verdict.columns}
    rows = [
        _trend_row(windows, trend, verdicts.get(name))
        for name, trend in column_trends(windows).items()
    ]
    return sorted(rows, key=lambda row: (not row.trend.now.alarm, -(row.trend.now.value or 0.0)))


def together_rows(windows: Sequence[MonitoredWindow]) -> list[TrendRow]:
    """Return the trends of the tests over all columns and over the predictions."""
    trends = finding_trends(windows, lambda window: window.verdict.multivariate)
    trends |= finding_trends(windows, lambda window: window.verdict.predictions)
    return [_trend_row(windows, trend, None) for trend in trends.values()]


def performance_charts(
    windows: Sequence[MonitoredWindow], trends: dict[str, Trend]
) -> list[tuple[str, Trend, Chart]]:
    """Return the drawings of the performance, by true labels first."""
    return [
        (kind, trend, chart(trend, windows, estimated=kind == "estimated"))
        for kind, trend in trends.items()
        if trend.drawn
    ]


def key_figures(
    windows: Sequence[MonitoredWindow], columns: Sequence[TrendRow], trends: dict[str, Trend]
) -> list[Figure]:
    """Return what a reader wants to know first of the newest window."""
    newest = windows[-1]
    verdict = newest.verdict
    drifted = len(verdict.drifted)
    since = next((f"since {row.since}, {row.length}" for row in columns if row.since), "")
    figures = [
        Figure(
            "Columns that moved",
            f"{drifted} of {len(verdict.columns)}" if verdict.columns else "not judged",
            (since,) if since else (),
            bool(drifted),
        )
    ]
    for kind, trend in trends.items():
        point = trend.now
        if point.value is None:
            continue
        notes = [] if point.before is None else [f"{number(point.before)} at training"]
        if point.low is not None and point.high is not None:
            notes.append(f"95% interval {number(point.low)} to {number(point.high)}")
        notes = [*notes, "labels came later"] if point.late else notes
        title = f"{trend.title}, {kind}"
        figures.append(Figure(title, number(point.value), tuple(notes), point.alarm))
        if kind == "measured":
            break  # an estimate beside the truth tells nobody anything
    rows = f"{share(newest.labelled / newest.rows)} labelled" if newest.rows else "none labelled"
    figures.append(Figure("Rows in the newest window", count(newest.rows), (rows,)))
    turns = [window for window in windows if window.action == "retrain"]
    last = (f"the last on {when(turns[-1].end)}",) if turns else ()
    figures.append(Figure("Retrainings", str(len(turns)), (*last, _of(windows))))
    return figures


def _of(windows: Sequence[MonitoredWindow]) -> str:
    return f"in {plural(len(windows), 'window')}"


def _trend_row(
    windows: Sequence[MonitoredWindow], trend: Trend, column: ColumnVerdict | None
) -> TrendRow:
    found = alarming_since(windows, trend.points)
    value = trend.now.value
    return TrendRow(
        trend=trend,
        spark=sparkline(trend),
        now="–" if not measured(value) else f"{value:.3f}",
        since=when(found[1]) if found else "",
        length=plural(found[0], "window") if found else "",
        column=column,
    )


def _brief(whole: Headline) -> Headline:
    """Keep the gravest reasons and the last one, which says what the decision hung on."""
    reasons = whole.reasons
    if len(reasons) <= REASONS:
        return whole
    left = len(reasons) - REASONS + 1
    kept = (
        *reasons[: REASONS - 2],
        f"{plural(left, 'more reason')}, which the page on the decision has.",
        reasons[-1],
    )
    return replace(whole, reasons=kept)


def _window_row(windows: Sequence[MonitoredWindow], place: int) -> WindowRow:
    window = windows[place]
    later = windows[place - 1].version != window.version if place else True
    performance = performance_trends([window]).get("measured")
    loss = performance.points[0].value if performance is not None else None
    return WindowRow(
        window=window,
        end=when(window.end),
        moved=what_moved(window.verdict),
        loss="–" if loss is None else number(loss),
        decision=DECISIONS[window.action],
        tone=TONES[window.action],
        done=outcome_of(window) if window.action in ("retrain", "rollback", "alert") else "",
        first_of_version=later,
    )


def _newest(total: int, most: int) -> range:
    return range(total - 1, max(total - most, 0) - 1, -1)


def _key(windows: Sequence[MonitoredWindow]) -> list[tuple[str, str, int]]:
    """Return colour, name and number of each decision that occurs."""
    found: Counter[Action] = Counter(window.action for window in windows)
    return [(COLOUR_OF[a], DECISIONS[a], found[a]) for a in COLOUR_OF if found[a]]
