"""Small figures, one per column: its distribution, and how the target changes along it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from evergreen.data.contract import Column
from evergreen.data.statistics import as_numbers, histogram_edges, is_numeric
from evergreen.reporting.column_summary import readable
from evergreen.reporting.figures.canvas import Sheet
from evergreen.reporting.numbers import listing, plural, shorten
from evergreen.reporting.style import INK, SERIES, Drawing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH, HEIGHT = 190, 120
BINS = 18
LEVELS = 6
POINTS = 250
MANY, EXTREME = 100, 0.005  # of so many rows, such a share at either end is left out
OTHER = "other"


def has_scale(column: Column) -> bool:
    """Return whether a column is drawn along a scale; the others are drawn level by level."""
    return is_numeric(column) and column.type != "boolean"


def level_names(values: pd.Series, column: Column) -> pd.Series:
    """Return the present values as names of levels; booleans become yes and no."""
    present = values.dropna()
    if column.type == "boolean":
        return pd.Series(np.where(present != 0, "yes", "no"), index=present.index)
    return present.astype(str)


def main_classes(target: pd.Series) -> tuple[str, ...]:
    """Return the classes that are drawn in colours of their own, most frequent first."""
    sizes = target.dropna().astype(str).value_counts()
    return tuple(sorted(str(each) for each in sizes.index[: len(SERIES)]))


def draw_distribution(
    values: pd.Series, column: Column, target: pd.Series | None, classes: Sequence[str], name: str
) -> Drawing | None:
    """Draw one column's distribution, by class where ``target`` holds classes.

    ``values`` and ``target`` share their index. Returns None where the column holds nothing.
    """
    parts = _parts(values, target, classes)
    if has_scale(column):
        numbers = [as_numbers(each, column).dropna().to_numpy() for each in parts]
        return _histograms(numbers, column, name)
    return _level_bars(values, parts, column, name)


def _parts(values: pd.Series, target: pd.Series | None, classes: Sequence[str]) -> list[pd.Series]:
    if target is None:
        return [values]
    labels = target.astype(str)
    return [values[(labels == each) & target.notna()] for each in classes]


def _histograms(parts: list[np.ndarray], column: Column, name: str) -> Drawing | None:
    everything = np.concatenate(parts) if parts else np.array([])
    if not len(everything):
        return None
    low, high = float(everything.min()), float(everything.max())
    edges = histogram_edges(low, high, BINS)
    sheet, axes = _small()
    for part, colour in zip(parts, SERIES, strict=False):
        if not len(part):
            continue
        counts = np.histogram(part, bins=edges)[0] / len(part)
        axes.stairs(counts, edges, fill=True, color=colour, alpha=0.22 if len(parts) > 1 else 0.8)
        if len(parts) > 1:
            axes.stairs(counts, edges, color=colour, lw=1.3)
    axes.set_ylim(bottom=0)
    _ends(axes, low, high, column)
    return sheet.drawing(
        name,
        column.name,
        "",
        f"Distribution from {readable(low, column)} to {readable(high, column)}.",
    )


def _level_bars(
    values: pd.Series, parts: list[pd.Series], column: Column, name: str
) -> Drawing | None:
    sizes = level_names(values, column).value_counts()
    if not len(sizes):
        return None
    levels = [str(each) for each in sizes.index[:LEVELS]]
    sheet, axes = _small(left=70)
    start = np.zeros(len(levels))
    for part, colour in zip(parts, SERIES, strict=False):
        found = level_names(part, column).value_counts()
        counts = np.array([int(found.get(each, 0)) for each in levels], dtype="float64")
        axes.barh(range(len(levels)), counts, left=start, height=0.7, color=colour, alpha=0.85)
        start += counts
    _levels_axis(axes, levels)
    axes.set_xticks([0, int(start.max())], ["0", f"{int(start.max()):,}"])
    hidden = len(sizes) - len(levels)
    more = f" and {plural(hidden, 'rarer level')}" if hidden > 0 else ""
    return sheet.drawing(name, column.name, "", f"Rows of {listing(levels, LEVELS)}{more}.")


def draw_relation(
    values: pd.Series, column: Column, target: pd.Series, name: str
) -> Drawing | None:
    """Draw a numeric target along one column: points with their running median, or per level.

    ``target`` holds floats and shares the index of ``values``.
    """
    if has_scale(column):
        return _cloud(as_numbers(values, column), column, target, name)
    both = values.notna() & target.notna()
    groups = target[both].groupby(level_names(values[both], column))
    quartiles = [groups.quantile(each) for each in (0.25, 0.5, 0.75)]
    levels = [str(each) for each in groups.size().sort_values(ascending=False).index[:LEVELS]]
    if not levels:
        return None
    sheet, axes = _small(left=70)
    for y, level in enumerate(levels):
        low, middle, high = (float(each[level]) for each in quartiles)
        axes.plot([low, high], [y, y], color=SERIES[0], lw=3, alpha=0.5, solid_capstyle="round")
        axes.plot(middle, y, "o", ms=5, color=SERIES[0])
    _levels_axis(axes, levels)
    axes.margins(x=0.08)
    return sheet.drawing(name, column.name, "", "Median and middle half of the target per level.")


def _cloud(values: pd.Series, column: Column, target: pd.Series, name: str) -> Drawing | None:
    both = (values.notna() & target.notna()).to_numpy()
    x, y = values.to_numpy()[both], target.to_numpy(dtype="float64")[both]
    if not len(x):
        return None
    sheet, axes = _small(left=40)
    step = -(-len(x) // POINTS)
    axes.plot(x[::step], y[::step], "o", ms=2.6, mew=0, color=SERIES[0], alpha=0.35)
    edges = np.unique(np.quantile(x, np.linspace(0, 1, 9)))
    if len(edges) > 2:
        places = np.clip(np.searchsorted(edges, x, side="right") - 1, 0, len(edges) - 2)
        bins = [each for each in range(len(edges) - 1) if (places == each).any()]
        axes.plot(
            [float(np.median(x[places == each])) for each in bins],
            [float(np.median(y[places == each])) for each in bins],
            color=INK,
            lw=1.5,
        )
    _ends(axes, float(x.min()), float(x.max()), column)
    from matplotlib.ticker import MaxNLocator

    axes.yaxis.set_major_locator(MaxNLocator(nbins=3))
    axes.yaxis.set_visible(True)
    if len(y) >= MANY:
        low, high = np.quantile(y, [EXTREME, 1 - EXTREME])
        pad = 0.06 * (high - low) or 1.0
        axes.set_ylim(low - pad, high + pad)
    return sheet.drawing(name, column.name, "", "The target along this column, with its median.")


def _small(left: float = 6) -> tuple[Sheet, Axes]:
    sheet = Sheet(WIDTH, HEIGHT)
    axes = sheet.axes(left=left, right=8, top=6, bottom=22)
    axes.spines["left"].set_visible(False)
    axes.yaxis.set_visible(False)
    axes.tick_params(length=0)
    return sheet, axes


def _ends(axes: Axes, low: float, high: float, column: Column) -> None:
    """Label the axis at its two ends only; the labels stay inside the figure."""
    if low == high:
        axes.set_xticks([low], [readable(low, column)])
        return
    axes.set_xticks([low, high], [readable(low, column), readable(high, column)])
    left, right = axes.get_xticklabels()
    left.set_horizontalalignment("left")
    right.set_horizontalalignment("right")


def _levels_axis(axes: Axes, levels: Sequence[str]) -> None:
    axes.yaxis.set_visible(True)
    axes.set_ylim(LEVELS - 0.5 if len(levels) > 3 else 3.5, -0.5)
    axes.set_yticks(range(len(levels)), [shorten(each, 9) for each in levels])
