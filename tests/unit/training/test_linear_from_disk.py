"""Linear models that learn from disk are those that scikit-learn fits in memory."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge

from evergreen.config import FeaturesConfig
from evergreen.data import dataset as datasets
from evergreen.data.conform import model_frame
from evergreen.data.engine import Engine
from evergreen.errors import UnreachableError
from evergreen.features import build_features
from evergreen.onnx_export import check_parity, export_onnx
from evergreen.paths import Home
from evergreen.promotion.serialization import load_model, save_model
from evergreen.training import external, feature_file, logistic
from evergreen.training.feature_file import FeatureFile
from evergreen.training.least_squares import learn_least_squares
from evergreen.training.logistic import learn_logistic
from tests.support.engines import chosen, fitted, prepared, sales

LIKELY = 5e-3  # of a probability: scikit-learn stops where the gradient is 1e-4
SINGLE = 1e-5  # of a probability, where both go on: features on disk are in single precision
SQUARES = 1e-8  # of the target's deviation


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    """Let the table be several pieces, and so its features."""
    monkeypatch.setattr(datasets, "piece_rows", lambda columns: 1_700)
    monkeypatch.setattr(external, "PREPROCESSING_ROWS", 800)
    monkeypatch.setattr(feature_file, "FILE_BYTES", 60_000)
    monkeypatch.setattr(logistic, "START_VALUES", 10_000)
    monkeypatch.setattr(logistic, "PIECE_BYTES", 50_000)


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return sales()


def assert_is_a_model_like_any_other(model, inputs, contract, folder):
    save_model(model, folder / "model.skops")
    again = load_model(folder / "model.skops")
    assert (again.predict(inputs) == model.predict(inputs)).all()
    parity = check_parity(model, export_onnx(model, contract), inputs.iloc[:300], contract)
    assert parity.passed, parity.reason


@pytest.mark.parametrize("target", ["truth", "kind"])
@pytest.mark.parametrize("balance", [False, True])
def test_logistic_regression_is_the_same_from_disk(table, target, balance, tmp_path):
    use_case, contract, frame, sides = prepared(table, target, tmp_path)
    inputs = model_frame(frame, contract)
    for tolerance, differ in ((1e-4, LIKELY), (1e-9, SINGLE)):
        candidate = chosen("logistic_regression", C=0.05, tol=tolerance)
        memory, disk = fitted(sides, contract, use_case, candidate, balance=balance)
        assert disk.classes_.tolist() == memory.classes_.tolist()
        found, expected = (model.predict_proba(inputs) for model in (disk, memory))
        np.testing.assert_allclose(found, expected, rtol=0, atol=differ)
    assert_is_a_model_like_any_other(disk, inputs, contract, tmp_path)
    assert not list(Home.locate().scratch.iterdir())


@pytest.mark.parametrize("candidate", [chosen("ridge", alpha=30.0), chosen("linear_regression")])
def test_least_squares_are_the_same_from_disk(table, candidate, tmp_path):
    use_case, contract, frame, sides = prepared(table, "price", tmp_path)
    memory, disk = fitted(sides, contract, use_case, candidate)
    inputs = model_frame(frame, contract)
    scale = frame["price"].std()
    np.testing.assert_allclose(
        disk.predict(inputs), memory.predict(inputs), rtol=0, atol=SQUARES * scale
    )
    assert disk[-1].get_params() == memory[-1].get_params()
    assert_is_a_model_like_any_other(disk, inputs, contract, tmp_path)


def test_with_dask_linear_models_are_fitted_here(table, tmp_path):
    dask = Engine(name="dask", reason="the test says so")
    use_case, contract, frame, sides = prepared(table, "price", tmp_path, other=dask)
    nowhere = {"scheduler": "tcp://127.0.0.1:1"}
    memory, here = fitted(sides, contract, use_case, chosen("ridge"), dask=nowhere)
    inputs = model_frame(frame, contract)
    np.testing.assert_allclose(here.predict(inputs), memory.predict(inputs), rtol=1e-8)


def rows(count: int = 900, classes: int = 2):
    """Return features, two of which say nothing and one of which others add up to, and labels."""
    random = np.random.default_rng(6)
    X = random.normal(size=(count, 6)).astype(np.float32)
    X[:, 5] = X[:, 0] + X[:, 1] + 3
    scores = X @ random.normal(size=(6, classes)) + random.normal(0, 2, (count, classes))
    scores[:, 0] += 1
    return X, np.array(["b", "a", "c"])[:classes][scores.argmax(axis=1)]


def on_disk(X, folder) -> FeatureFile:
    X.tofile(folder / "features.bin")
    return FeatureFile(folder / "features.bin", *X.shape)


PENALTIES = [
    {"C": 0.1},
    {"C": np.inf},
    {"C": 0.1, "class_weight": "balanced"},
    {"C": 0.1, "fit_intercept": False},
    {"C": 0.05, "l1_ratio": 1.0, "solver": "saga"},
    {"C": 0.05, "l1_ratio": 0.4, "solver": "saga"},
]
OF_TWO_CLASSES = [
    {"C": 0.1, "solver": "liblinear", "intercept_scaling": 2.0},
    {"C": 0.01, "l1_ratio": 1.0, "solver": "liblinear"},
]


@pytest.mark.parametrize(
    ("classes", "settings"),
    [*((2, each) for each in [*PENALTIES, *OF_TWO_CLASSES]), *((3, each) for each in PENALTIES)],
    ids=str,
)
def test_every_penalty_has_scikit_learns_optimum(classes, settings, tmp_path):
    X, y = rows(classes=classes)
    if settings["C"] == np.inf:
        X = X[:, :5]  # else there are many optima
    memory, disk = (LogisticRegression(tol=1e-10, max_iter=20_000, **settings) for _ in range(2))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        memory.fit(X.astype(np.float64), y)
    learn_logistic(disk, on_disk(X, tmp_path), y)
    assert disk.coef_.shape == memory.coef_.shape
    assert disk.intercept_.shape == memory.intercept_.shape
    assert (disk.predict(X) == memory.predict(X)).mean() > 0.998
    np.testing.assert_allclose(disk.predict_proba(X), memory.predict_proba(X), rtol=0, atol=2e-4)
    if settings.get("l1_ratio") == 1.0:
        assert (np.abs(disk.coef_) < 1e-4).sum() == (np.abs(memory.coef_) < 1e-4).sum() > 0


@pytest.mark.parametrize("C", [1e6, np.inf])
def test_classes_that_a_line_separates_are_told_apart(C, tmp_path):
    X, _ = rows()
    y = X[:, 0] > 0
    estimator = LogisticRegression(C=C)
    learn_logistic(estimator, on_disk(X, tmp_path), y)
    assert (estimator.predict(X) == y).all()
    assert estimator.classes_.dtype == bool


def test_a_search_that_has_not_converged_is_told_of(tmp_path, caplog):
    X, y = rows()
    features = on_disk(X, tmp_path)
    learn_logistic(LogisticRegression(), features, y)
    assert not caplog.text
    learn_logistic(LogisticRegression(max_iter=1), features, y)
    assert "has not converged in 1 iterations; raise max_iter" in caplog.text


def test_few_ways_through_the_table_are_enough(tmp_path):
    X, y = rows(20_000)
    begun, anew = LogisticRegression(), LogisticRegression()
    learn_logistic(begun, on_disk(X, tmp_path), y)
    anew.fit(X.astype(np.float64), y)
    assert begun.n_iter_[0] <= 3 < anew.n_iter_[0]


@settings(max_examples=40, deadline=None)
@given(
    cuts=st.sets(st.integers(1, 299), max_size=8),
    estimator=st.sampled_from(
        [
            LinearRegression(),
            LinearRegression(fit_intercept=False),
            LinearRegression(positive=True),
            Ridge(alpha=5.0),
            Ridge(alpha=5.0, fit_intercept=False),
            Ridge(alpha=1e-3, solver="svd"),
        ]
    ),
)
def test_any_pieces_give_the_least_squares_of_the_whole(cuts, estimator):
    X, _ = rows(300)
    X = np.column_stack([X.astype(np.float64), 1e4 + X[:, 0], np.zeros(300)])
    y = X[:, 1] - 2 * X[:, 2] + np.random.default_rng(0).normal(size=300) + 50
    params = estimator.get_params()
    estimator.fit(X, y)
    expected = estimator.predict(X)
    parts = np.split(np.arange(300), sorted(cuts))
    learn_least_squares(estimator, ((X[part], y[part]) for part in parts))
    np.testing.assert_allclose(estimator.predict(X), expected, rtol=0, atol=1e-6)
    assert estimator.get_params() == params


def test_every_row_of_some_comes_with_its_place(tmp_path):
    X = np.arange(3_000, dtype=np.float32).reshape(-1, 3)
    features = on_disk(X, tmp_path)
    for values in (1, 30, 700, 2_999, 9_999):
        places, some = features.every(values)
        assert (X[places] == some).all()
        assert some.size <= max(values, 3)
        assert (np.diff(places) == -(-3_000 // values)).all()


def test_a_full_disk_is_told_of(table, tmp_path):
    _, contract, _, (_, disk) = prepared(table, "truth", tmp_path)
    transform = build_features(contract, FeaturesConfig(), scale=True, seed=1)
    few = disk.read_some(100)
    transform.fit(model_frame(few, contract))
    with pytest.raises(UnreachableError, match="Cannot write /dev/full"):
        FeatureFile.write(disk, contract, transform, Path("/dev/full"))
