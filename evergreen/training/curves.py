"""The shapes behind the figures: confusion, calibration, ROC and precision-recall, residuals."""

from __future__ import annotations

import numpy as np
from sklearn.metrics import precision_recall_curve, roc_curve

from evergreen.training.bootstrap import wilson
from evergreen.training.predictions import FloatArray, IntArray, Predictions
from evergreen.training.results import CalibrationBin, Curve, Residuals

_CALIBRATION_BINS = 10
_ROWS_PER_BIN = 10
_CURVE_POINTS = 200
_RESIDUALS = 500


def confusion(predictions: Predictions) -> tuple[tuple[int, ...], ...] | None:
    """Count rows by actual (down) and predicted label (across); None for regression."""
    if predictions.labels is None or not predictions.complete or len(predictions) == 0:
        return None
    known = predictions.predicted_codes >= 0
    labels = len(predictions.labels)
    cells = predictions.actual_codes[known] * labels + predictions.predicted_codes[known]
    counts = np.bincount(cells, minlength=labels * labels).reshape(labels, labels)
    return tuple(tuple(int(count) for count in line) for line in counts)


def calibration(predictions: Predictions, confidence: float) -> tuple[CalibrationBin, ...]:
    """Compare predicted probabilities with what came true, in bins of about equally many rows.

    Two labels: the probability of the positive one. More: the probability of the predicted label
    and whether it was right (Guo et al. 2017, On Calibration of Modern Neural Networks). At most
    10 bins, of at least 10 rows where there are so many; bounds are Wilson's.
    """
    if not (predictions.complete and predictions.has_probabilities) or len(predictions) == 0:
        return ()
    probabilities = np.asarray(predictions.probabilities)
    if predictions.binary:
        given = probabilities[:, predictions.positive_code]
        happened = predictions.actual_codes == predictions.positive_code
    else:
        given = probabilities.max(axis=1)
        happened = predictions.actual_codes == probabilities.argmax(axis=1)
    bins = min(_CALIBRATION_BINS, max(1, len(given) // _ROWS_PER_BIN))
    edges = np.unique(np.quantile(given, np.linspace(0, 1, bins + 1)))
    position = np.searchsorted(edges[1:-1], given, side="right")
    return tuple(
        _calibration_bin(given[position == at], happened[position == at], confidence)
        for at in np.unique(position)
    )


def roc(predictions: Predictions) -> tuple[Curve, ...]:
    """ROC curves (x: false positive rate, y: true positive rate)."""
    curves = []
    for label, happened, given in _one_vs_rest(predictions):
        false_positives, true_positives, _ = roc_curve(happened, given)
        curves.append(_thinned(label, false_positives, true_positives))
    return tuple(curves)


def precision_recall(predictions: Predictions) -> tuple[Curve, ...]:
    """Precision-recall curves (x: recall, y: precision), from recall 0 up."""
    curves = []
    for label, happened, given in _one_vs_rest(predictions):
        precision, recall, _ = precision_recall_curve(happened, given, drop_intermediate=True)
        curves.append(_thinned(label, recall[::-1], precision[::-1]))
    return tuple(curves)


def residuals(predictions: Predictions) -> Residuals | None:
    """Take actual and predicted values of at most 500 rows, evenly; None for classification."""
    if predictions.labels is not None or not predictions.complete or len(predictions) == 0:
        return None
    rows = _evenly(len(predictions), _RESIDUALS)
    return Residuals(
        actual=tuple(map(float, predictions.actual[rows])),
        predicted=tuple(map(float, predictions.predicted[rows])),
    )


def _calibration_bin(given: FloatArray, happened: np.ndarray, confidence: float) -> CalibrationBin:
    low, high = wilson(float(happened.sum()), len(happened), confidence)
    return CalibrationBin(
        predicted=float(given.mean()),
        observed=float(happened.mean()),
        low=low,
        high=high,
        rows=len(happened),
    )


def _one_vs_rest(predictions: Predictions) -> list[tuple[str, np.ndarray, FloatArray]]:
    """Return label, outcome and probability: of the positive label, or of each of several.

    Labels that no row or every row has, have no curve.
    """
    if not (predictions.complete and predictions.has_probabilities):
        return []
    labels = predictions.labels or ()
    probabilities = np.asarray(predictions.probabilities)
    codes = [predictions.positive_code] if predictions.binary else range(len(labels))
    found = []
    for code in codes:
        happened = predictions.actual_codes == code
        if happened.any() and not happened.all():
            found.append((str(labels[code]), happened, probabilities[:, code]))
    return found


def _thinned(label: str, x: FloatArray, y: FloatArray) -> Curve:
    points = _evenly(len(x), _CURVE_POINTS)
    return Curve(label=label, x=tuple(map(float, x[points])), y=tuple(map(float, y[points])))


def _evenly(rows: int, most: int) -> IntArray:
    """Return at most so many positions, evenly spread, both ends included."""
    return np.unique(np.linspace(0, rows - 1, min(rows, most)).round().astype(np.int64))
