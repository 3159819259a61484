"""The final evaluation: its parts agree with scikit-learn, slices and gains mean what they say."""

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sk

from evergreen.config import EvaluationConfig
from evergreen.data.contract import Column, Contract
from evergreen.errors import InputError
from evergreen.training.evaluation import check_evaluation, evaluate
from evergreen.training.metrics import METRICS, metrics_for, score
from evergreen.training.predictions import Predictions
from evergreen.training.results import Evaluation
from evergreen.training.slices import MISSING, OTHER, slices_of

ROWS = 120


def contract(labels=("no", "yes"), positive="yes", **types):
    roles = {"who": "group", "code": "ignored", "seen": "timestamp"}
    columns = [
        Column(name=name, type=kind, role=roles.get(name, "feature"), nullable=True)
        for name, kind in types.items()
    ]
    target = "category" if labels else "number"
    columns.append(Column(name="y", type=target, role="target", nullable=False))
    return Contract(
        use_case="test",
        task="classification" if labels else "regression",
        target="y",
        labels=labels,
        positive=positive,
        columns=tuple(columns),
    )


def classified(labels=("no", "yes"), positive="yes", rows=ROWS, seed=0):
    rng = np.random.default_rng(seed)
    codes = np.arange(rows) % len(labels)
    probabilities = rng.dirichlet(np.ones(len(labels)), size=rows)
    probabilities[np.arange(rows), codes] += 0.3
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    names = np.array(labels, dtype=object)
    return Predictions(
        names[codes], names[probabilities.argmax(axis=1)], probabilities, labels, positive
    )


def regressed(rows=ROWS):
    rng = np.random.default_rng(0)
    actual = rng.normal(size=rows)
    return Predictions(actual, actual + rng.normal(size=rows) / 3)


def config(**settings):
    return EvaluationConfig(bootstrap=200, **settings)


def evaluated(predictions, **settings):
    labels = predictions.labels
    table = contract(labels, predictions.positive, x="number")
    frame = pd.DataFrame({"x": np.arange(len(predictions)) * 1.0, "y": predictions.actual})
    return evaluate(predictions, frame, table, config(**settings), seed=1)


def test_binary_evaluation():
    p = classified()
    found = evaluated(p)
    assert list(found.metrics) == [metric.name for metric in metrics_for("classification")]
    for name, interval in found.metrics.items():
        assert interval.estimate == score(METRICS[name], p)
        assert interval.low < interval.estimate < interval.high
    assert np.array_equal(
        found.confusion, sk.confusion_matrix(list(p.actual), list(p.predicted), labels=p.labels)
    )
    (roc,), (recall,) = found.roc, found.precision_recall
    assert roc.label == recall.label == "yes"
    assert sk.auc(roc.x, roc.y) == pytest.approx(found.metrics["roc_auc"].estimate)
    assert (roc.x[0], roc.y[0], roc.x[-1], roc.y[-1]) == (0, 0, 1, 1)
    assert (recall.x[0], recall.y[0], recall.x[-1]) == (0, 1, 1)
    assert found.residuals is None
    assert found.gain is None
    assert (found.rows, found.positive, found.confidence) == (ROWS, "yes", 0.95)


def test_evaluation_survives_json():
    found = evaluated(classified(), slices=("x",))
    assert Evaluation.model_validate_json(found.model_dump_json()) == found


def test_several_classes_have_a_curve_each():
    p = classified(("a", "b", "c"), None)
    found = evaluated(p)
    assert [curve.label for curve in found.roc] == ["a", "b", "c"]
    areas = [sk.auc(curve.x, curve.y) for curve in found.roc]
    assert np.mean(areas) == pytest.approx(found.metrics["roc_auc"].estimate)
    assert np.sum(found.confusion) == ROWS


def test_a_class_absent_from_the_rows_has_no_curve():
    p = classified(("a", "b", "c"), None)
    found = evaluated(p.take(p.actual != "b"))
    assert [curve.label for curve in found.roc] == ["a", "c"]
    assert found.confusion[1] == (0, 0, 0)
    assert found.metrics["roc_auc"].estimate is None


def test_curves_of_many_rows_are_thinned():
    found = evaluated(classified(rows=4000))
    for curve in (*found.roc, *found.precision_recall):
        assert len(curve.x) == len(curve.y) <= 200
    area = sk.auc(found.roc[0].x, found.roc[0].y)
    assert area == pytest.approx(found.metrics["roc_auc"].estimate, abs=0.005)


def test_calibration_of_honest_probabilities_lies_on_the_diagonal():
    rng = np.random.default_rng(0)
    yes = rng.random(4000)
    actual = np.where(rng.random(4000) < yes, "yes", "no").astype(object)
    predicted = np.where(yes > 0.5, "yes", "no").astype(object)
    p = Predictions(actual, predicted, np.stack([1 - yes, yes], 1), ("no", "yes"), "yes")
    bins = evaluated(p).calibration
    assert len(bins) == 10
    assert sum(bin_.rows for bin_ in bins) == 4000
    for bin_ in bins:
        assert bin_.low <= bin_.observed <= bin_.high
        assert bin_.predicted == pytest.approx(bin_.observed, abs=0.06)


def test_calibration_of_several_classes_looks_at_the_predicted_one():
    p = classified(("a", "b", "c"), None)
    bins = evaluated(p).calibration
    assert sum(bin_.rows * bin_.observed for bin_ in bins) == pytest.approx(
        (p.actual == p.predicted).sum()
    )
    assert all(bin_.predicted > 1 / 3 for bin_ in bins)


def test_calibration_of_a_constant_probability_is_one_bin():
    p = classified()
    constant = Predictions(p.actual, p.predicted, np.full((ROWS, 2), 0.5), p.labels, p.positive)
    (only,) = evaluated(constant).calibration
    assert (only.predicted, only.rows) == (0.5, ROWS)


def test_regression_evaluation():
    p = regressed(1200)
    found = evaluated(p)
    assert list(found.metrics) == ["mae", "rmse", "r2", "median_absolute_error"]
    assert len(found.residuals.actual) == len(found.residuals.predicted) == 500
    assert (found.residuals.actual[0], found.residuals.actual[-1]) == (p.actual[0], p.actual[-1])
    assert (found.confusion, found.roc, found.calibration) == (None, (), ())


def test_predictions_with_a_nan_give_an_evaluation_of_nothing():
    p = regressed()
    predicted = p.predicted.copy()
    predicted[0] = np.nan
    found = evaluated(Predictions(p.actual, predicted), error_cost={"too_low": 1, "too_high": 1})
    assert all(interval.estimate is None for interval in found.metrics.values())
    assert found.gain.estimate is None
    assert found.residuals is None


def test_frame_and_predictions_must_have_the_same_rows():
    with pytest.raises(ValueError, match="3 rows, but predictions for 120"):
        evaluate(classified(), pd.DataFrame({"y": ["no"] * 3}), contract(), config(), 0)


OUTCOMES = [
    {"actual": "yes", "predicted": "yes", "gain": 10},
    {"actual": "no", "predicted": "yes", "gain": -4},
]


def test_gain_of_outcomes():
    p = classified()
    found = evaluated(p, outcomes=OUTCOMES, unit="EUR")
    (_, false_yes), (_, true_yes) = found.confusion
    assert found.gain.estimate == pytest.approx((10 * true_yes - 4 * false_yes) / ROWS)
    assert found.gain.low < found.gain.estimate < found.gain.high
    assert found.gain_unit == "EUR"


def test_outcomes_may_be_written_as_text_or_number():
    p = classified((0, 1), 1)
    written = evaluated(p, outcomes=[{"actual": "1", "predicted": 1, "gain": 2}])
    assert written.gain.estimate == pytest.approx(2 * written.confusion[1][1] / ROWS)


@pytest.mark.parametrize(
    ("outcomes", "message"),
    [
        (
            [{"actual": "yse", "predicted": "no", "gain": 1}],
            r"outcomes\[0\]\.actual: .*'yse'.*'yes'",
        ),
        ([*OUTCOMES, {"actual": "no", "predicted": "?", "gain": 1}], r"outcomes\[2\]\.predicted"),
        ([OUTCOMES[0], OUTCOMES[0]], r"outcomes\[1\].*already has a gain"),
    ],
)
def test_impossible_outcomes_are_refused_early(outcomes, message):
    with pytest.raises(InputError, match=message):
        check_evaluation(config(outcomes=outcomes), contract())


def test_gain_of_errors():
    p = Predictions(np.array([10.0, 10, 10, 10]), np.array([8.0, 13, 10, 9]))
    found = evaluated(p, error_cost={"too_low": 5, "too_high": 2})
    assert found.gain.estimate == pytest.approx(-(2 * 5 + 3 * 2 + 0 + 1 * 5) / 4)


def test_an_unknown_slice_column_is_refused_with_a_suggestion():
    with pytest.raises(InputError, match=r"evaluation\.slices\[1\].*'colur'.*'colour'"):
        check_evaluation(
            config(slices=("code", "colur")), contract(code="identifier", colour="category")
        )
    check_evaluation(config(slices=("code", "y")), contract(code="identifier"))


def cut(values, kind, bins=4, name="c"):
    table = contract(**{name: kind})
    frame = pd.DataFrame({name: values, "y": "no"}, index=np.arange(len(values)) + 50)
    parts = slices_of(frame, table, name, bins)
    every = np.sort(np.concatenate([part.rows for part in parts]))
    assert every.tolist() == list(range(len(values)))
    return {part.value: part.rows.tolist() for part in parts}


def test_slices_of_categories_are_their_levels():
    values = pd.Series(["b", "a", None, "b"], dtype=object)
    assert cut(values.to_numpy(), "category") == {"a": [1], "b": [0, 3], MISSING: [2]}
    assert cut(values.to_numpy(), "category", name="who") == {"a": [1], "b": [0, 3], MISSING: [2]}


def test_rare_levels_share_a_slice():
    values = [f"level {n:02}" for n in range(30) for _ in range(30 - n)]
    parts = cut(np.array(values, dtype=object), "category")
    assert len(parts) == 21
    assert list(parts)[-1] == OTHER
    assert len(parts[OTHER]) == sum(30 - n for n in range(20, 30))


def test_slices_of_booleans():
    assert cut([1.0, 0.0, np.nan, 1.0], "boolean") == {"false": [1], "true": [0, 3], MISSING: [2]}


def test_slices_of_numbers_are_quantile_bins_in_order():
    parts = cut(np.arange(100.0), "number", bins=4)
    assert list(parts) == ["0 to 24.8", "24.8 to 49.5", "49.5 to 74.2", "74.2 to 99"]
    assert [len(rows) for rows in parts.values()] == [25, 25, 25, 25]
    assert list(cut([10.0, 9, 100, np.nan], "integer", bins=3)) == ["9", "10", "100", MISSING]


def test_close_edges_are_told_apart():
    parts = cut(100_000 + np.arange(40) / 100, "number", bins=4)
    assert len(parts) == 4


def test_slices_of_dates_are_years_or_months():
    dates = pd.to_datetime(["2024-05-01", "2023-01-02", None, "2024-12-31"]).as_unit("us")
    assert cut(dates, "timestamp", name="seen") == {"2023": [1], "2024": [0, 3], MISSING: [2]}
    assert list(cut(dates[[0, 3]], "timestamp")) == ["2024-05", "2024-12"]


@pytest.mark.parametrize(
    ("kind", "empty"),
    [("number", np.nan), ("category", None), ("timestamp", pd.NaT), ("boolean", np.nan)],
)
def test_a_column_missing_throughout_is_one_slice(kind, empty):
    dtype = "datetime64[us]" if kind == "timestamp" else None if kind == "category" else float
    values = pd.Series([empty] * 3, dtype=dtype or object)
    assert cut(values.array, kind) == {MISSING: [0, 1, 2]}


def test_slices_are_measured_apart():
    p = classified()
    frame = pd.DataFrame({"code": ["odd", "even"] * (ROWS // 2), "y": p.actual})
    found = evaluate(
        p, frame, contract(code="category"), config(slices=("code", "y")), seed=0
    ).slices
    assert [(part.column, part.value, part.rows) for part in found] == [
        ("code", "even", 60),
        ("code", "odd", 60),
        ("y", "no", 60),
        ("y", "yes", 60),
    ]
    even = p.take((frame["code"] == "even").to_numpy())
    assert found[0].metrics["log_loss"].estimate == score(METRICS["log_loss"], even)
    assert found[2].metrics["accuracy"].low is not None
    assert found[2].metrics["roc_auc"].estimate is None  # one class only


def test_slices_of_a_regressions_target():
    p = regressed()
    frame = pd.DataFrame({"y": p.actual})
    found = evaluate(p, frame, contract(None, None), config(slices=("y",), slice_bins=3), seed=0)
    assert [part.rows for part in found.slices] == [40, 40, 40]
