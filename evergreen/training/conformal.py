"""Prediction intervals of a regression, by split conformal prediction.

Source: Lei, G'Sell, Rinaldo, Tibshirani, Wasserman, "Distribution-Free Predictive Inference for
Regression" (JASA 2018). Of new rows drawn as the holdout was, at least the stated share lies
inside, whatever the model and the distribution.
"""

from __future__ import annotations

import math

import numpy as np

from evergreen.training.predictions import Predictions
from evergreen.training.results import PredictionInterval


def prediction_interval(predictions: Predictions, confidence: float) -> PredictionInterval | None:
    """Return the interval that the errors on n rows, unseen by the model, support.

    Of rows that belong together the worst error counts, so that a new group is covered.
    None for a classification, and where there are too few rows (95 % takes 19).
    """
    if predictions.labels is not None or not predictions.complete:
        return None
    errors = np.abs(predictions.actual - predictions.predicted).astype(np.float64)
    if predictions.groups is not None:
        _, codes = np.unique(predictions.groups, return_inverse=True)
        worst = np.zeros(codes.max(initial=-1) + 1)
        np.maximum.at(worst, codes, errors)
        errors = worst
    # The new row's error is as likely as any to be the k-th smallest of n + 1.
    rank = math.ceil(round((len(errors) + 1) * confidence, 9))
    if rank > len(errors):
        return None
    return PredictionInterval(
        confidence=confidence,
        half_width=float(np.partition(errors, rank - 1)[rank - 1]),
        rows=len(errors),
    )
