"""Trends as SVG that takes any width: shapes stretch, lines and dots keep their thickness.

Text stands beside them as HTML, so that it stays as large on a phone as on a desk.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup, escape

from evergreen.monitoring.decision import Action
from evergreen.monitoring.history import MonitoredWindow
from evergreen.reporting.monitoring.trends import Point, Trend
from evergreen.reporting.numbers import decimals, measured, number

WIDTH, HEIGHT = 1000, 100  # units of the drawing, whatever its size on the page
FLAT = 0.02  # least share of its greatest value that the axis of a figure spans
COLOUR_OF: dict[Action, str] = {
    "none": "rule",
    "watch": "wait",
    "retrain": "challenger",
    "rollback": "bad",
    "alert": "series-3",
}
_SHARE_OF: dict[Action, float] = {
    "none": 0.3,
    "watch": 0.6,
    "retrain": 1,
    "rollback": 1,
    "alert": 1,
}


@dataclass(frozen=True)
class Mark:
    """A word beside a drawing, at so many percent of its width or height."""

    at: float
    text: str


@dataclass(frozen=True)
class Chart:
    """A drawing and the words around it."""

    svg: Markup
    heights: tuple[Mark, ...]  # percent from the top
    versions: tuple[Mark, ...]  # percent from the left


def sparkline(trend: Trend) -> Markup:
    """Draw a trend the size of a word: its limit dashed, alarms as dots."""
    values = [point.value for point in trend.points if measured(point.value)]
    if not values:
        return Markup("")
    top = max([*values, 1.25 * (trend.limit or 0)]) or 1.0
    place = _Scale(len(trend.points), 0.0, top * 1.04)
    parts = []
    if trend.limit is not None:
        y = place.y(trend.limit)
        parts.append(_stroke(f"M0 {y}H{WIDTH}", "baseline", 1, "3 3"))
    parts.append(_stroke(_line(trend.points, place), "series-1", 1.5))
    _, loud = _dots(trend.points, place)
    last = place.dot(len(trend.points) - 1, trend.now.value)
    parts += [_stroke(loud, "bad", 5), "" if trend.now.alarm else _stroke(last, "series-1", 5)]
    return _svg("".join(parts), "spark")


def chart(trend: Trend, windows: Sequence[MonitoredWindow], *, estimated: bool = False) -> Chart:
    """Draw a figure with its bounds, beside what it was at training."""
    given = [p for p in trend.points if measured(p.value)]
    ends = [v for p in given for v in (p.value, p.low, p.high, p.before) if measured(v)]
    low, high = min(ends), max(ends)
    if high - low < FLAT * abs(high):  # or noise would fill the drawing
        low, high = low - FLAT * abs(high) / 2, high + FLAT * abs(high) / 2
    room = (high - low) * 0.08 or abs(high) * 0.1 or 1.0
    place = _Scale(len(trend.points), low - room, high + room)
    bounds = "".join(
        f"M{place.x(n)} {place.y(p.low)}V{place.y(p.high)}"
        for n, p in enumerate(trend.points)
        if measured(p.low) and measured(p.high) and measured(p.value)
    )
    parts = [
        _stroke(_changes(windows), "muted", 1, "1 4"),
        _stroke(_reference(trend.points, place), "baseline", 1.5, "" if estimated else "5 4"),
        _stroke(bounds, "series-1", 1.5, opacity=0.45),
        _stroke(_line(trend.points, place), "series-1", 1.6, "5 4" if estimated else ""),
    ]
    calm, loud = _dots(trend.points, place)
    late = "".join(
        place.dot(n, p.value) for n, p in enumerate(trend.points) if p.late and not p.alarm
    )
    parts += [_stroke(calm, "series-1", 6), _stroke(late, "paper", 3), _stroke(loud, "bad", 8)]
    places = decimals([high - low], 2)
    heights = tuple(
        Mark(place.y(value), f"{value:z.{places}f}" if places < 6 else number(value))
        for value in (high, (low + high) / 2, low)
    )
    said = ", ".join(number(p.value, missing="not measured") for p in trend.points)
    label = f"{trend.title} {trend.note}, window by window: {said}"
    return Chart(_svg("".join(parts), "plot", label), heights, version_marks(windows))


def timeline(windows: Sequence[MonitoredWindow]) -> Chart:
    """Draw one bar per window; the higher, the more was done."""
    step = WIDTH / len(windows)
    gap = min(4.0, step * 0.2)
    parts = []
    for n, window in enumerate(windows):
        left, right = _short(n * step + gap / 2), _short((n + 1) * step - gap / 2)
        top = _short(HEIGHT * (1 - _SHARE_OF[window.action]))
        colour = COLOUR_OF[window.action]
        path = f"M{left} {HEIGHT}V{top}H{right}V{HEIGHT}z"
        parts.append(f'<path d="{path}" style="fill:var(--{colour})"/>')
    said = ", ".join(window.action for window in windows)
    svg = _svg("".join(parts), "steps", f"Decisions, window by window: {said}")
    return Chart(svg, (), version_marks(windows))


def version_marks(windows: Sequence[MonitoredWindow]) -> tuple[Mark, ...]:
    """Return where each version begins to serve."""
    step = 100 / len(windows)
    marks = [Mark(0.0, f"version {windows[0].version}")]
    for n, (one, other) in enumerate(pairwise(windows), start=1):
        if one.version != other.version:
            marks.append(Mark(round(n * step, 2), f"version {other.version}"))
    # Words need room: of versions that follow each other closely the newer one is named.
    kept = [m for m, later in pairwise(marks) if later.at - m.at >= 9]
    return (*kept, marks[-1])


class _Scale:
    """From windows and values to units of the drawing."""

    def __init__(self, count: int, low: float, high: float) -> None:
        self._step, self._low, self._span = WIDTH / count, low, (high - low) or 1.0

    def x(self, place: int) -> str:
        return _short((place + 0.5) * self._step)

    def y(self, value: float) -> float:
        share = min(max((value - self._low) / self._span, 0.0), 1.0)
        return round(HEIGHT * (1 - share), 1)

    def dot(self, place: int, value: float | None) -> str:
        return f"M{self.x(place)} {self.y(value)}h0" if measured(value) else ""


def _line(points: Sequence[Point], place: _Scale) -> str:
    """Join neighbours; a window without a figure interrupts the line."""
    path, pen = [], "M"
    for n, point in enumerate(points):
        if measured(point.value):
            path.append(f"{pen}{place.x(n)} {place.y(point.value)}")
        pen = "L" if measured(point.value) else "M"
    return "".join(path)


def _dots(points: Sequence[Point], place: _Scale) -> tuple[str, str]:
    dots = [(p.alarm, place.dot(n, p.value)) for n, p in enumerate(points)]
    return "".join(d for a, d in dots if not a), "".join(d for a, d in dots if a)


def _reference(points: Sequence[Point], place: _Scale) -> str:
    """Draw what the figure was at training: a step where another model serves."""
    step = WIDTH / len(points)
    path, last = [], None
    for n, point in enumerate(points):
        if not measured(point.before):
            last = None
            continue
        if point.before != last:
            path.append(f"M{_short(n * step)} {place.y(point.before)}")
        path.append(f"H{_short((n + 1) * step)}")
        last = point.before
    return "".join(path)


def _changes(windows: Sequence[MonitoredWindow]) -> str:
    step = WIDTH / len(windows)
    return "".join(
        f"M{_short(n * step)} 0V{HEIGHT}"
        for n, (one, other) in enumerate(pairwise(windows), start=1)
        if one.version != other.version
    )


def _stroke(path: str, colour: str, width: float, dashes: str = "", opacity: float = 1) -> str:
    if not path:
        return ""
    dashed = f' stroke-dasharray="{dashes}"' if dashes else ' stroke-linecap="round"'
    faint = f' stroke-opacity="{opacity}"' if opacity != 1 else ""
    return (
        f'<path d="{path}" style="stroke:var(--{colour})" stroke-width="{width}"{dashed}{faint} '
        'stroke-linejoin="round" vector-effect="non-scaling-stroke"/>'
    )


def _svg(inside: str, kind: str, label: str = "") -> Markup:
    said = f'role="img" aria-label="{escape(label)}"' if label else 'aria-hidden="true"'
    return Markup(  # noqa: S704 (numbers and escaped text only)
        f'<svg class="{kind}" {said} viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none" '
        f'fill="none">{inside}</svg>'
    )


def _short(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
