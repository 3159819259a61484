"""Figures of a regression model on the holdout."""

from __future__ import annotations

import math
from statistics import median

from evergreen.reporting.figures.canvas import square_sheet
from evergreen.reporting.numbers import number, share
from evergreen.reporting.style import CHALLENGER, MUTED, Drawing
from evergreen.training.results import Evaluation, Residuals


def draw_predicted(evaluation: Evaluation, target: str, unit: str | None) -> Drawing | None:
    """Predicted against actual values."""
    pairs = _pairs(evaluation.residuals)
    if not pairs:
        return None
    sheet, axes = square_sheet()
    low, high = min(min(pair) for pair in pairs), max(max(pair) for pair in pairs)
    pad = 0.04 * (high - low) or 1.0
    axes.plot([low - pad, high + pad], [low - pad, high + pad], color=MUTED, lw=1, ls=(0, (3, 3)))
    axes.plot(*zip(*pairs, strict=True), "o", ms=4.5, mew=0, color=CHALLENGER, alpha=0.5)
    axes.set_xlim(low - pad, high + pad)
    axes.set_ylim(low - pad, high + pad)
    suffix = f" ({unit})" if unit else ""
    axes.set_xlabel(f"Actual{suffix}")
    axes.set_ylabel(f"Predicted{suffix}")
    return sheet.drawing(
        "predicted",
        f"Predicted against actual {target} on the holdout",
        f"{len(pairs)} rows; on the dashed line a prediction is exact.",
    )


def draw_residuals(evaluation: Evaluation, target: str, unit: str | None) -> Drawing | None:
    """Residuals against predicted values: what the model still gets wrong, and where."""
    pairs = _pairs(evaluation.residuals)
    if not pairs:
        return None
    residuals = [actual - predicted for actual, predicted in pairs]
    sheet, axes = square_sheet()
    axes.axhline(0, color=MUTED, lw=1, ls=(0, (3, 3)))
    axes.plot(
        [predicted for _, predicted in pairs],
        residuals,
        "o",
        ms=4.5,
        mew=0,
        color=CHALLENGER,
        alpha=0.5,
    )
    reach = 1.08 * max(abs(value) for value in residuals) or 1.0
    axes.set_ylim(-reach, reach)
    suffix = f" ({unit})" if unit else ""
    axes.set_xlabel(f"Predicted{suffix}")
    axes.set_ylabel(f"Residual: actual − predicted{suffix}")
    low = sum(value > 0 for value in residuals) / len(residuals)
    typical = median(abs(value) for value in residuals)
    return sheet.drawing(
        "residuals",
        f"Predictions of {target} are too low for {share(low)} of the rows; half are closer "
        f"than {number(typical)}",
        "Residuals against predicted values; a pattern would be something the model has not "
        "learned.",
    )


def _pairs(residuals: Residuals | None) -> list[tuple[float, float]]:
    if residuals is None:
        return []
    return [
        pair
        for pair in zip(residuals.actual, residuals.predicted, strict=True)
        if all(math.isfinite(value) for value in pair)
    ]
