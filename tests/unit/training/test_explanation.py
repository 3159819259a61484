"""Importance per input column: useful columns matter, useless ones do not, sums add up."""

import numpy as np
import pandas as pd
import pytest
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.pipeline import Pipeline
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from evergreen.config import EvaluationConfig, FeaturesConfig
from evergreen.data.conform import model_frame, target_values
from evergreen.data.contract import Column, Contract
from evergreen.features import build_features
from evergreen.training import shap_values as shap_module
from evergreen.training.explanation import explain
from evergreen.training.shap_values import NoShapError, shap_values

ROWS = 240


def contract(labels):
    kinds = {"strong": "number", "weak / odd": "number", "noise": "number", "colour": "category"}
    columns = [
        Column(name=name, type=kind, role="feature", nullable=True) for name, kind in kinds.items()
    ]
    target = Column(
        name="y", type="category" if labels else "number", role="target", nullable=False
    )
    return Contract(
        use_case="test",
        task="classification" if labels else "regression",
        target="y",
        labels=labels,
        positive=labels[1] if labels and len(labels) == 2 else None,
        columns=(*columns, target),
    )


def table(labels, rows=ROWS):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(rows, 3)), columns=["strong", "weak / odd", "noise"])
    frame["colour"] = rng.choice(np.array(["red", "green", "blue"], dtype=object), rows)
    signal = 3 * frame["strong"] + 0.7 * frame["weak / odd"] + (frame["colour"] == "red")
    if labels is None:
        return frame.assign(y=signal)
    codes = pd.qcut(signal, len(labels), labels=False)
    return frame.assign(y=pd.Series(np.array(labels, dtype=object)[codes], dtype=object))


def fitted(estimator, labels, frame, **features):
    settings = FeaturesConfig(**features)
    steps = build_features(contract(labels), settings, scale=True, seed=0)
    model = Pipeline([("features", steps), ("estimator", estimator)])
    return model.fit(model_frame(frame, contract(labels)), target_values(frame, contract(labels)))


def explained(model, labels, frame, metric=None, **settings):
    return explain(
        model,
        frame,
        contract(labels),
        metric=metric or ("rmse" if labels is None else "log_loss"),
        config=EvaluationConfig(**settings),
        seed=0,
    )


def boosted(kind, labels):
    if kind == "xgboost":
        from xgboost import XGBRegressor

        from evergreen.training.xgboost_adapter import LabelledXGBClassifier

        make = XGBRegressor if labels is None else LabelledXGBClassifier
        return make(n_estimators=20, n_jobs=1)
    from lightgbm import LGBMClassifier, LGBMRegressor

    make = LGBMRegressor if labels is None else LGBMClassifier
    return make(n_estimators=20, n_jobs=1, verbose=-1)


def estimator_of(kind, labels):
    regression = labels is None
    if kind == "linear":
        return Ridge() if regression else LogisticRegression()
    if kind == "tree":
        return (DecisionTreeRegressor if regression else DecisionTreeClassifier)(max_depth=6)
    if kind == "forest":
        make = RandomForestRegressor if regression else RandomForestClassifier
        return make(20, random_state=0)
    return boosted(kind, labels)


KINDS = ["linear", "tree", "forest", "xgboost", "lightgbm"]
LABELS = [None, ("no", "yes"), (1, 2, 3)]


@pytest.mark.parametrize("labels", LABELS)
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_model_is_explained(kind, labels):
    frame = table(labels)
    found = explained(fitted(estimator_of(kind, labels), labels, frame), labels, frame)
    by_name = {column.column: column for column in found.columns}
    assert found.columns[0].column == "strong"
    assert set(by_name) == {"strong", "weak / odd", "noise", "colour"}
    assert by_name["strong"].permutation > 5 * abs(by_name["noise"].permutation)
    assert by_name["strong"].shap > 3 * by_name["noise"].shap
    assert found.shap_method is not None
    assert found.shap_reason is None
    assert found.rows == ROWS


def output(model, labels, features):
    """What the SHAP values of a model add up to, but for a constant."""
    estimator = model[-1]
    if labels is None:
        return estimator.predict(features)[:, None]
    if hasattr(estimator, "decision_function"):
        return estimator.decision_function(features).reshape(len(features), -1)
    if hasattr(estimator, "get_booster"):
        return estimator.predict(features, output_margin=True).reshape(len(features), -1)
    if hasattr(estimator, "booster_"):
        return estimator.predict(features, raw_score=True).reshape(len(features), -1)
    probabilities = estimator.predict_proba(features)
    return probabilities[:, 1:] if len(labels) == 2 else probabilities


@pytest.mark.parametrize("labels", LABELS)
@pytest.mark.parametrize("kind", ["linear", "tree", "forest", "lightgbm"])
def test_shap_values_add_up_to_the_prediction(kind, labels):
    frame = table(labels)
    model = fitted(estimator_of(kind, labels), labels, frame)
    features = model[:-1].transform(model_frame(frame, contract(labels)))
    values, _ = shap_values(model[-1], features)
    total = values.sum(axis=1)
    rest = output(model, labels, features) - total
    assert rest == pytest.approx(np.broadcast_to(rest[:1], rest.shape), abs=1e-6)


@pytest.mark.parametrize("labels", [None, ("no", "yes")])
def test_xgboosts_shap_values_add_up(labels):
    frame = table(labels)
    model = fitted(boosted("xgboost", labels), labels, frame)
    features = model[:-1].transform(model_frame(frame, contract(labels)))
    margin = model[-1].get_booster().inplace_predict(features, predict_type="margin")
    rest = margin - shap_values(model[-1], features)[0].sum(axis=(1, 2))
    assert rest == pytest.approx(np.full(ROWS, rest[0]), abs=1e-4)


def test_linear_importance_is_the_coefficient_times_the_mean_distance():
    frame = table(None)
    model = fitted(LinearRegression(), None, frame)
    found = {column.column: column.shap for column in explained(model, None, frame).columns}
    distance = np.abs(frame["strong"] - frame["strong"].mean()).mean()
    assert found["strong"] == pytest.approx(3 * distance, rel=1e-6)
    assert found["noise"] == pytest.approx(0, abs=1e-9)


def test_permutation_agrees_with_scikit_learn():
    frame, labels = table(("no", "yes")), ("no", "yes")
    model = fitted(LogisticRegression(), labels, frame)
    ours = {c.column: c for c in explained(model, labels, frame, "accuracy").columns}
    theirs = permutation_importance(
        model,
        model_frame(frame, contract(labels)),
        list(frame["y"]),
        scoring="accuracy",
        n_repeats=10,
        random_state=0,
    )
    for name, mean, deviation in zip(
        ["strong", "weak / odd", "noise", "colour"],
        theirs.importances_mean,
        theirs.importances_std,
        strict=True,
    ):
        assert ours[name].permutation == pytest.approx(mean, abs=2 * deviation + 1e-9)


def test_a_derived_feature_counts_for_its_columns_in_equal_parts():
    frame = table(None)
    derive = {"both": "strong + noise"}
    model = fitted(LinearRegression(), None, frame, derive=derive, drop=("strong", "noise"))
    found = {column.column: column.shap for column in explained(model, None, frame).columns}
    assert found["strong"] == found["noise"] > 0


def test_rows_are_bounded_and_the_seed_decides():
    frame = table(None)
    model = fitted(Ridge(), None, frame)
    found = explained(model, None, frame, importance_rows=50)
    assert found.rows == 50
    assert found == explained(model, None, frame, importance_rows=50)


def test_a_model_without_shap_says_why_and_is_still_permuted():
    frame, labels = table(("no", "yes")), ("no", "yes")
    found = explained(fitted(DummyClassifier(), labels, frame), labels, frame)
    assert found.shap_method is None
    assert "DummyClassifier" in found.shap_reason
    assert all(column.shap is None for column in found.columns)
    assert all(column.permutation == 0 for column in found.columns)


def test_what_cannot_be_measured_is_none():
    frame, labels = table(("no", "yes")), ("no", "yes")
    model = fitted(LogisticRegression(), labels, frame)
    one_class = frame[frame["y"] == "yes"]
    found = explained(model, labels, one_class, "roc_auc")
    assert all(column.permutation is None for column in found.columns)
    assert all(column.shap is not None for column in found.columns)


def test_large_forests_are_explained_on_fewer_rows_or_not_at_all(monkeypatch):
    frame = table(None)
    model = fitted(RandomForestRegressor(5, random_state=0), None, frame)
    features = model[:-1].transform(model_frame(frame, contract(None)))
    trees = model[-1].estimators_
    steps = sum(tree.tree_.n_leaves * tree.tree_.max_depth**2 for tree in trees)
    monkeypatch.setattr(shap_module, "_TREE_STEPS", 30 * steps)
    values, method = shap_values(model[-1], features)
    assert len(values) == 30
    assert "30 rows" in method
    monkeypatch.setattr(shap_module, "_TREE_STEPS", steps)
    with pytest.raises(NoShapError, match="too large: 5 trees"):
        shap_values(model[-1], features)
