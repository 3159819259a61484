"""Point metrics agree with scikit-learn, and what is not defined is None."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from evergreen.errors import InputError
from evergreen.training.metrics import METRICS, default_metric, metric_named, metrics_for, score
from evergreen.training.predictions import Predictions

CLASSIFICATION = [metric.name for metric in metrics_for("classification")]
REGRESSION = [metric.name for metric in metrics_for("regression")]


def classified(labels, rows=60, seed=0, positive=None, decimals=None):
    rng = np.random.default_rng(seed)
    actual = rng.choice(np.array(labels, dtype=object), size=rows)
    actual[: len(labels)] = labels
    probabilities = rng.dirichlet(np.ones(len(labels)), size=rows)
    if decimals is not None:  # ties
        probabilities = np.round(probabilities, decimals)
    predicted = np.array(labels, dtype=object)[probabilities.argmax(axis=1)]
    return Predictions(actual, predicted, probabilities, tuple(labels), positive)


def regressed(rows=60, seed=0):
    rng = np.random.default_rng(seed)
    actual = rng.normal(100, 20, rows)
    return Predictions(actual, actual + rng.normal(0, 5, rows))


def by_scikit_learn(name, p, weights=None):
    """The same metric as scikit-learn computes it."""
    actual, predicted = list(p.actual), list(p.predicted)
    given = {"sample_weight": weights}
    if p.labels is None:
        functions = {
            "mae": sk.mean_absolute_error,
            "rmse": sk.root_mean_squared_error,
            "r2": sk.r2_score,
            "median_absolute_error": sk.median_absolute_error,
        }
        return functions[name](actual, predicted, **given)
    hit = np.array([value == p.positive for value in actual])
    positive = p.labels.index(p.positive) if p.binary else None
    codes = [p.labels.index(value) for value in actual]
    if name == "accuracy":
        return sk.accuracy_score(actual, predicted, **given)
    if name == "balanced_accuracy":
        return sk.balanced_accuracy_score(actual, predicted, **given)
    if name == "f1" and p.binary:
        return sk.f1_score(actual, predicted, pos_label=p.positive, **given)
    if name == "f1":
        return sk.f1_score(actual, predicted, average="macro", **given)
    if name == "log_loss":
        return sk.log_loss(codes, p.probabilities, labels=range(len(p.labels)), **given)
    if name == "brier" and p.binary:
        return sk.brier_score_loss(hit, p.probabilities[:, positive], **given)
    if name == "brier":
        return sk.brier_score_loss(codes, p.probabilities, labels=range(len(p.labels)), **given)
    function = {"roc_auc": sk.roc_auc_score, "pr_auc": sk.average_precision_score}[name]
    if p.binary:
        return function(hit, p.probabilities[:, positive], **given)
    each = [
        function(np.array(codes) == code, p.probabilities[:, code], **given)
        for code in range(len(p.labels))
    ]
    return np.mean(each)


CASES = {
    "binary": classified(["no", "yes"], positive="yes"),
    "binary, first label positive": classified(["bad", "good"], positive="bad"),
    "binary, tied scores": classified(["no", "yes"], positive="yes", decimals=1),
    "binary, integers": classified([0, 1], positive=1),
    "binary, booleans": classified([False, True], positive=True),
    "three classes": classified(["a", "b", "c"]),
    "five classes of integers": classified([1, 2, 3, 4, 9], rows=120),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", CLASSIFICATION)
def test_classification_agrees_with_scikit_learn(name, case):
    predictions = CASES[case]
    assert score(METRICS[name], predictions) == pytest.approx(
        by_scikit_learn(name, predictions), rel=1e-10
    )


@pytest.mark.parametrize("rows", [2, 3, 60, 61])
@pytest.mark.parametrize("name", REGRESSION)
def test_regression_agrees_with_scikit_learn(name, rows):
    predictions = regressed(rows)
    assert score(METRICS[name], predictions) == pytest.approx(
        by_scikit_learn(name, predictions), rel=1e-10
    )


def test_three_class_roc_auc_is_scikit_learns_macro_one_vs_rest():
    p = CASES["three classes"]
    assert score(METRICS["roc_auc"], p) == pytest.approx(
        sk.roc_auc_score(list(p.actual), p.probabilities, multi_class="ovr", labels=list(p.labels))
    )


@pytest.mark.parametrize("name", CLASSIFICATION)
@pytest.mark.parametrize("case", ["binary", "binary, tied scores", "three classes"])
def test_weighted_classification_agrees_with_scikit_learn(name, case):
    predictions = CASES[case]
    weights = np.random.default_rng(5).integers(0, 4, size=(4, len(predictions))).astype(float)
    ours = METRICS[name].statistic(predictions)(weights)
    theirs = [by_scikit_learn(name, predictions, line) for line in weights]
    assert ours == pytest.approx(theirs, rel=1e-10)


@pytest.mark.parametrize("name", REGRESSION)
def test_weighted_regression_agrees_with_scikit_learn(name):
    predictions = regressed(41)
    weights = np.random.default_rng(5).integers(0, 4, size=(6, 41)).astype(float)
    ours = METRICS[name].statistic(predictions)(weights)
    theirs = [by_scikit_learn(name, predictions, line) for line in weights]
    assert ours == pytest.approx(theirs, rel=1e-10)


@pytest.mark.parametrize("name", CLASSIFICATION + REGRESSION)
def test_counts_as_weights_equal_repeated_rows(name):
    predictions = regressed(30) if name in REGRESSION else classified(["a", "b", "c"], rows=30)
    counts = np.random.default_rng(1).integers(0, 3, size=30)
    counts[:3] = 1
    weighted = METRICS[name].statistic(predictions)(counts[None, :].astype(float))[0]
    repeated = score(METRICS[name], predictions.take(np.repeat(np.arange(30), counts)))
    assert weighted == pytest.approx(repeated, rel=1e-10)


@pytest.mark.parametrize("case", [*CASES, "regression", "an unknown label"])
def test_influence_is_the_derivative_by_a_rows_weight(case):
    if case == "an unknown label":
        known = classified(["a", "b", "c"])
        predicted = known.predicted.copy()
        predicted[:5] = "old"
        p = Predictions(known.actual, predicted, known.probabilities, known.labels)
    else:
        p = regressed(60) if case == "regression" else CASES[case]
    rows, step = len(p), 1e-5
    for metric in metrics_for("regression" if p.labels is None else "classification"):
        if metric.name == "median_absolute_error":  # which moves in leaps
            continue
        statistic = metric.statistic(p)
        more, less = np.eye(rows) * step + 1, 1 - np.eye(rows) * step
        derivative = (statistic(more) - statistic(less)) / (2 * step) * rows
        assert statistic.influence() == pytest.approx(derivative, rel=1e-6, abs=1e-6), metric.name
        assert statistic.influence().mean() == pytest.approx(0, abs=1e-9 * derivative.std())


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(CLASSIFICATION + REGRESSION), st.integers(2, 4))
def test_row_order_does_not_matter(seed, name, classes):
    labels = ["a", "b", "c", "d"][:classes]
    p = regressed(25, seed) if name in REGRESSION else classified(labels, 25, seed, decimals=1)
    shuffled = p.take(np.random.default_rng(seed).permutation(25))
    assert score(METRICS[name], p) == pytest.approx(score(METRICS[name], shuffled), rel=1e-9)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(CLASSIFICATION + REGRESSION))
def test_values_stay_within_their_bounds_and_a_perfect_model_reaches_the_best(seed, name):
    metric = METRICS[name]
    p = regressed(25, seed) if name in REGRESSION else classified(["a", "b", "c"], 25, seed)
    assert metric.lowest <= score(metric, p) <= metric.highest
    certain = None if p.labels is None else np.eye(3)[p.actual_codes]
    perfect = Predictions(p.actual, p.actual.copy(), certain, p.labels)
    best = metric.highest if metric.greater_is_better else metric.lowest
    assert score(metric, perfect) == pytest.approx(best, abs=1e-9)
    assert metric.sign * score(metric, perfect) >= metric.sign * score(metric, p)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.2, 5))
def test_areas_depend_on_the_ranking_only(seed, power):
    p = classified(["no", "yes"], 30, seed, positive="yes")
    bent = np.stack([1 - p.probabilities[:, 1] ** power, p.probabilities[:, 1] ** power], axis=1)
    other = Predictions(p.actual, p.predicted, bent, p.labels, p.positive)
    for name in ("roc_auc", "pr_auc"):
        assert score(METRICS[name], p) == pytest.approx(score(METRICS[name], other), rel=1e-9)


@pytest.mark.parametrize("name", ["roc_auc", "pr_auc"])
@pytest.mark.parametrize("label", ["no", "yes"])
def test_areas_are_not_defined_for_one_class(name, label):
    p = CASES["binary"]
    assert score(METRICS[name], p.take(p.actual == label)) is None


def test_areas_are_not_defined_where_one_of_three_classes_is_absent():
    p = CASES["three classes"]
    assert score(METRICS["roc_auc"], p.take(p.actual != "a")) is None
    assert score(METRICS["log_loss"], p.take(p.actual != "a")) is not None


def test_f1_is_not_defined_without_a_positive_row_or_prediction():
    nothing = Predictions(
        np.array(["no"] * 4, object), np.array(["no"] * 4, object), None, ("no", "yes"), "yes"
    )
    assert score(METRICS["f1"], nothing) is None
    assert score(METRICS["accuracy"], nothing) == 1.0


@pytest.mark.parametrize("name", CLASSIFICATION)
def test_without_probabilities_only_label_metrics_are_measured(name):
    p = CASES["three classes"]
    bare = Predictions(p.actual, p.predicted, None, p.labels)
    assert (score(METRICS[name], bare) is None) == METRICS[name].needs_probabilities


@pytest.mark.parametrize("name", CLASSIFICATION)
def test_a_missing_predicted_label_is_not_measurable(name):
    p = CASES["three classes"]
    predicted = p.predicted.copy()
    predicted[3] = None
    assert score(METRICS[name], Predictions(p.actual, predicted, p.probabilities, p.labels)) is None


def test_a_nan_probability_spoils_what_needs_probabilities():
    p = CASES["three classes"]
    probabilities = p.probabilities.copy()
    probabilities[0, 0] = np.nan
    spoiled = Predictions(p.actual, p.predicted, probabilities, p.labels)
    assert score(METRICS["log_loss"], spoiled) is None
    assert score(METRICS["accuracy"], spoiled) is not None


@pytest.mark.parametrize("name", REGRESSION)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_nan_or_infinite_number_is_not_measurable(name, bad):
    p = regressed(20)
    predicted = p.predicted.copy()
    predicted[7] = bad
    assert score(METRICS[name], Predictions(p.actual, predicted)) is None


@pytest.mark.parametrize("name", CLASSIFICATION + REGRESSION)
def test_no_rows_are_not_measurable(name):
    p = regressed() if name in REGRESSION else CASES["binary"]
    assert score(METRICS[name], p.take(np.array([], dtype=int))) is None


@pytest.mark.parametrize("value", [0.0, 5.0, 0.1, 1e9 + 0.1])
def test_r2_is_not_defined_for_a_constant_target_or_one_row(value):
    constant = Predictions(np.full(7, value), np.arange(7.0))
    assert score(METRICS["r2"], constant) is None
    assert score(METRICS["r2"], regressed(1)) is None
    assert score(METRICS["mae"], regressed(1)) is not None


def test_r2_survives_a_large_offset():
    p = regressed(50)
    moved = Predictions(p.actual + 1e9, p.predicted + 1e9)
    assert score(METRICS["r2"], moved) == pytest.approx(score(METRICS["r2"], p), rel=1e-5)


def test_a_metric_of_the_other_task_is_not_measurable():
    assert score(METRICS["rmse"], CASES["binary"]) is None
    assert score(METRICS["accuracy"], regressed()) is None


def test_a_certain_and_wrong_probability_costs_much_but_stays_finite():
    wrong = Predictions(
        np.array(["a"], object), np.array(["b"], object), np.array([[0.0, 1.0]]), ("a", "b"), "b"
    )
    assert 30 < score(METRICS["log_loss"], wrong) < 40


def test_an_unknown_predicted_label_counts_as_wrong():
    p = Predictions(
        np.array(["a", "b"], object), np.array(["a", "old"], object), None, ("a", "b"), "b"
    )
    assert score(METRICS["accuracy"], p) == 0.5


def test_names_are_found_or_suggested():
    assert metric_named("f1", "classification").title == "F1"
    with pytest.raises(InputError, match="Did you mean 'accuracy'"):
        metric_named("acuracy", "classification")
    with pytest.raises(InputError, match="is for regression, and the task is classification"):
        metric_named("rmse", "classification")
    with pytest.raises(InputError, match="The metrics for regression are: mae, rmse"):
        metric_named("nonsense", "regression")


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_the_default_metric_is_registered(task):
    assert metric_named(default_metric(task), task)
