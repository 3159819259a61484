"""Intervals cover what they claim to, and equal models are seldom called better."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evergreen.training import bootstrap
from evergreen.training.bootstrap import (
    mean_interval,
    metric_intervals,
    paired_gain,
    unpaired_gain,
    wilson,
)
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


def assert_alike(normal, drawn):
    """The noise of some thousand resamples, and the skewness of some thousand rows, are left."""
    width = drawn.high - drawn.low
    assert normal.estimate == drawn.estimate
    assert normal.low == pytest.approx(drawn.low, abs=0.1 * width)
    assert normal.high == pytest.approx(drawn.high, abs=0.1 * width)
    assert normal.high - normal.low == pytest.approx(width, rel=0.08)


def multiclass(rng, rows, decimals=None):
    """Three classes of unlike size; rounded probabilities are tied."""
    logits = rng.normal(size=(rows, 3)) + np.array([1.0, 0.0, -1.0])
    given = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    actual = (rng.random((rows, 1)) > given.cumsum(axis=1)).sum(axis=1)
    if decimals is not None:
        given = np.round(given, decimals)
    return Predictions(actual, given.argmax(axis=1), given, (0, 1, 2))


def tied(rng, rows):
    p = binary(rng, rows, 0.5)
    yes = np.round(p.probabilities[:, 1], 1)
    return Predictions(p.actual, p.predicted, np.stack([1 - yes, yes], 1), (0, 1), 0)


MAKERS = {"binary": binary, "tied": tied, "multiclass": multiclass, "regression": regression}


def in_groups(p, groups):
    return Predictions(p.actual, p.predicted, p.probabilities, p.labels, p.positive, groups)


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("make", MAKERS)
def test_many_rows_get_the_bounds_that_resamples_come_to(make, grouped, monkeypatch):
    rng = np.random.default_rng(0)
    p = MAKERS[make](rng, 2000)
    if grouped:  # of unlike sizes, and alike within: the rows in the order of their truth
        p = p.take(np.argsort(p.actual + rng.normal(scale=3, size=2000), kind="stable"))
        p = in_groups(p, np.sort(rng.integers(0, 300, 2000)) * 3)
    metrics = metrics_for("regression" if p.labels is None else "classification")
    drawn = metric_intervals(metrics, p, resamples=4000)
    monkeypatch.setattr(bootstrap, "_RESAMPLED", 1999)
    normal = metric_intervals(metrics, p)
    for name in drawn:
        if not (grouped and name == "median_absolute_error"):  # whose density is that of lone rows
            assert_alike(normal[name], drawn[name])


@pytest.mark.parametrize("name", sorted(METRICS))
def test_gains_on_many_rows_get_the_bounds_that_resamples_come_to(name, monkeypatch):
    rng = np.random.default_rng(1)
    if METRICS[name].task == "regression":
        other = regression(rng, 2000)
        ours = Predictions(other.actual, other.predicted + rng.normal(scale=0.3, size=2000))
    else:
        z = rng.normal(size=2000)
        other = binary(rng, 2000, 0.7, z)
        ours = binary(rng, 2000, 0.3, z, other.actual)
    mine = METRICS[name]
    apart = binary(rng, 300) if ours.labels else regression(rng, 300)
    drawn = paired_gain(mine, ours, other, resamples=4000)
    unpaired = unpaired_gain(mine, ours, apart, resamples=4000)
    monkeypatch.setattr(bootstrap, "_RESAMPLED", 1999)
    if name != "median_absolute_error":  # two medians move together less smoothly
        assert_alike(paired_gain(mine, ours, other), drawn)
    normal = unpaired_gain(mine, ours, apart)
    width = unpaired.high - unpaired.low
    assert normal.low == pytest.approx(unpaired.low, abs=0.15 * width)
    assert normal.high == pytest.approx(unpaired.high, abs=0.15 * width)


@pytest.mark.parametrize("name", sorted(METRICS))
def test_models_that_differ_by_rounding_gain_nothing_on_many_rows(name, monkeypatch):
    monkeypatch.setattr(bootstrap, "_RESAMPLED", 10)
    rng = np.random.default_rng(2)
    p = regression(rng, 200) if METRICS[name].task == "regression" else binary(rng, 200)
    if p.labels is None:
        almost = Predictions(p.actual, p.predicted * (1 + 1e-14))
    else:
        almost = Predictions(
            p.actual, p.predicted, p.probabilities * (1 - 1e-14), p.labels, p.positive
        )
    for other in (p, almost):
        gain = paired_gain(METRICS[name], p, other)
        assert (gain.estimate, gain.low, gain.high) == (0, 0, 0)


@pytest.mark.parametrize("name", ["roc_auc", "pr_auc"])
def test_one_row_of_a_class_bounds_no_area_of_many_rows(name, monkeypatch):
    monkeypatch.setattr(bootstrap, "_RESAMPLED", 10)
    p = binary(np.random.default_rng(0), 100)
    for positives, bounded in ((1, False), (2, True)):
        actual = (np.arange(100) < positives).astype(int)
        rare = Predictions(actual, p.predicted, p.probabilities, p.labels, p.positive)
        interval = metric_intervals([METRICS[name]], rare)[name]
        assert interval.estimate is not None
        assert (interval.low is not None) == bounded


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


@pytest.mark.parametrize(("groups", "resampled"), [(None, 5_000), ([5] * 3, 5_000), ([5] * 3, 2)])
def test_one_row_or_group_has_an_estimate_and_no_bounds(groups, resampled, monkeypatch):
    monkeypatch.setattr(bootstrap, "_RESAMPLED", resampled)
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


@pytest.mark.parametrize("resampled", [5_000, 10])
def test_a_perfect_score_claims_no_certainty(resampled, monkeypatch):
    monkeypatch.setattr(bootstrap, "_RESAMPLED", resampled)
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
    monkeypatch.setattr(bootstrap, "_RESAMPLED", 0)
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
