"""One metric within groups of rows."""

from __future__ import annotations

from evergreen.reporting.figures.canvas import mark_interval, row_sheet
from evergreen.reporting.glossary import metric_title
from evergreen.reporting.numbers import measured, plural, share
from evergreen.reporting.style import CHALLENGER, INK, Drawing
from evergreen.training.results import Evaluation

MAX_SLICES = 30


def draw_slices(evaluation: Evaluation, metric: str) -> Drawing | None:
    """A forest plot: the metric of each slice with its interval, beside the whole holdout's."""
    slices = evaluation.slices
    if not slices:
        return None
    shown = slices[:MAX_SLICES]
    labels = [f"{each.column}: {each.value} (n={each.rows:,})" for each in shown]
    sheet, axes = row_sheet(labels, row=23)
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
        f"{metric_title(metric)} within {plural(len(slices), 'group')} of rows{more}",
        f"Estimates with {share(evaluation.confidence)} intervals; the dashed line is the whole "
        "holdout.",
    )
