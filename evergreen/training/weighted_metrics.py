"""Metrics of weighted rows, for many sets of weights at once.

A `Statistic` takes a matrix of weights, one set per line (B×n), and returns B figures, NaN where
one is not defined. With one line of ones it is the usual metric; with a bootstrap's counts it is
that metric on B resamples, without a copy of the rows. What depends on the rows alone (sorting,
losses) is prepared once, when the statistic is made.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from evergreen.training.predictions import FloatArray, IntArray, Predictions

Statistic = Callable[[FloatArray], FloatArray]


def weighted_mean(values: FloatArray) -> Statistic:
    """Return the mean of per-row values (n) as a statistic."""
    return lambda weights: _ratio(weights @ values, weights.sum(axis=1))


def accuracy(predictions: Predictions) -> Statistic:
    """Share of rows predicted right."""
    return weighted_mean((predictions.actual_codes == predictions.predicted_codes).astype(float))


def balanced_accuracy(predictions: Predictions) -> Statistic:
    """Mean recall of the classes that occur."""
    actual, predicted = predictions.actual_codes, predictions.predicted_codes
    classes = len(predictions.labels or ())
    right = np.where(actual == predicted, actual, -1)

    def statistic(weights: FloatArray) -> FloatArray:
        recall = _ratio(_class_sums(weights, right, classes), _class_sums(weights, actual, classes))
        return _mean_of_defined(recall)

    return statistic


def f1(predictions: Predictions) -> Statistic:
    """F1 of the positive class; with more than two labels the mean over the classes seen.

    A class counts as seen where it is among the actual or the predicted labels.
    """
    actual, predicted = predictions.actual_codes, predictions.predicted_codes
    classes = len(predictions.labels or ())
    right = np.where(actual == predicted, actual, -1)

    def statistic(weights: FloatArray) -> FloatArray:
        either = _class_sums(weights, actual, classes) + _class_sums(weights, predicted, classes)
        scores = _ratio(2 * _class_sums(weights, right, classes), either)
        if predictions.binary:
            return scores[:, predictions.positive_code]
        return _mean_of_defined(scores)

    return statistic


def log_loss(predictions: Predictions) -> Statistic:
    """Mean negative logarithm of the probability given to what came true, in nats."""
    given = _probabilities(predictions)[np.arange(len(predictions)), predictions.actual_codes]
    smallest = np.finfo(np.float64).eps
    return weighted_mean(-np.log(np.clip(given, smallest, 1 - smallest)))


def brier(predictions: Predictions) -> Statistic:
    """Mean squared error of the probabilities: 0 to 1 with two labels, else summed, 0 to 2."""
    probabilities = _probabilities(predictions)
    happened = predictions.actual_codes[:, None] == np.arange(probabilities.shape[1])
    errors = ((probabilities - happened) ** 2).sum(axis=1)
    return weighted_mean(errors / 2 if predictions.binary else errors)


def roc_auc(predictions: Predictions) -> Statistic:
    """Area under the ROC curve; with more than two labels the mean of one-vs-rest areas.

    Not defined where a class is absent.
    """
    return _one_vs_rest(predictions, _binary_roc_auc)


def pr_auc(predictions: Predictions) -> Statistic:
    """Average precision; with more than two labels the mean of one-vs-rest.

    Not defined where a class is absent.
    """
    return _one_vs_rest(predictions, _binary_average_precision)


def mae(predictions: Predictions) -> Statistic:
    """Mean absolute error, in units of the target."""
    return weighted_mean(np.abs(predictions.actual - predictions.predicted))


def rmse(predictions: Predictions) -> Statistic:
    """Root mean squared error, in units of the target."""
    mean_square = weighted_mean((predictions.actual - predictions.predicted) ** 2)
    return lambda weights: np.sqrt(mean_square(weights))


def r2(predictions: Predictions) -> Statistic:
    """Share of the target's variance explained; not defined where the target is constant."""
    # Centred values keep the variance of large, close numbers from drowning in rounding.
    centred = predictions.actual - predictions.actual.mean()
    square = centred**2
    errors = (predictions.actual - predictions.predicted) ** 2
    negligible = 1e-12 * float(square.max(initial=0.0))

    def statistic(weights: FloatArray) -> FloatArray:
        total = weights.sum(axis=1)
        variance = _ratio(weights @ square, total) - _ratio(weights @ centred, total) ** 2
        explained = 1 - _ratio(_ratio(weights @ errors, total), variance)
        return np.where(variance > negligible, explained, np.nan)

    return statistic


def median_absolute_error(predictions: Predictions) -> Statistic:
    """Median absolute error, in units of the target."""
    errors = np.abs(predictions.actual - predictions.predicted)
    order = np.argsort(errors, kind="stable")
    ascending = errors[order]

    def statistic(weights: FloatArray) -> FloatArray:
        cumulated = np.cumsum(weights[:, order], axis=1)
        half = cumulated[:, -1:] / 2
        last = len(ascending) - 1
        lower = np.minimum((cumulated < half).sum(axis=1), last)
        upper = np.minimum((cumulated <= half).sum(axis=1), last)
        return (ascending[lower] + ascending[upper]) / 2

    return statistic


def _probabilities(predictions: Predictions) -> FloatArray:
    if predictions.probabilities is None:
        raise ValueError("this metric needs probabilities")
    return predictions.probabilities


def _ratio(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    """Divide; NaN where the denominator is zero."""
    defined = denominator != 0
    return np.where(defined, numerator / np.where(defined, denominator, 1.0), np.nan)


def _mean_of_defined(scores: FloatArray) -> FloatArray:
    """Mean over columns (B×k to B) of what is not NaN."""
    defined = ~np.isnan(scores)
    return _ratio(np.where(defined, scores, 0.0).sum(axis=1), defined.sum(axis=1).astype(float))


def _class_sums(weights: FloatArray, codes: IntArray, classes: int) -> FloatArray:
    """Sum the weights of the rows of each class: B×n to B×k."""
    sums = [weights[:, np.flatnonzero(codes == code)].sum(axis=1) for code in range(classes)]
    return np.stack(sums, axis=1)


def _one_vs_rest(
    predictions: Predictions, binary: Callable[[FloatArray, FloatArray], FloatArray]
) -> Statistic:
    """Rank the rows once per class; average the areas over the classes (NaN if one is absent)."""
    probabilities = _probabilities(predictions)
    codes = [predictions.positive_code] if predictions.binary else range(probabilities.shape[1])
    prepared = []
    for code in codes:
        scores = probabilities[:, code]
        order = np.argsort(-scores, kind="stable")
        # First row of each group of tied scores, from the highest score down.
        starts = np.flatnonzero(np.diff(scores[order], prepend=np.inf))
        prepared.append((order, starts, predictions.actual_codes[order] == code))

    def statistic(weights: FloatArray) -> FloatArray:
        areas = []
        for order, starts, happened in prepared:
            ranked = weights[:, order]
            positive = ranked * happened
            hits, misses = _group_sums(positive, starts), _group_sums(ranked - positive, starts)
            areas.append(binary(hits, misses))
        return np.mean(areas, axis=0)

    return statistic


def _group_sums(ranked: FloatArray, starts: IntArray) -> FloatArray:
    """Sum neighbouring columns that begin at the given positions."""
    if len(starts) == ranked.shape[1]:
        return ranked
    return np.add.reduceat(ranked, starts, axis=1)


def _binary_roc_auc(hits: FloatArray, misses: FloatArray) -> FloatArray:
    """Chance that a positive row ranks above a negative one, ties counting half."""
    cumulated = np.cumsum(misses, axis=1)
    negatives = cumulated[:, -1]
    above_or_half = cumulated - misses / 2
    positives = hits.sum(axis=1)
    lost = (hits * above_or_half).sum(axis=1)
    return _ratio(positives * negatives - lost, positives * negatives)


def _binary_average_precision(hits: FloatArray, misses: FloatArray) -> FloatArray:
    """Precision at each threshold, weighted by the recall it adds."""
    found = np.cumsum(hits, axis=1)
    retrieved = found + np.cumsum(misses, axis=1)
    gained = np.divide(hits * found, retrieved, out=np.zeros_like(hits), where=retrieved > 0)
    positives = found[:, -1]
    area = _ratio(gained.sum(axis=1), positives)
    return np.where(retrieved[:, -1] > positives, area, np.nan)
