"""The gate fires: on the differences that are known to occur, and on any other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evergreen.config import FeaturesConfig
from evergreen.data.conform import model_frame
from evergreen.onnx_export import check_parity, estimators, export_onnx, trees
from evergreen.onnx_export.parity import MAX_BRANCHES, Comparison
from evergreen.onnx_export.threshold_rows import rows_at_thresholds
from evergreen.onnx_export.trees import largest_single
from tests.support.graphs import LABELS, fitted, labelled
from tests.support.search_tables import mixed_table

TREES = ["decision_tree", "random_forest", "xgboost", "lightgbm"]


@settings(deadline=None)
@given(st.floats(-3.4e38, 3.4e38))
def test_the_largest_single_decides_as_the_double_does(threshold):
    single = largest_single(np.array([threshold]))[0]
    assert float(single) <= threshold < float(np.nextafter(single, np.float32(np.inf)))


@pytest.mark.parametrize("name", TREES)
def test_every_branch_is_reached_with_values_on_either_side(name):
    frame, contract = labelled(LABELS["text"])
    model = fitted(name, frame, contract)
    ensemble = estimators.tree_ensemble(model[-1])
    features = np.asarray(model[:-1].transform(model_frame(frame, contract)))
    probe = rows_at_thresholds(ensemble, features, limit=10**6)
    assert probe.tried == probe.branches == len(probe.features) / 5
    places = [(t, n) for t in ensemble.trees for n in np.flatnonzero(~t.is_leaf)]
    fives = probe.features.reshape(-1, 5, features.shape[1])
    for (tree, node), rows in zip(places, fives, strict=True):
        taken = [path(tree, row, ensemble) for row in rows]
        assert all(node in steps for steps in taken)
        ways = {tree.left[node] in steps for steps in taken}
        assert ways == {True, False}


def path(tree, row, ensemble):
    """Walk down a tree as its library does."""
    values = row.astype(np.float32).astype(np.float64) if ensemble.single else row
    node, steps = 0, []
    while not tree.is_leaf[node]:
        steps.append(node)
        value, threshold = values[tree.feature[node]], tree.threshold[node]
        goes_left = value < threshold if ensemble.strict else value <= threshold
        node = int(tree.left[node] if goes_left else tree.right[node])
    return [*steps, node]


def test_of_many_branches_some_are_taken_from_all_trees():
    frame, contract = labelled(LABELS["text"])
    model = fitted("random_forest", frame, contract, {"n_estimators": 100})
    rows = model_frame(frame, contract)
    parity = check_parity(model, export_onnx(model, contract), rows, contract)
    assert parity.branches > parity.branches_tried == MAX_BRANCHES
    assert parity.threshold_rows == 5 * MAX_BRANCHES


def failing(name, contract=None, frame=None):
    if contract is None:
        frame, contract = labelled(LABELS["text"])
    model = fitted(name, frame, contract, features=FeaturesConfig())
    rows = model_frame(frame, contract)
    parity = check_parity(model, export_onnx(model, contract), rows, contract)
    assert not parity.passed
    return parity


@pytest.mark.parametrize("name", ["decision_tree", "random_forest"])
def test_thresholds_rounded_to_the_nearest_are_noticed(name, monkeypatch):
    monkeypatch.setattr(trees, "largest_single", lambda values: values.astype(np.float32))
    parity = failing(name)
    assert "thresholds" in parity.where
    assert "answers differ by up to" in parity.reason


@pytest.mark.parametrize("name", ["xgboost", "lightgbm"])
def test_a_sign_that_is_wrong_at_equality_is_noticed(name, monkeypatch):
    right = estimators._boosted

    def wrong(estimator):
        boosted = right(estimator)
        ensemble = replace(boosted.ensemble, strict=not boosted.ensemble.strict)
        return replace(boosted, ensemble=ensemble)

    monkeypatch.setattr(estimators, "_boosted", wrong)
    assert "thresholds" in failing(name).where


def test_a_value_that_is_slightly_off_is_noticed(monkeypatch):
    def off(graph, estimator, features):
        right = estimators._linear(graph, estimator, features)
        return graph.add("Add", right, graph.constant(3e-5))

    monkeypatch.setitem(estimators._WRITERS, "Ridge", off)
    frame, contract = mixed_table("regression")
    assert failing("ridge", contract, frame).where == "on the rows given"


def test_answers_that_are_not_finite_fail(monkeypatch):
    def undefined(graph, estimator, features):
        return graph.add("Log", graph.constant([[-1.0]]))

    monkeypatch.setitem(estimators._WRITERS, "Ridge", undefined)
    frame, contract = mixed_table("regression")
    parity = failing("ridge", contract, frame)
    assert parity.difference is None
    assert "not finite" in parity.reason


def test_another_class_counts_unless_the_two_are_equally_probable():
    native = np.array([[0.5, 0.5], [0.5 + 4e-7, 0.5 - 4e-7], [0.6, 0.4]])
    tied = Comparison("here", native, native[:, ::-1])
    assert tied.other_classes(1e-6) == 1
    assert Comparison("here", native, native).other_classes(1e-6) == 0


def test_regressions_are_measured_against_their_greatest_value():
    one = Comparison("here", np.array([0.0, -2e6]), np.array([1.0, -2e6]))
    assert one.difference == pytest.approx(5e-7)
