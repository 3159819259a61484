"""Figures of a whole table: the target, missing values, correlations, associations."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from evergreen.data.contract import Contract
from evergreen.data.statistics import ColumnStatistics
from evergreen.reporting.associations import Association
from evergreen.reporting.figures.canvas import (
    NAME_LENGTH,
    WIDTH,
    Sheet,
    row_sheet,
    square_sheet,
)
from evergreen.reporting.numbers import correlation, measured, plain, plural, share, shorten
from evergreen.reporting.style import INK, PAPER, SERIES, Drawing

MAX_ROWS = 15
WRITTEN_CELLS = 12  # up to so many columns, a correlation's value stands in its cell


def draw_target(found: ColumnStatistics, contract: Contract) -> Drawing | None:
    """Draw the target: rows per class, or a histogram."""
    if contract.task == "classification":
        return _classes(found.levels, contract) if found.levels is not None else None
    spread = found.spread
    if spread is None:
        return None
    sheet, axes = square_sheet(300)
    axes.stairs(spread.counts, spread.edges, fill=True, color=SERIES[0], alpha=0.8)
    axes.grid(visible=False, axis="x")
    unit = contract.column(contract.target).unit
    axes.set_xlabel(f"{shorten(contract.target, 40)}{f' ({unit})' if unit else ''}")
    axes.set_ylabel("Rows")
    low, middle, high = (plain(each) for each in (spread.low, spread.median, spread.high))
    return sheet.drawing(
        "target",
        f"{contract.target} lies between {low} and {high}, half of it below {middle}",
        "Rows by value of the target.",
    )


def _classes(sizes: pd.Series[int], contract: Contract) -> Drawing:
    shown = sizes.iloc[:MAX_ROWS]
    sheet, axes = row_sheet([str(each) for each in shown.index], guides=False)
    axes.barh(range(len(shown)), shown.to_numpy(), height=0.62, color=SERIES[0], alpha=0.85)
    axes.set_xlabel("Rows", loc="right")
    most, least = (float(sizes.iloc[place] / sizes.sum()) for place in (0, -1))
    said = f"between {share(least)} and {share(most)} of the rows each"
    more = f"The {len(shown)} most frequent ones. " if len(sizes) > len(shown) else ""
    return sheet.drawing(
        "target",
        f"{plural(len(sizes), 'class', 'classes')} of {contract.target}, {said}",
        f"{more}Rows per class.",
        "; ".join(f"{name}: {size:,}" for name, size in shown.items()) + ".",
    )


def draw_missing(shares: Sequence[tuple[str, float]]) -> Drawing | None:
    """Draw the share of missing values of the columns that have any, most first."""
    holes = sorted((each for each in shares if each[1] > 0), key=lambda each: -each[1])
    if not holes:
        return None
    shown = holes[:MAX_ROWS]
    sheet, axes = row_sheet([name for name, _ in shown], guides=False)
    axes.barh(
        range(len(shown)),
        [100 * part for _, part in shown],
        height=0.62,
        color=SERIES[1],
        alpha=0.85,
    )
    axes.set_xlim(0, 100)
    axes.set_xlabel("Missing, % of the rows", loc="right")
    more = f"The first {len(shown)}. " if len(holes) > len(shown) else ""
    return sheet.drawing(
        "missing",
        f"{plural(len(holes), 'column')} with missing values; most in {holes[0][0]} "
        f"({share(holes[0][1])})",
        f"{more}Share of rows without a value.",
        "; ".join(f"{name}: {share(part)}" for name, part in shown) + ".",
    )


def draw_associations(found: Sequence[Association], target: str) -> Drawing | None:
    """Draw how strongly each column goes with the target, strongest first."""
    known = [each for each in found if measured(each.value)]
    if not known:
        return None
    shown = known[:MAX_ROWS]
    sheet, axes = row_sheet([each.column for each in shown], row=22, guides=False)
    axes.barh(
        range(len(shown)),
        [abs(each.value or 0.0) for each in shown],
        height=0.6,
        color=SERIES[0],
        alpha=0.85,
    )
    axes.set_xlim(0, 1)
    axes.set_xlabel("Strength of association", loc="right")
    measures = sorted({each.measure for each in known})
    more = f"The first {len(shown)} of {len(known)} columns. " if len(known) > len(shown) else ""
    return sheet.drawing(
        "associations",
        f"{shown[0].column} goes most with {target} ({correlation(abs(shown[0].value or 0.0))})",
        f"{more}0: unrelated, 1: one determines the other. Measured by {' or '.join(measures)}.",
        "; ".join(f"{each.column}: {correlation(each.value)}" for each in shown) + ".",
    )


def draw_correlations(
    matrix: npt.NDArray[np.float64], names: Sequence[str], name: str, measure: str
) -> Drawing | None:
    """Draw a matrix of associations: blue goes along, orange goes against."""
    pairs = np.isfinite(matrix) & ~np.eye(len(names), dtype=bool)
    known = [place for place, row in enumerate(pairs) if row.any()]
    if not known:
        return None
    matrix = matrix[np.ix_(known, known)]
    names = [names[place] for place in known]
    off = np.where(np.tril(np.ones_like(matrix), -1) > 0, np.abs(matrix), np.nan)
    count = len(names)
    labels = [shorten(each, NAME_LENGTH) for each in names]
    longest = max(len(each) for each in labels) * 6.4
    cell = min(max(300 / count, 20), 44)
    left, below = longest + 14, longest + 14
    width = max(left + cell * count + 14, WIDTH)
    sheet = Sheet(width, cell * count + below + 8)
    axes = sheet.axes(left=left, right=width - left - cell * count, top=8, bottom=below)
    axes.set_xlim(-0.5, count - 0.5)
    axes.set_ylim(count - 0.5, -0.5)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.tick_params(length=0)
    axes.set_yticks(range(count), labels)
    axes.set_xticks(range(count), labels, rotation=90)
    _shade(sheet, matrix)
    i, j = np.unravel_index(int(np.nanargmax(off)), off.shape)
    strongest = f"{names[int(i)]} and {names[int(j)]}"
    return sheet.drawing(
        name,
        f"{strongest} go together most ({correlation(float(matrix[i, j]))})",
        f"{measure} of each pair; the stronger the colour, the stronger the relation"
        + (" (orange: negative)." if np.nanmin(matrix) < 0 else "."),
    )


def _shade(sheet: Sheet, matrix: npt.NDArray[np.float64]) -> None:
    from matplotlib.patches import Rectangle

    axes = sheet.figure.axes[0]
    written = len(matrix) <= WRITTEN_CELLS
    for i in range(len(matrix)):
        for j in range(i):
            value = float(matrix[i, j])
            if not np.isfinite(value):
                continue
            strength = round(abs(value), 2)
            if strength >= 0.03:
                colour = SERIES[0] if value > 0 else SERIES[1]
                axes.add_patch(
                    Rectangle((j - 0.48, i - 0.48), 0.96, 0.96, lw=0, color=colour, alpha=strength)
                )
            if written:
                text = f"{value:.1f}".replace("-", "−").replace("−0.0", "0.0")
                axes.text(
                    j,
                    i,
                    text,
                    ha="center",
                    va="center",
                    fontsize=9.5,
                    color=PAPER if strength > 0.6 else INK,
                )
