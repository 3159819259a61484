"""One metric within groups of rows."""

from __future__ import annotations

from evergreen.reporting.figures.canvas import mark_interval, row_sheet
from evergreen.reporting.glossary import metric_title
from evergreen.reporting.numbers import listing, measured, plural, share, shorten
from evergreen.reporting.style import CHALLENGER, INK, Drawing
from evergreen.training.results import Evaluation, SliceResult

MAX_SLICES = 30


def draw_slices(evaluation: Evaluation, metric: str) -> Drawing | None:
    """A forest plot: the metric of each slice with its interval, beside the whole holdout's."""
    slices = evaluation.slices
    if not any(_is_measured(each, metric) for each in slices):
        return None
    shown = slices[:MAX_SLICES]
    columns = {each.column for each in slices}
    labels = [_label(each, alone=len(columns) == 1) for each in shown]
    sheet, axes = row_sheet(labels, row=23, longest=38)
    whole = evaluation.metrics.get(metric)
    if whole is not None and measured(whole.estimate):
        axes.axvline(whole.estimate, color=INK, lw=1, ls=(0, (3, 3)))
    for y, each in enumerate(shown):
        mark_interval(axes, y, each.metrics.get(metric), CHALLENGER)
    axes.margins(x=0.06)
    axes.set_xlabel(metric_title(metric), loc="right")
    more = f", first {len(shown)} of {len(slices)}" if len(slices) > len(shown) else ""
    return sheet.drawing(
        "slices",
        f"{metric_title(metric)} within {plural(len(slices), 'group')} of rows by "
        f"{listing(sorted(columns))}{more}",
        f"Estimates with {share(evaluation.confidence)} intervals; the dashed line is the whole "
        "holdout.",
    )


def _is_measured(each: SliceResult, metric: str) -> bool:
    value = each.metrics.get(metric)
    return value is not None and measured(value.estimate)


def _label(each: SliceResult, *, alone: bool) -> str:
    """Name a slice; the column is left out where there is but one, the title has it."""
    column = "" if alone else f"{shorten(each.column, 12)} "
    return f"{column}{shorten(each.value, 16)} (n={each.rows:,})"
