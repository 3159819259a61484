"""What predictions are worth, per row, where the use case says so."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from evergreen.config import ErrorCost, EvaluationConfig, Label, Outcome
from evergreen.errors import InputError
from evergreen.training.predictions import FloatArray, Predictions


def gain_per_row(predictions: Predictions, config: EvaluationConfig) -> FloatArray | None:
    """Return each row's gain (n, in the use case's unit); None where no value is stated, NaN where
    a prediction is missing.

    A combination of actual and predicted label that ``outcomes`` does not name is worth 0.

    Raises
    ------
    InputError
        If an outcome names an unknown label, or a combination twice.
    """
    if not predictions.complete and (config.outcomes or config.error_cost):
        return np.full(len(predictions), np.nan)
    if predictions.labels is None:
        return None if config.error_cost is None else _error_gains(predictions, config.error_cost)
    if not config.outcomes:
        return None
    table = outcome_table(config.outcomes, predictions.labels)
    # A predicted label that is none of ours meets the extra column: worth nothing.
    padded = np.pad(table, ((0, 0), (0, 1)))
    return padded[predictions.actual_codes, predictions.predicted_codes]


def outcome_table(outcomes: Sequence[Outcome], labels: Sequence[Label]) -> FloatArray:
    """Return the gains as a k×k table: actual labels down, predicted labels across.

    Raises
    ------
    InputError
        If an outcome names an unknown label, or a combination twice.
    """
    table = np.zeros((len(labels), len(labels)))
    seen: set[tuple[int, int]] = set()
    for number, outcome in enumerate(outcomes):
        place = (
            _position(outcome.actual, labels, f"evaluation.outcomes[{number}].actual"),
            _position(outcome.predicted, labels, f"evaluation.outcomes[{number}].predicted"),
        )
        if place in seen:
            raise InputError(
                f"evaluation.outcomes[{number}]: actual {outcome.actual!r} predicted as "
                f"{outcome.predicted!r} already has a gain above; keep one of the two."
            )
        seen.add(place)
        table[place] = outcome.gain
    return table


def _error_gains(predictions: Predictions, cost: ErrorCost) -> FloatArray:
    excess = predictions.predicted - predictions.actual
    return -np.where(excess < 0, -excess * cost.too_low, excess * cost.too_high)


def _position(written: Label, labels: Sequence[Label], where: str) -> int:
    """Find a label; one written as text in YAML may also be a number in the table."""
    for position, label in enumerate(labels):
        if str(label) == str(written) or label == written:
            return position
    known = ", ".join(repr(label) for label in labels)
    raise InputError(f"{where}: there is no class {written!r}. The target's classes are: {known}.")
