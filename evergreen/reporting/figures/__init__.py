"""The figures of a training run."""

from __future__ import annotations

from collections.abc import Mapping

from evergreen.reporting.facts import TrainingFacts
from evergreen.reporting.figures.canvas import drawing_style
from evergreen.reporting.figures.classification import (
    draw_calibration,
    draw_confusion,
    draw_precision_recall,
    draw_roc,
)
from evergreen.reporting.figures.comparison import draw_candidates, draw_metrics
from evergreen.reporting.figures.importance import draw_permutation, draw_shap
from evergreen.reporting.figures.regression import draw_predicted, draw_residuals
from evergreen.reporting.figures.slices import draw_slices
from evergreen.reporting.style import Drawing, standalone


def draw(facts: TrainingFacts) -> dict[str, Drawing]:
    """Draw every figure that the facts can fill, by name.

    Names: metrics, candidates, confusion, roc, precision_recall, calibration, predicted,
    residuals, importance_permutation, importance_shap, slices.
    """
    challenger, explanation = facts.challenger, facts.explanation
    target = facts.data.contract.target
    unit = next((each.unit for each in facts.data.contract.columns if each.role == "target"), None)
    with drawing_style():
        drawings = [
            draw_metrics(facts),
            draw_candidates(facts.search),
            draw_confusion(challenger),
            draw_roc(challenger),
            draw_precision_recall(challenger),
            draw_calibration(challenger),
            draw_predicted(challenger, target, unit),
            draw_residuals(challenger, target, unit),
            draw_permutation(explanation) if explanation else None,
            draw_shap(explanation) if explanation else None,
            draw_slices(challenger, facts.search.metric),
        ]
    return {drawing.name: drawing for drawing in drawings if drawing is not None}


def figures(facts: TrainingFacts, drawings: Mapping[str, Drawing] | None = None) -> dict[str, str]:
    """Return every figure as a standalone SVG file's text, by name (see `draw`).

    ``drawings`` spares drawing them again where `draw` was called already.
    """
    drawn = draw(facts) if drawings is None else drawings
    return {name: standalone(drawing) for name, drawing in drawn.items()}
