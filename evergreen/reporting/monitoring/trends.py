"""Figures over windows: what is drawn, one value per window, the oldest first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from evergreen.monitoring.history import MonitoredWindow
from evergreen.monitoring.verdict import Finding, Performance
from evergreen.reporting.monitoring.wording import METRICS, finding_title
from evergreen.reporting.numbers import measured

NORMAL = 1.96  # standard errors on either side of a mean: 95 %


@dataclass(frozen=True)
class Point:
    """A figure in one window; None where it was not measured.

    ``low`` and ``high`` bound it; ``before`` is the same figure at training. ``late``: its labels
    came after the window was judged.
    """

    value: float | None = None
    alarm: bool = False
    low: float | None = None
    high: float | None = None
    before: float | None = None
    late: bool = False


@dataclass(frozen=True)
class Trend:
    """A figure over windows; an alarm needs at least ``limit`` (None: there is none)."""

    title: str
    note: str
    points: tuple[Point, ...]
    limit: float | None = None

    @property
    def now(self) -> Point:
        """The newest window's."""
        return self.points[-1]

    @property
    def drawn(self) -> bool:
        """Whether any window has a figure."""
        return any(measured(point.value) for point in self.points)


def in_order(windows: Sequence[MonitoredWindow]) -> tuple[MonitoredWindow, ...]:
    """Return windows as they were judged, the oldest first."""
    if all(window.id is not None for window in windows):
        return tuple(sorted(windows, key=lambda window: window.id or 0))
    return tuple(sorted(windows, key=lambda window: window.end))


def column_trends(windows: Sequence[MonitoredWindow]) -> dict[str, Trend]:
    """Return each column's distance from training, for the columns of the newest verdicts."""
    names: dict[str, None] = {}
    for window in reversed(windows):
        names |= dict.fromkeys(found.column for found in window.verdict.columns)
    trends = {}
    for name in names:
        points, limit, kind = [], None, "number"
        for window in windows:
            found = next((c for c in window.verdict.columns if c.column == name), None)
            points.append(Point() if found is None else Point(found.distance, found.alarm))
            for test in () if found is None else found.tests:
                if test.effect_name in ("KS distance", "total variation"):
                    limit = test.minimum
            kind = kind if found is None else found.kind
        note = "total variation" if kind == "category" else "KS distance"
        trends[name] = Trend(name, note, tuple(points), limit)
    return trends


def finding_trends(
    windows: Sequence[MonitoredWindow], of: Callable[[MonitoredWindow], tuple[Finding, ...]]
) -> dict[str, Trend]:
    """Return the effect of each test that is not of a single column."""
    latest = {finding.name: finding for window in windows for finding in of(window)}
    trends = {}
    for name, finding in latest.items():
        points = []
        for window in windows:
            found = next((f for f in of(window) if f.name == name), None)
            points.append(Point() if found is None else Point(found.effect, found.alarm))
        title = finding_title(finding)
        trends[name] = Trend(title, finding.effect_name, tuple(points), finding.minimum)
    return trends


def performance_trends(windows: Sequence[MonitoredWindow]) -> dict[str, Trend]:
    """Return the performance by true labels (``measured``) and without them (``estimated``).

    Where the metric changed, windows of an earlier one have no figure.
    """
    trends = {}
    for kind, note in (("measured", "by true labels"), ("estimated", "estimated without labels")):
        metric = _newest_metric(windows, kind)
        if metric is None:
            continue
        points = tuple(_performance(window, kind, metric) for window in windows)
        trends[kind] = Trend(METRICS[metric], note, points)
    return trends


def alarming_since(
    windows: Sequence[MonitoredWindow], points: Sequence[Point]
) -> tuple[int, datetime] | None:
    """Return how many windows in a row alarm up to the newest, and the end of the first of them.

    Windows of an earlier version do not count: they had another reference.
    """
    length = 0
    for window, point in zip(reversed(windows), reversed(points), strict=True):
        if not point.alarm or window.version != windows[-1].version:
            break
        length += 1
    return (length, windows[-length].end) if length else None


def _newest_metric(windows: Sequence[MonitoredWindow], kind: str) -> str | None:
    found = (f for w in reversed(windows) for f in w.verdict.performance if f.kind == kind)
    return next((each.metric for each in found), None)


def _performance(window: MonitoredWindow, kind: str, metric: str) -> Point:
    found: Performance | None = next(
        (f for f in window.verdict.performance if (f.kind, f.metric) == (kind, metric)), None
    )
    if found is None:
        return _late(window) if kind == "measured" else Point()
    return Point(
        value=found.value,
        alarm=found.alarm,
        low=found.before + found.low,
        high=found.before + found.high,
        before=found.before,
    )


def _late(window: MonitoredWindow) -> Point:
    """Return the mean loss by labels that came after the window was judged."""
    sums = window.loss.sums()
    if sums.rows < 2 or window.verdict.labelled >= sums.rows:
        return Point()
    reach = NORMAL * (sums.variance / sums.rows) ** 0.5
    return Point(value=sums.mean, low=sums.mean - reach, high=sums.mean + reach, late=True)
