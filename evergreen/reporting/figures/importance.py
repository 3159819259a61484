"""Which columns matter."""

from __future__ import annotations

from evergreen.reporting.figures.canvas import row_sheet
from evergreen.reporting.glossary import metric_prose
from evergreen.reporting.numbers import listing, measured, plural
from evergreen.reporting.style import CHALLENGER, INK, SERIES, Drawing
from evergreen.training.results import Explanation, Importance

MAX_COLUMNS = 15


def draw_permutation(explanation: Explanation) -> Drawing | None:
    """How much the metric suffers when a column is shuffled."""
    measurable = [each for each in explanation.columns if measured(each.permutation)]
    shown = sorted(measurable, key=lambda each: -(each.permutation or 0.0))[:MAX_COLUMNS]
    if not shown:
        return None
    sheet, axes = row_sheet([each.column for each in shown], row=22, guides=False)
    values = [each.permutation or 0.0 for each in shown]
    axes.barh(range(len(shown)), values, height=0.56, color=CHALLENGER, alpha=0.8)
    for y, each in enumerate(shown):
        std = each.permutation_std or 0.0
        axes.plot([values[y] - std, values[y] + std], [y, y], color=INK, lw=1.2)
    axes.set_xlabel(f"Worsening of {metric_prose(explanation.metric)} when shuffled", loc="right")
    return sheet.drawing(
        "importance_permutation",
        _title(
            f"{metric_prose(explanation.metric)} suffers most from shuffling",
            shown,
            len(measurable),
        ),
        f"Permutation importance on {plural(explanation.rows, 'row')}, greatest first; lines: one "
        "standard deviation over the repeats.",
    )


def draw_shap(explanation: Explanation) -> Drawing | None:
    """How far a column moves single predictions."""
    measurable = [each for each in explanation.columns if measured(each.shap)]
    shown = sorted(measurable, key=lambda each: -(each.shap or 0.0))[:MAX_COLUMNS]
    if not shown:
        return None
    sheet, axes = row_sheet([each.column for each in shown], row=22, guides=False)
    axes.barh(
        range(len(shown)),
        [each.shap or 0.0 for each in shown],
        height=0.56,
        color=SERIES[0],
        alpha=0.8,
    )
    axes.set_xlim(left=0)
    axes.set_xlabel("Mean absolute SHAP value", loc="right")
    return sheet.drawing(
        "importance_shap",
        _title("predictions are moved most by", shown, len(measurable)),
        f"Mean absolute SHAP values on {plural(explanation.rows, 'row')} "
        f"({explanation.shap_method}), greatest first.",
    )


def _title(said: str, shown: list[Importance], total: int) -> str:
    names = listing(f"“{each.column}”" for each in shown[: min(2, len(shown))])
    more = f" (first {len(shown)} of {total} columns)" if total > len(shown) else ""
    return f"{said[0].upper()}{said[1:]} {names}{more}"
