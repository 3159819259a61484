"""Intervals cover what they claim to, and equal models are seldom called better."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evergreen.training import bootstrap
from evergreen.training.bootstrap import mean_interval, metric_intervals, paired_gain, wilson
from evergreen.training.metrics import METRICS, metrics_for, score
from evergreen.training.predictions import Predictions


def logistic(z):
    return 1 / (1 + np.exp(-z))


def binary(rng, rows, noise=0.0, z=None, actual=None):
    """A model that knows the true log-odds but for some noise."""
    z = rng.normal(size=rows) if z is None else z
    actual = (rng.random(rows) < logistic(1.5 * z)).astype(int) if actual is None else actual
    yes = logistic(1.5 * z + noise * rng.normal(size=rows))
    return Predictions(actual, (yes > 0.5).astype(int), np.stack([1 - yes, yes], 1), (0, 1), 1)


def regression(rng, rows):
    x = rng.normal(size=rows)
    return Predictions(x + rng.normal(size=rows), x)


@pytest.mark.parametrize(("make", "task"), [(binary, "classification"), (regression, "regression")])
def test_95_percent_intervals_cover_the_truth_about_so_often(make, task):
    metrics = metrics_for(task)
    population = make(np.random.default_rng(0), 300_000)
    truth = {metric.name: score(metric, population) for metric in metrics}
    covered = dict.fromkeys(truth, 0)
    for run in range(200):
        rng = np.random.default_rng(run)
        found = metric_intervals(metrics, make(rng, 150), resamples=300, seed=run)
        for name, interval in found.items():
            assert interval.low <= interval.estimate <= interval.high
            covered[name] += interval.low <= truth[name] <= interval.high
    assert all(0.90 <= count / 200 <= 0.99 for count in covered.values()), covered


@pytest.mark.parametrize("name", ["log_loss", "roc_auc"])
def test_equal_models_are_called_better_about_one_time_in_twenty(name):
    better = 0
    for run in range(300):
        rng = np.random.default_rng(run)
        z = rng.normal(size=120)
        first = binary(rng, 120, 0.7, z)
        second = binary(rng, 120, 0.7, z, first.actual)
        better += paired_gain(METRICS[name], first, second, resamples=300, seed=run).low > 0
    assert 0.02 <= better / 300 <= 0.08


def test_a_truly_better_model_is_found():
    rng = np.random.default_rng(4)
    z = rng.normal(size=400)
    good = binary(rng, 400, 0.1, z)
    bad = binary(rng, 400, 3.0, z, good.actual)
    gain = paired_gain(METRICS["log_loss"], good, bad)
    assert 0 < gain.low < gain.estimate < gain.high
    back = paired_gain(METRICS["log_loss"], bad, good)
    assert back.estimate == -gain.estimate
    assert back.high == pytest.approx(-gain.low)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.sampled_from(sorted(METRICS)))
def test_a_model_gains_nothing_over_itself(seed, name):
    rng = np.random.default_rng(seed)
    p = binary(rng, 40) if METRICS[name].task == "classification" else regression(rng, 40)
    gain = paired_gain(METRICS[name], p, p, resamples=100, seed=seed)
    assert (gain.estimate, gain.low, gain.high) == (0, 0, 0)


def test_the_seed_decides():
    p = binary(np.random.default_rng(0), 80)
    metrics = metrics_for("classification")
    assert metric_intervals(metrics, p, seed=1) == metric_intervals(metrics, p, seed=1)
    assert metric_intervals(metrics, p, seed=1) != metric_intervals(metrics, p, seed=2)


def test_memory_chunks_do_not_change_the_result(monkeypatch):
    p = binary(np.random.default_rng(0), 80)
    metrics = metrics_for("classification")
    whole = metric_intervals(metrics, p)
    monkeypatch.setattr(bootstrap, "_CELLS", 1000)
    pieces = metric_intervals(metrics, p)
    for name, interval in whole.items():
        assert pieces[name].low == pytest.approx(interval.low, rel=1e-9)


@pytest.mark.parametrize("rows", [40, 600])
def test_all_classification_metrics_of_a_usual_holdout_are_quick(rows):
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.ones(3), size=rows)
    p = Predictions(
        rng.integers(0, 3, rows), probabilities.argmax(axis=1), probabilities, (0, 1, 2)
    )
    start = time.process_time()
    found = metric_intervals(metrics_for("classification"), p, resamples=1000)
    assert time.process_time() - start < 0.5
    assert all(interval.low < interval.estimate < interval.high for interval in found.values())


def test_many_rows_get_fewer_resamples_and_like_bounds(monkeypatch):
    p = regression(np.random.default_rng(0), 2000)
    metrics = metrics_for("regression")
    percentile = metric_intervals(metrics, p)
    monkeypatch.setattr(bootstrap, "_WORK", 2000 * 300)
    normal = metric_intervals(metrics, p)
    for name, interval in percentile.items():
        width = interval.high - interval.low
        assert normal[name].low == pytest.approx(interval.low, abs=0.2 * width)
        assert normal[name].high == pytest.approx(interval.high, abs=0.2 * width)


def test_rows_of_one_group_are_no_independent_evidence():
    rng = np.random.default_rng(0)
    error = np.repeat(rng.normal(size=30), 20)  # 30 groups of 20 rows with one error each
    groups = np.repeat(np.arange(30), 20)
    lone = metric_intervals([METRICS["mae"]], Predictions(error, np.zeros(600)))["mae"]
    grouped = metric_intervals([METRICS["mae"]], Predictions(error, np.zeros(600), groups=groups))[
        "mae"
    ]
    assert grouped.estimate == lone.estimate
    assert grouped.high - grouped.low > 3 * (lone.high - lone.low)
    assert mean_interval(error, groups=groups).high > mean_interval(error).high


@pytest.mark.parametrize("groups", [None, [5, 5, 5]])
def test_one_row_or_group_has_an_estimate_and_no_bounds(groups):
    rows = 1 if groups is None else 3
    p = Predictions(
        np.zeros(rows), np.ones(rows), groups=None if groups is None else np.array(groups)
    )
    interval = metric_intervals([METRICS["mae"]], p)["mae"]
    assert (interval.estimate, interval.low, interval.high) == (1.0, None, None)
    gain = paired_gain(METRICS["mae"], p, p)
    assert gain.low is None


def test_no_rows_have_nothing():
    empty = regression(np.random.default_rng(0), 0)
    assert metric_intervals([METRICS["mae"]], empty)["mae"].estimate is None
    assert mean_interval(np.array([])).estimate is None


def test_bounds_need_the_metric_in_half_of_the_resamples():
    """Among n rows a single positive one is absent from about 37 % of the resamples."""
    actual = np.array([1, 0, 0, 0, 0, 0])
    yes = np.array([0.5, 0.1, 0.6, 0.2, 0.7, 0.3])
    p = Predictions(actual, (yes > 0.5).astype(int), np.stack([1 - yes, yes], 1), (0, 1), 1)
    assert metric_intervals([METRICS["roc_auc"]], p)["roc_auc"].low is not None
    rare = np.array([0, 1, 2] + [3] * 20)  # three classes of one row: present together in 25 %
    p = Predictions(rare, rare[::-1], np.full((23, 4), 0.25), (0, 1, 2, 3))
    interval = metric_intervals([METRICS["roc_auc"]], p)["roc_auc"]
    assert (interval.estimate, interval.low, interval.high) == (0.5, None, None)


def test_a_perfect_score_claims_no_certainty():
    actual = np.array([0, 1] * 15)
    p = Predictions(actual, actual, np.eye(2)[actual], (0, 1), 1)
    found = metric_intervals(metrics_for("classification"), p)
    assert found["accuracy"].estimate == 1
    assert (found["accuracy"].low, found["accuracy"].high) == wilson(30, 30, 0.95)
    for name in ("f1", "roc_auc", "pr_auc", "balanced_accuracy"):
        assert (found[name].estimate, found[name].low, found[name].high) == (1, None, None)


def test_bounds_stay_within_what_the_metric_can_be(monkeypatch):
    actual = np.array([0, 1] * 100)
    predicted = actual.copy()
    predicted[0] = 1
    p = Predictions(actual, predicted, None, (0, 1), 1)
    monkeypatch.setattr(bootstrap, "_WORK", 0)
    assert metric_intervals([METRICS["accuracy"]], p)["accuracy"].high == 1.0


def test_unmeasurable_metrics_stay_none_beside_measurable_ones():
    p = binary(np.random.default_rng(0), 50)
    bare = Predictions(p.actual, p.predicted, None, p.labels, p.positive)
    found = metric_intervals(metrics_for("classification"), bare)
    assert found["accuracy"].low is not None
    assert (found["log_loss"].estimate, found["log_loss"].low) == (None, None)
    assert paired_gain(METRICS["log_loss"], p, bare).estimate is None
    assert paired_gain(METRICS["log_loss"], p, None).estimate is None


def test_wilson_agrees_with_the_published_example():
    """Newcombe 1998, Statistics in Medicine 17:857, table I: 81 of 263 and 0 of 20."""
    assert wilson(81, 263, 0.95) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(0, 20, 0.95) == pytest.approx((0.0, 0.1611), abs=5e-5)
    assert wilson(0, 0, 0.95) == (0.0, 1.0)


def test_mean_interval_agrees_with_the_standard_error():
    values = np.random.default_rng(0).normal(3, 2, 500)
    interval = mean_interval(values)
    error = values.std() / np.sqrt(500)
    assert interval.estimate == pytest.approx(values.mean())
    assert interval.high - interval.low == pytest.approx(2 * 1.96 * error, rel=0.1)
    assert mean_interval(np.array([1.0, np.nan])).estimate is None
