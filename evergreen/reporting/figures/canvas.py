"""A sheet to draw on: Matplotlib's objects without its global state."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import StringIO
from typing import TYPE_CHECKING, Any

from evergreen.reporting.numbers import NOT_MEASURABLE, measured, shorten
from evergreen.reporting.style import (
    MUTED,
    PAPER,
    PIXELS_PER_INCH,
    RULE,
    SETTINGS,
    Drawing,
    clean,
)
from evergreen.training.results import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.ticker import Locator

WIDTH = 380  # pixels; two figures side by side on a screen, one on a phone
NAME_LENGTH = 24  # characters of a row's label
_CHARACTER = 6.4  # pixels, at most, of an average character at the labels' size


class Sheet:
    """One figure in the making; margins and sizes are in pixels."""

    def __init__(self, width: float, height: float) -> None:
        from matplotlib.figure import Figure

        self.width, self.height = round(width), round(height)
        self.figure: Figure = Figure(
            figsize=(self.width / PIXELS_PER_INCH, self.height / PIXELS_PER_INCH)
        )

    def axes(self, left: float, right: float, top: float, bottom: float) -> Axes:
        """Return axes that keep these distances from the sheet's edges."""
        return self.figure.add_axes(
            (
                left / self.width,
                bottom / self.height,
                (self.width - left - right) / self.width,
                (self.height - top - bottom) / self.height,
            )
        )

    def drawing(self, name: str, title: str, caption: str, values: str = "") -> Drawing:
        """Return what was drawn."""
        from matplotlib.backends.backend_svg import FigureCanvasSVG

        buffer = StringIO()
        FigureCanvasSVG(self.figure).print_figure(buffer, format="svg", metadata={"Date": None})
        return Drawing(
            name, title, caption, clean(buffer.getvalue(), name), self.width, self.height, values
        )


@contextmanager
def drawing_style() -> Iterator[None]:
    """Draw in Evergreen's style inside this block; Matplotlib's own settings come back after it."""
    import matplotlib as mpl

    settings: Any = dict(SETTINGS)  # typed more narrowly than it can be written
    with mpl.rc_context(settings):
        yield


def row_sheet(
    labels: Sequence[str],
    *,
    row: float = 24,
    top: float = 8,
    guides: bool = True,
    longest: int = NAME_LENGTH,
) -> tuple[Sheet, Axes]:
    """Return a sheet of labelled rows, first on top; guides are light lines along the rows."""
    names = [shorten(label, longest) for label in labels]
    left = 14 + _CHARACTER * max((len(name) for name in names), default=0)
    sheet = Sheet(WIDTH, top + row * max(len(names), 1) + 42)
    axes = sheet.axes(left=left, right=12, top=top, bottom=42)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    if guides:
        across = axes.get_yaxis_transform()
        axes.hlines(range(len(names)), 0, 1, transform=across, color=RULE, lw=0.7)
    axes.xaxis.set_major_locator(_few_ticks())
    return sheet, axes


def square_sheet(size: float = WIDTH) -> tuple[Sheet, Axes]:
    """Return a sheet for a curve or a cloud of points, with room for both axes' labels."""
    sheet = Sheet(WIDTH, size * 0.84)
    axes = sheet.axes(left=56, right=14, top=10, bottom=44)
    axes.grid(visible=True)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.tick_params(length=0)
    axes.xaxis.set_major_locator(_few_ticks())
    axes.yaxis.set_major_locator(_few_ticks())
    return sheet, axes


def say(axes: Axes, x: float, y: float, text: str, *, ha: str = "left", va: str = "center") -> None:
    """Write a quiet note at a place given in shares of the axes."""
    axes.text(x, y, text, transform=axes.transAxes, ha=ha, va=va, fontsize=10.5, color=MUTED)


def mark_interval(axes: Axes, y: float, value: Interval | None, colour: str) -> None:
    """Draw an estimate with its bounds on a row, or say that it is not measurable."""
    if value is None or not measured(value.estimate):
        across = axes.get_yaxis_transform()
        axes.text(
            0.02,
            y,
            NOT_MEASURABLE,
            transform=across,
            va="center",
            fontsize=10.5,
            color=MUTED,
            bbox={"facecolor": PAPER, "edgecolor": "none", "pad": 2},
        )
        return
    if measured(value.low) and measured(value.high):
        axes.plot([value.low, value.high], [y, y], color=colour, lw=2, solid_capstyle="round")
    axes.plot(value.estimate, y, "o", color=colour, ms=6)


def _few_ticks() -> Locator:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(nbins=5, steps=[1, 2, 2.5, 5, 10])
