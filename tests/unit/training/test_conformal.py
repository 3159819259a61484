"""Prediction intervals hold what they promise, on rows that nobody has seen."""

from __future__ import annotations

import numpy as np
import pytest

from evergreen.training.conformal import prediction_interval
from evergreen.training.predictions import Predictions


def errors(values, groups=None):
    values = np.asarray(values, dtype=float)
    return Predictions(actual=values, predicted=np.zeros(len(values)), groups=groups)


@pytest.mark.parametrize(("confidence", "expected"), [(0.95, 19.0), (0.9, 18.0), (0.5, 10.0)])
def test_of_nineteen_errors_the_kth_counts(confidence, expected):
    signs = np.where(np.arange(19) % 2, 1, -1)
    found = prediction_interval(errors(signs * np.arange(1.0, 20.0)), confidence)
    assert (found.half_width, found.rows) == (expected, 19)


def test_too_few_rows_support_none():
    assert prediction_interval(errors(range(18)), 0.95) is None
    assert prediction_interval(errors(()), 0.95) is None


def test_unknown_values_and_classes_support_none():
    assert prediction_interval(errors([*range(30), np.nan]), 0.9) is None
    labels = np.array(["a", "b"] * 20, dtype=object)
    classes = Predictions(actual=labels, predicted=labels, labels=("a", "b"))
    assert prediction_interval(classes, 0.9) is None


def test_of_rows_that_belong_together_the_worst_counts():
    groups = np.repeat(np.arange(20), 5)
    values = np.tile([0.0, -3.0, 1.0, 0.5, 2.0], 20) * np.repeat(np.arange(1, 21), 5)
    found = prediction_interval(errors(values, groups), 0.95)
    assert (found.half_width, found.rows) == (60.0, 20)


@pytest.mark.parametrize("draw", ["normal", "exponential", "standard_cauchy"])
def test_new_rows_are_covered_as_often_as_stated(draw):
    rng = np.random.default_rng(5)
    covered = []
    for _ in range(2000):
        sample = getattr(rng, draw)(size=60)
        found = prediction_interval(errors(sample[:59]), 0.9)
        covered.append(abs(sample[59]) <= found.half_width)
    assert 0.88 < np.mean(covered) < 0.92  # three standard errors
