from __future__ import annotations

import numpy as np
import pytest
from sklearn.ensemble import ExtraTreesClassifier

from evergreen.config import FeaturesConfig, ImputeConfig
from evergreen.data.conform import model_frame, target_values
from evergreen.onnx_export import NotExportable, check_parity, export_onnx
from evergreen.serving.onnx_model import OnnxModel
from evergreen.training.candidates import BY_NAME, CANDIDATES
from tests.support.graphs import LABELS, fitted, labelled
from tests.support.search_tables import mixed_table

# How far a graph may be off. XGBoost's own exponentials are single precision.
CLOSE = {"xgboost": 2e-7}


def assert_parity(model, frame, contract, close=1e-9):
    rows = model_frame(frame, contract)
    graph = export_onnx(model, contract)
    parity = check_parity(model, graph, rows, contract)
    assert parity.passed, parity.reason
    assert parity.difference <= close
    found = OnnxModel(graph).run({name: rows[name].to_numpy() for name in rows}, len(rows))
    if contract.labels is not None:
        chosen = np.array([*contract.labels, None], dtype=object)[found.argmax(axis=1)]
        assert (chosen == np.asarray(model.predict(rows), dtype=object)).mean() > 0.99
    return parity


@pytest.mark.parametrize("kind", LABELS)
@pytest.mark.parametrize("name", [c.name for c in CANDIDATES if "classification" in c.tasks])
def test_every_classifier_for_labels_of_any_kind(name, kind):
    frame, contract = labelled(LABELS[kind])
    assert_parity(fitted(name, frame, contract), frame, contract, CLOSE.get(name, 1e-9))


@pytest.mark.parametrize("name", [c.name for c in CANDIDATES if "regression" in c.tasks])
@pytest.mark.parametrize("shift", [0.0, 1e6])
def test_every_regressor(name, shift):
    frame, contract = mixed_table("regression", rows=150)
    frame["outcome"] += shift
    assert_parity(fitted(name, frame, contract), frame, contract, CLOSE.get(name, 1e-9))


@pytest.mark.parametrize("name", ["logistic_regression", "random_forest", "xgboost", "lightgbm"])
def test_balanced_classes_and_marked_gaps(name):
    frame, contract = labelled(LABELS["text"])
    features = FeaturesConfig(impute=ImputeConfig(indicator=True))
    model = fitted(name, frame, contract, balance=True, features=features)
    assert_parity(model, frame, contract, CLOSE.get(name, 1e-9))


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("xgboost", {"objective": "count:poisson"}),
        ("xgboost", {"objective": "reg:gamma"}),
        ("xgboost", {"objective": "reg:absoluteerror"}),
        ("xgboost", {"base_score": 3.5, "num_parallel_tree": 2}),
        ("lightgbm", {"objective": "poisson"}),
        ("lightgbm", {"objective": "regression_l1"}),
        ("lightgbm", {"objective": "huber", "n_estimators": 1}),
        ("random_forest", {"criterion": "absolute_error"}),
        ("decision_tree", {"max_depth": 1}),
    ],
)
def test_parameters_that_change_what_trees_mean(name, params):
    frame, contract = mixed_table("regression")
    frame["outcome"] = np.exp(frame["outcome"] / 3) + 0.1
    assert_parity(fitted(name, frame, contract, params), frame, contract, CLOSE.get(name, 1e-9))


@pytest.mark.parametrize("name", ["xgboost", "lightgbm"])
def test_only_the_best_rounds_count_after_early_stopping(name):
    frame, contract = labelled(LABELS["two texts"])
    model = fitted(name, frame, contract)
    rows = np.asarray(model[:-1].transform(model_frame(frame, contract)))
    stop = np.arange(len(rows)) % 3 == 0
    wild = BY_NAME[name].make("classification", 1).set_params(learning_rate=1.0, n_jobs=1)
    best = BY_NAME[name].stop(wild, rows, target_values(frame, contract), stop, 20)
    assert best < 300
    model.steps[-1] = ("estimator", wild)
    assert_parity(model, frame, contract, CLOSE.get(name, 1e-9))


def test_a_class_that_was_never_seen_gets_nothing():
    frame, contract = labelled(LABELS["text"])
    rare = contract.model_copy(update={"labels": ("amber", "brass", "mint", "zinc")})
    model = fitted("random_forest", frame, contract)
    assert_parity(model, frame, rare)
    rows = model_frame(frame, rare)
    graph = OnnxModel(export_onnx(model, rare))
    found = graph.run({name: rows[name].to_numpy() for name in rows}, len(rows))
    assert not found[:, 1].any()
    np.testing.assert_allclose(found.sum(axis=1), 1)


def test_more_rows_than_are_computed_at_once():
    frame, contract = mixed_table("regression")
    model = fitted("decision_tree", frame, contract)
    rows = model_frame(frame, contract).iloc[np.arange(20_001) % len(frame)]
    graph = OnnxModel(export_onnx(model, contract))
    found = graph.run({name: rows[name].to_numpy() for name in rows}, len(rows))
    np.testing.assert_allclose(found, model.predict(rows), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("name", "params", "reason"),
    [
        ("xgboost", {"booster": "dart"}, "no sum of plain trees"),
        ("xgboost", {"booster": "gblinear", "n_estimators": 2}, "no sum of plain trees"),
        ("xgboost", {"objective": "binary:hinge"}, "objective 'binary:hinge'"),
        (
            "lightgbm",
            {"boosting_type": "rf", "subsample": 0.5, "subsample_freq": 1},
            "averages its trees",
        ),
        ("lightgbm", {"linear_tree": True}, "linear models"),
        ("lightgbm", {"zero_as_missing": True}, "zeros for missing"),
        ("lightgbm", {"objective": "cross_entropy"}, "objective 'cross_entropy'"),
    ],
)
def test_what_has_no_graph_says_why(name, params, reason):
    frame, contract = labelled(LABELS["two integers"])
    with pytest.raises(NotExportable, match=reason):
        export_onnx(fitted(name, frame, contract, params), contract)


def test_an_estimator_of_another_kind_has_no_graph():
    frame, contract = labelled(LABELS["text"])
    model = fitted("decision_tree", frame, contract)
    model.steps[-1] = ("estimator", ExtraTreesClassifier())
    with pytest.raises(NotExportable, match="no ONNX form of ExtraTreesClassifier"):
        export_onnx(model, contract)
