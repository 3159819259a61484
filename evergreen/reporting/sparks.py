"""Drawings the size of a word: SVG that stands inside a table's cell."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup, escape

from evergreen.reporting.numbers import measured
from evergreen.training.results import Interval

STRIP_WIDTH, STRIP_ROW = 150, 9
BARS_WIDTH, BARS_HEIGHT = 96, 22


def interval_strip(arms: Sequence[tuple[str, Interval | None]]) -> Markup:
    """Draw estimates with their bounds on one scale, one line per arm.

    ``arms`` holds CSS colour names (challenger, champion, baseline) with their intervals; the
    numbers stand beside it in the table, so the drawing is hidden from screen readers. Empty where
    nothing is measurable.
    """
    drawn = [(row, name, value) for row, (name, value) in enumerate(arms) if value is not None]
    ends = [
        end
        for _, _, value in drawn
        for end in (value.estimate, value.low, value.high)
        if measured(end)
    ]
    if not ends:
        return Markup("")
    low, span = min(ends), (max(ends) - min(ends)) or 1.0

    def place(value: float) -> float:
        return round(5 + (STRIP_WIDTH - 10) * (value - low) / span, 1)

    marks = []
    for row, name, value in drawn:
        y = 6 + STRIP_ROW * row
        if not measured(value.estimate):
            continue
        if measured(value.low) and measured(value.high):
            marks.append(
                f'<path d="M{place(value.low)} {y}H{place(value.high)}" '
                f'style="stroke:var(--{name})" stroke-width="2" stroke-linecap="round"/>'
            )
        marks.append(
            f'<circle cx="{place(value.estimate)}" cy="{y}" r="3.2" style="fill:var(--{name})"/>'
        )
    height = 12 + STRIP_ROW * (len(arms) - 1)
    return _svg(STRIP_WIDTH, height, "".join(marks), "strip")


def bars(values: Sequence[float], label: str = "") -> Markup:
    """Draw a histogram's counts as small bars of equal width."""
    top = max(values, default=0)
    if top <= 0:
        return Markup("")
    step = BARS_WIDTH / len(values)
    width = max(step - 1, 0.5)
    path = "".join(
        f"M{n * step:.1f} {BARS_HEIGHT}v{-max(value / top * (BARS_HEIGHT - 1), 1):.1f}"
        f"h{width:.1f}V{BARS_HEIGHT}z"
        for n, value in enumerate(values)
        if value > 0
    )
    return _svg(BARS_WIDTH, BARS_HEIGHT, f'<path d="{path}"/>', "bars", label)


def _svg(width: int, height: int, inside: str, kind: str, label: str = "") -> Markup:
    said = f'role="img" aria-label="{escape(label)}"' if label else 'aria-hidden="true"'
    return Markup(  # noqa: S704 (numbers and escaped text only)
        f'<svg class="{kind}" {said} width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}">{inside}</svg>'
    )
