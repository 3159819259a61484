from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from evergreen.config import FeaturesConfig, SplitConfig, TrainingConfig
from evergreen.data.conform import model_frame
from evergreen.data.engine import Engine
from evergreen.errors import InputError
from evergreen.training import search as searching
from evergreen.training.metrics import metric_named
from evergreen.training.results import CandidateResult
from evergreen.training.search import (
    _ranked,
    alone,
    fit_candidate,
    rank_candidates,
    search_candidate,
    search_candidates,
)
from evergreen.training.search_task import metric_of
from tests.support.search_tables import mixed_table, stored

QUICK = {"decision_tree": {}, "logistic_regression": {}}


def search(table, contract, tmp_path, candidates, on_progress=None, features=None, **training):
    settings = {"candidates": candidates, "trials": 2, "jobs": 1, **training}
    return search_candidates(
        stored(table, tmp_path),
        contract,
        features=features or FeaturesConfig(),
        training=TrainingConfig(**settings),
        split=SplitConfig(folds=3),
        on_progress=on_progress,
    )


def test_candidates_come_best_first_with_the_baseline_among_them(tmp_path):
    table, contract = mixed_table()
    events = []
    result = search(table, contract, tmp_path, QUICK, events.append)
    names = [candidate.name for candidate in result.candidates]
    scores = [candidate.score for candidate in result.candidates]
    assert set(names) == {"baseline", *QUICK}
    assert scores == sorted(scores)
    assert result.best == next(name for name in names if name != "baseline")
    assert (result.metric, result.greater_is_better, result.folds) == ("log_loss", False, 3)
    assert {event.candidate for event in events if event.done} == set(names)


@pytest.mark.parametrize(
    ("engine", "candidates", "told"),
    [
        ("dask", {"xgboost": {}}, ["begin"]),
        ("dask", {"logistic_regression": {}}, ["end"]),
        ("external", {"logistic_regression": {}, "xgboost": {}}, ["end"]),
    ],
)
def test_a_cluster_is_begun_for_who_may_need_it_and_ends_where_nobody_does(
    engine, candidates, told, tmp_path, monkeypatch
):
    table, contract = mixed_table()
    heard = []
    monkeypatch.setattr(searching, "await_learning", lambda config: heard.append("begin"))
    monkeypatch.setattr(searching, "end_cluster", lambda config: heard.append("end"))
    rows = replace(stored(table, tmp_path), engine=Engine(name=engine))
    search_candidates(
        rows,
        contract,
        features=FeaturesConfig(),
        training=TrainingConfig(candidates=candidates, trials=1, jobs=1, dask={"workers": 1}),
        split=SplitConfig(folds=2),
    )
    assert heard == told


def test_the_baseline_is_challenger_only_where_it_stands_alone(tmp_path):
    table, contract = mixed_table()
    assert search(table, contract, tmp_path, {"baseline": {}}).best == "baseline"
    useless = {"decision_tree": {"params": {"min_samples_leaf": 1, "max_depth": 20}, "search": {}}}
    worse = search(
        table.assign(outcome=np.tile(["amber", "mint", "zinc"], 40)), contract, tmp_path, useless
    )
    assert worse.candidates[0].name == "baseline"
    assert worse.best == "decision_tree"


def test_a_failed_candidate_comes_last_and_the_others_go_on(tmp_path):
    table, contract = mixed_table()
    broken = {**QUICK, "random_forest": {"params": {"max_depth": -3}, "search": {}}}
    result = search(table, contract, tmp_path, broken)
    assert result.candidates[-1].name == "random_forest"
    assert "max_depth" in result.candidates[-1].error
    assert result.best in QUICK


def apart(table, contract, tmp_path, features=None, **training):
    """Search every candidate by itself, as pods do, and put the results together."""
    config = TrainingConfig(**{"trials": 2, "jobs": 1, **training})
    shared = {"features": features or FeaturesConfig(), "split": SplitConfig(folds=3)}
    train = stored(table, tmp_path)
    results = [
        search_candidate(name, train, contract, training=own, **shared)
        for name, own in alone(contract.task, config).items()
    ]
    assert all(set(own.candidates) == {name} for name, own in alone(contract.task, config).items())
    return rank_candidates(results, metric_of(config, contract.task), shared["split"])


def without_times(result):
    """A search's result without what differs from run to run."""

    def timeless(told):
        if isinstance(told, dict):
            return {key: timeless(value) for key, value in told.items() if key != "seconds"}
        return [timeless(each) for each in told] if isinstance(told, list) else told

    return timeless(result.model_dump(mode="json"))


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_candidates_that_are_searched_apart_give_the_same_to_the_last_digit(task, tmp_path):
    table, contract = mixed_table(task)
    simple = "logistic_regression" if task == "classification" else "ridge"
    candidates = {
        simple: {},
        "decision_tree": {"grid": {"max_depth": [2, 3]}},
        "lightgbm": {"params": {"num_leaves": 7}},
        "random_forest": {"params": {"max_depth": -3}, "search": {}},  # fails
    }
    together = search(table, contract, tmp_path, candidates)
    found = apart(table, contract, tmp_path, candidates=candidates)
    assert without_times(found) == without_times(together)
    assert found.candidates[-1].error is not None
    assert found.seconds == max(candidate.seconds for candidate in found.candidates)


def test_mistakes_are_told_the_same_where_candidates_are_searched_apart(tmp_path):
    table, contract = mixed_table()
    broken = {"random_forest": {"params": {"max_depth": -3}, "search": {}}}
    for settings, message in (
        ({"candidates": {"forest": {}}}, "Did you mean 'random_forest'"),
        ({"candidates": QUICK, "metric": "acuracy"}, "Did you mean 'accuracy'"),
        ({"candidates": QUICK, "features": FeaturesConfig(drop=("nothing",))}, "features.drop"),
        ({"candidates": broken}, "Every candidate failed"),
    ):
        with pytest.raises(InputError, match=message) as together:
            search(table, contract, tmp_path, **settings)
        with pytest.raises(InputError) as told:
            apart(table, contract, tmp_path, **settings)
        assert str(told.value) == str(together.value)


def test_all_candidates_failing_is_an_input_error_with_reasons(tmp_path):
    table, contract = mixed_table()
    broken = {"random_forest": {"params": {"max_depth": -3}, "search": {}}}
    with pytest.raises(InputError, match=r"Every candidate failed.*\n- Random forest: .*max_depth"):
        search(table, contract, tmp_path, broken)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"candidates": {"forest": {}}}, "Did you mean 'random_forest'"),
        ({"candidates": QUICK, "metric": "acuracy"}, "Did you mean 'accuracy'"),
        ({"candidates": QUICK, "metric": "rmse"}, "rmse"),
        ({"candidates": QUICK, "features": FeaturesConfig(drop=("nothing",))}, "features.drop"),
    ],
)
def test_mistakes_are_told_before_any_work(changes, message, tmp_path):
    table, contract = mixed_table()
    events = []
    with pytest.raises(InputError, match=message):
        search(table, contract, tmp_path, on_progress=events.append, **changes)
    assert not events


@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.parametrize("name", ["decision_tree", "xgboost", "lightgbm", "baseline"])
def test_the_fitted_model_is_one_pipeline_on_the_tables_own_columns(task, name, tmp_path):
    table, contract = mixed_table(task)
    features = FeaturesConfig(derive={"ratio": "`alcohol/vol` / (1 + abs(`size [m]`))"})
    training = TrainingConfig(candidates={name: {}}, trials=1, jobs=1)
    settings = {"features": features, "training": training, "split": SplitConfig(folds=3)}
    train = stored(table, tmp_path)
    result = search_candidates(train, contract, **settings)
    chosen = next(found for found in result.candidates if found.name == name)
    model = fit_candidate(train, contract, chosen, **settings)
    inputs = model_frame(table, contract)
    predicted = model.predict(inputs)
    assert len(predicted) == len(table)
    if task == "classification":
        assert list(model.classes_) == list(contract.labels)
        assert model.predict_proba(inputs).shape == (len(table), 3)
        assert set(predicted) <= set(contract.labels)
    if chosen.rounds is not None:
        assert model.named_steps["estimator"].get_params()["n_estimators"] == chosen.rounds
    again = fit_candidate(train, contract, chosen, **settings)
    assert (again.predict(inputs) == predicted).all()
    assert (pickle.loads(pickle.dumps(model)).predict(inputs) == predicted).all()


@pytest.mark.parametrize("labels", [(0, 1), (3, 7), (False, True), ("no", "yes")])
def test_labels_keep_their_type(labels, tmp_path):
    table, contract = mixed_table("regression", rows=80)
    truth = table["outcome"] > table["outcome"].median()
    labelled = [labels[int(value)] for value in truth]
    table["outcome"] = pd.Series(labelled, dtype=object)
    contract = contract.model_copy(update={"task": "classification", "labels": labels})
    train = stored(table, tmp_path)
    settings = {
        "features": FeaturesConfig(),
        "training": TrainingConfig(candidates={"xgboost": {}, "lightgbm": {}}, trials=1, jobs=1),
        "split": SplitConfig(folds=2),
    }
    result = search_candidates(train, contract, **settings)
    assert all(candidate.error is None for candidate in result.candidates)
    model = fit_candidate(train, contract, result.candidates[0], **settings)
    assert list(model.classes_) == list(labels)
    assert set(model.predict(model_frame(table, contract)).tolist()) == set(labels)


def test_equal_scores_go_to_the_simpler_candidate():
    def found(name, score):
        return CandidateResult(
            name=name,
            title=name,
            params={},
            score=score,
            score_std=None,
            fold_scores=(),
            rounds=None,
            trials=(),
            seconds=0.0,
        )

    results = [
        found("lightgbm", 0.5),
        found("ridge", 0.5),
        found("xgboost", None),
        found("decision_tree", 0.4),
    ]
    names = [result.name for result in _ranked(results, metric_named("rmse", "regression"))]
    assert names == ["decision_tree", "ridge", "lightgbm", "xgboost"]
    names = [result.name for result in _ranked(results, metric_named("r2", "regression"))]
    assert names == ["ridge", "lightgbm", "decision_tree", "xgboost"]
