from __future__ import annotations

import builtins

import numpy as np
import pytest

from evergreen.config import CandidateConfig, Span, TrainingConfig
from evergreen.errors import InputError
from evergreen.training.candidates import (
    BASELINE,
    BY_NAME,
    CANDIDATES,
    candidates_for,
    make_estimator,
)


def training(**candidates):
    return TrainingConfig(candidates=candidates)


def test_an_empty_list_means_all_that_suit_the_task():
    names = {
        task: [plan.candidate.name for plan in candidates_for(task, TrainingConfig())]
        for task in ("classification", "regression")
    }
    trees = ["decision_tree", "random_forest", "xgboost", "lightgbm"]
    assert names["classification"] == [BASELINE, "logistic_regression", *trees]
    assert names["regression"] == [BASELINE, "ridge", "linear_regression", *trees]


def test_the_baseline_is_always_there():
    plans = candidates_for("regression", TrainingConfig(candidates=["ridge"]))
    assert [plan.candidate.name for plan in plans] == [BASELINE, "ridge"]


def test_fixed_parameters_leave_the_search_space():
    plans = candidates_for("regression", training(decision_tree={"params": {"max_depth": 3}}))
    assert plans[1].params == {"max_depth": 3}
    assert set(plans[1].search) == {"min_samples_leaf"}


def test_a_search_or_grid_replaces_the_candidates_own():
    span = Span(low=2, high=3, integer=True)
    search = CandidateConfig(search={"max_depth": span})
    grid = CandidateConfig(grid={"max_depth": (2, 3)})
    for config in (search, grid):
        plan = candidates_for("regression", training(decision_tree=config))[1]
        assert dict(plan.search) == ({"max_depth": span} if config is search else {})
        assert plan.grid == config.grid


@pytest.mark.parametrize(
    ("task", "candidates", "message"),
    [
        ("regression", {"xgbost": {}}, "Did you mean 'xgboost'.*Allowed for regression: baseline"),
        ("regression", {"logistic_regression": {}}, "is not for regression"),
        ("classification", {"ridge": {}}, "is not for classification"),
        (
            "classification",
            {"decision_tree": {"params": {"max_dept": 3}}},
            r"training\.candidates\.decision_tree\.params\.max_dept: .*Did you mean 'max_depth'",
        ),
        ("regression", {"xgboost": {"grid": {"lambda": (1, 2)}}}, "no such parameter"),
        ("regression", {"lightgbm": {"search": {"leaves": (1, 2)}}}, "Did you mean 'num_leaves'"),
        ("regression", {"xgboost": {"params": {"n_jobs": 4}}}, r"set .* by training\.jobs"),
        (
            "regression",
            {"xgboost": {"params": {"early_stopping_rounds": 4}}},
            r"by training\.early_stopping",
        ),
        (
            "regression",
            {"ridge": {"params": {"alpha": 1.0}, "search": {"alpha": (1, 2)}}},
            "also fixed in params",
        ),
    ],
)
def test_mistakes_are_told(task, candidates, message):
    with pytest.raises(InputError, match=message):
        candidates_for(task, training(**candidates))


@pytest.mark.parametrize("candidate", CANDIDATES, ids=lambda candidate: candidate.name)
def test_every_searched_parameter_exists_and_its_space_is_accepted(candidate):
    for task in candidate.tasks:
        estimator = candidate.make(task, 0)
        assert set(candidate.search) <= set(estimator.get_params())
        assert ("n_jobs" in estimator.get_params()) or not candidate.threads


@pytest.mark.parametrize("name", [name for name in BY_NAME if name not in (BASELINE, "ridge")])
def test_balance_weighs_classes(name):
    candidate = BY_NAME[name]
    if "classification" not in candidate.tasks:
        return
    rng = np.random.default_rng(0)
    y = np.repeat(np.array(["common", "rare"], dtype=object), [180, 20])
    X = rng.normal(size=(200, 1)) + (y == "rare")[:, None]
    recall = {}
    for balance in (False, True):
        params = {"max_depth": 2} if "max_depth" in candidate.search else {}
        estimator = make_estimator(
            candidate, "classification", params, seed=0, balance=balance, threads=1
        )
        if candidate.stop:
            estimator.set_params(n_estimators=10)
        estimator.fit(X, y)
        recall[balance] = (estimator.predict(X[y == "rare"]) == "rare").mean()
    assert recall[True] > recall[False]


def test_a_missing_openmp_runtime_is_told(monkeypatch):
    real_import = builtins.__import__

    def without_lightgbm(name, *args, **kwargs):
        if name == "lightgbm":
            raise OSError("libgomp.so.1: cannot open shared object file")
        return real_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_lightgbm)
    with pytest.raises(InputError, match="apt-get install libgomp1"):
        BY_NAME["lightgbm"].make("regression", 0)
