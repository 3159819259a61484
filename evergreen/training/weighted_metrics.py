"""Metrics of weighted rows, for many sets of weights at once, and what each row adds to them.

A `Statistic` takes a matrix of weights, one set per line (B×n), and returns B figures, NaN where
one is not defined. With one line of ones it is the usual metric; with a bootstrap's counts it is
that metric on B resamples, without a copy of the rows. What depends on the rows alone (sorting,
losses) is prepared once, when the statistic is made.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from evergreen.training.predictions import FloatArray, IntArray, Predictions


@dataclass(frozen=True)
class Statistic:
    """A metric as a function of row weights.

    ``influence()`` returns n values: the metric's derivative by each row's share of all weight,
    at equal weights (Hampel 1974, JASA 69:383). Their mean is 0; NaN where the rows say nothing
    of how the metric varies.
    """

    of: Callable[[FloatArray], FloatArray]
    influence: Callable[[], FloatArray]

    def __call__(self, weights: FloatArray) -> FloatArray:
        """Return the B figures of B×n weights."""
        return self.of(weights)


def weighted_mean(values: FloatArray) -> Statistic:
    """Return the mean of per-row values (n) as a statistic."""
    return Statistic(
        of=lambda weights: ratio(weights @ values, weights.sum(axis=1)),
        influence=lambda: values - values.mean(),
    )


def accuracy(predictions: Predictions) -> Statistic:
    """Share of rows predicted right."""
    return weighted_mean((predictions.actual_codes == predictions.predicted_codes).astype(float))


def balanced_accuracy(predictions: Predictions) -> Statistic:
    """Mean recall of the classes that occur."""
    actual, predicted = predictions.actual_codes, predictions.predicted_codes
    classes = len(predictions.labels or ())
    right = np.where(actual == predicted, actual, -1)

    def recall(weights: FloatArray) -> FloatArray:
        return ratio(_class_sums(weights, right, classes), _class_sums(weights, actual, classes))

    def influence() -> FloatArray:
        ones = np.ones((1, len(actual)))
        share = _class_sums(ones, actual, classes)[0] / len(actual)
        each = 1 / (np.maximum(share, 1 / len(actual)) * np.count_nonzero(share))
        gained = (right >= 0) - np.nan_to_num(recall(ones)[0])[actual]
        return np.asarray(gained * each[actual], dtype=np.float64)

    return Statistic(lambda weights: _mean_of_defined(recall(weights)), influence)


def f1(predictions: Predictions) -> Statistic:
    """F1 of the positive class; with more than two labels the mean over the classes seen.

    A class counts as seen where it is among the actual or the predicted labels.
    """
    actual, predicted = predictions.actual_codes, predictions.predicted_codes
    classes = len(predictions.labels or ())
    right = np.where(actual == predicted, actual, -1)

    def sums(weights: FloatArray) -> tuple[FloatArray, FloatArray]:
        either = _class_sums(weights, actual, classes) + _class_sums(weights, predicted, classes)
        return 2 * _class_sums(weights, right, classes), either

    def statistic(weights: FloatArray) -> FloatArray:
        scores = ratio(*sums(weights))
        if predictions.binary:
            return scores[:, predictions.positive_code]
        return _mean_of_defined(scores)

    def influence() -> FloatArray:
        both, either = (line[0] for line in sums(np.ones((1, len(actual)))))
        counted = either > 0
        if predictions.binary:
            counted &= np.arange(classes) == predictions.positive_code
        each = len(actual) / (np.maximum(either, 1) * np.count_nonzero(counted)) * counted
        # The last place is that of predicted labels that are unknown: code -1.
        each, lost = np.append(each, 0.0), np.append(each * both / np.maximum(either, 1), 0.0)
        return np.asarray(2 * each[right] - lost[actual] - lost[predicted], dtype=np.float64)

    return Statistic(statistic, influence)


def log_loss(predictions: Predictions) -> Statistic:
    """Mean negative logarithm of the probability given to what came true, in nats."""
    given = probabilities_of(predictions)[np.arange(len(predictions)), predictions.actual_codes]
    smallest = np.finfo(np.float64).eps
    return weighted_mean(-np.log(np.clip(given, smallest, 1 - smallest)))


def brier(predictions: Predictions) -> Statistic:
    """Mean squared error of the probabilities: 0 to 1 with two labels, else summed, 0 to 2."""
    probabilities = probabilities_of(predictions)
    happened = predictions.actual_codes[:, None] == np.arange(probabilities.shape[1])
    errors = ((probabilities - happened) ** 2).sum(axis=1)
    return weighted_mean(errors / 2 if predictions.binary else errors)


def mae(predictions: Predictions) -> Statistic:
    """Mean absolute error, in units of the target."""
    return weighted_mean(np.abs(predictions.actual - predictions.predicted))


def rmse(predictions: Predictions) -> Statistic:
    """Root mean squared error, in units of the target."""
    squares = (predictions.actual - predictions.predicted) ** 2
    mean_square = weighted_mean(squares)

    def influence() -> FloatArray:
        root = float(np.sqrt(squares.mean()))
        return mean_square.influence() / (2 * root if root else 1.0)

    return Statistic(lambda weights: np.sqrt(mean_square(weights)), influence)


def r2(predictions: Predictions) -> Statistic:
    """Share of the target's variance explained; not defined where the target is constant."""
    # Centred values keep the variance of large, close numbers from drowning in rounding.
    centred = predictions.actual - predictions.actual.mean()
    square = centred**2
    errors = (predictions.actual - predictions.predicted) ** 2
    negligible = 1e-12 * float(square.max(initial=0.0))

    def statistic(weights: FloatArray) -> FloatArray:
        total = weights.sum(axis=1)
        variance = ratio(weights @ square, total) - ratio(weights @ centred, total) ** 2
        explained = 1 - ratio(ratio(weights @ errors, total), variance)
        return np.where(variance > negligible, explained, np.nan)

    def influence() -> FloatArray:
        variance = square.mean()
        return np.asarray((square * (errors.mean() / variance) - errors) / variance)

    return Statistic(statistic, influence)


def probabilities_of(predictions: Predictions) -> FloatArray:
    """Return the probabilities (n×k), which a metric needs."""
    if predictions.probabilities is None:
        raise ValueError("this metric needs probabilities")
    return predictions.probabilities


def ratio(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    """Divide; NaN where the denominator is zero."""
    defined = denominator != 0
    return np.where(defined, numerator / np.where(defined, denominator, 1.0), np.nan)


def _mean_of_defined(scores: FloatArray) -> FloatArray:
    """Mean over columns (B×k to B) of what is not NaN."""
    defined = ~np.isnan(scores)
    return ratio(np.where(defined, scores, 0.0).sum(axis=1), defined.sum(axis=1).astype(float))


def _class_sums(weights: FloatArray, codes: IntArray, classes: int) -> FloatArray:
    """Sum the weights of the rows of each class (none: code -1): B×n to B×k."""
    places = codes + 1
    sums = [np.bincount(places, weights=line, minlength=classes + 1)[1:] for line in weights]
    return np.stack(sums)
