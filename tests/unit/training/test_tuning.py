from __future__ import annotations

import dataclasses
import statistics
import threading
import time
from datetime import timedelta

import numpy as np
import pytest
from sklearn.dummy import DummyRegressor
from sklearn.pipeline import Pipeline
from sklearn.tree import DecisionTreeRegressor

from evergreen.config import FeaturesConfig, Span, SplitConfig, TrainingConfig
from evergreen.data import threads as threads_module
from evergreen.data.conform import model_frame, target_values
from evergreen.data.splits import make_folds
from evergreen.features import build_features
from evergreen.training import tuning as tuning_module
from evergreen.training.candidates import BY_NAME, Plan, candidates_for, make_estimator
from evergreen.training.folds import Folds
from evergreen.training.metrics import metric_named, score
from evergreen.training.predictions import predict
from evergreen.training.tuning import Tuning
from tests.support.search_tables import column, contract_of, mixed_table


@pytest.fixture(scope="module")
def regression():
    frame, contract = mixed_table("regression")
    return Folds(frame, contract, features=FeaturesConfig(), split=SplitConfig(folds=3), seed=0)


@pytest.fixture(scope="module")
def classification():
    frame, contract = mixed_table("classification")
    return Folds(frame, contract, features=FeaturesConfig(), split=SplitConfig(folds=3), seed=0)


def tune(plan, folds, metric=None, events=None, **training):
    name = metric or ("rmse" if folds.contract.task == "regression" else "log_loss")
    return Tuning(
        plan,
        folds,
        training=TrainingConfig(**{"trials": 4, **training}),
        metric=metric_named(name, folds.contract.task),
        threads=1,
        on_progress=(events if events is not None else []).append,
    ).run()


def without_seconds(result):
    trials = tuple(trial.model_copy(update={"seconds": 0.0}) for trial in result.trials)
    return result.model_copy(update={"seconds": 0.0, "trials": trials})


@dataclasses.dataclass(frozen=True)
class Recipe:
    """A candidate of the test's own."""

    make: object
    search: dict = dataclasses.field(default_factory=dict)

    def plan(self):
        base = BY_NAME["decision_tree"]
        return Plan(dataclasses.replace(base, make=self.make), search=self.search)


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_every_candidate_on_a_small_mixed_table(task, request):
    folds = request.getfixturevalue(task)
    scores = {}
    for plan in candidates_for(task, TrainingConfig()):
        result = tune(plan, folds, trials=2)
        assert result.error is None, result.name
        assert len(result.fold_scores) == 3
        assert result.score == statistics.fmean(result.fold_scores)
        assert (result.rounds is not None) == (plan.candidate.stop is not None)
        scores[result.name] = result.score
    assert all(
        score < scores["baseline"]
        for name, score in scores.items()
        if "tree" not in name and name != "baseline"
    )


def test_scores_are_those_of_whole_pipelines():
    frame, contract = mixed_table()
    split, features = SplitConfig(folds=3), FeaturesConfig()
    folds = Folds(frame, contract, features=features, split=split, seed=0)
    for name in ("random_forest", "logistic_regression"):
        candidate = BY_NAME[name]
        result = tune(Plan(candidate), folds)
        X, y = model_frame(frame, contract), target_values(frame, contract)
        for (fit, validate), given in zip(
            make_folds(frame, contract, split), result.fold_scores, strict=True
        ):
            estimator = make_estimator(
                candidate, "classification", {}, seed=42, balance=False, threads=1
            )
            transform = build_features(contract, features, scale=candidate.scale, seed=0)
            model = Pipeline([("features", transform), ("estimator", estimator)])
            model.fit(X.iloc[fit], y[fit])
            expected = predict(model, frame.iloc[validate], contract)
            assert score(metric_named("log_loss", "classification"), expected) == given


BOUNDED = {name: {"n_estimators": 10} for name in ("random_forest", "xgboost", "lightgbm")}


@pytest.mark.parametrize("name", ["random_forest", "xgboost", "lightgbm", "logistic_regression"])
def test_the_same_seed_gives_the_same_search_with_any_number_of_threads(
    name, classification, monkeypatch
):
    results = []
    for threads, at_hand in ((1, 4), (2, 4), (2, 2)):  # the last scores folds beside each other
        monkeypatch.setattr(tuning_module, "cores", lambda at_hand=at_hand: at_hand)
        tuning = Tuning(
            Plan(BY_NAME[name], BOUNDED.get(name, {}), BY_NAME[name].search),
            classification,
            training=TrainingConfig(trials=2),
            metric=metric_named("log_loss", "classification"),
            threads=threads,
            on_progress=lambda progress: None,
        )
        results.append(without_seconds(tuning.run()))
    assert results[0] == results[1] == results[2]


@pytest.mark.parametrize(("values", "beside"), [(10**6, True), (1, False)])
def test_folds_of_a_small_table_are_scored_beside_each_other(
    values, beside, regression, monkeypatch
):
    monkeypatch.setattr(tuning_module, "FEW_VALUES", values)
    for module in (tuning_module, threads_module):
        monkeypatch.setattr(module, "cores", lambda: 2)
    met = []
    both = threading.Barrier(2)

    def score(candidate, estimator, fold, *args, **how):
        met.append(estimator.n_jobs)
        if beside and len(met) <= 2:
            both.wait(timeout=30)
        return float(fold.y_validate[0]), None

    monkeypatch.setattr(tuning_module, "score_fold", score)
    result = Tuning(
        Plan(BY_NAME["xgboost"]),
        regression,
        training=TrainingConfig(trials=1),
        metric=metric_named("rmse", "regression"),
        threads=2,
        on_progress=lambda progress: None,
    ).run()

    assert set(met) == {1 if beside else 2}
    in_order = [regression.fold(number, scale=False, stops=True) for number in range(3)]
    assert result.fold_scores == tuple(float(fold.y_validate[0]) for fold in in_order)


def test_the_first_trial_takes_the_defaults(regression):
    plan = Plan(BY_NAME["decision_tree"], search=BY_NAME["decision_tree"].search)
    first = tune(plan, regression).trials[0]
    assert first.params == {"max_depth": None, "min_samples_leaf": 1}


def test_fixed_parameters_are_used_and_recorded(regression):
    result = tune(Plan(BY_NAME["decision_tree"], params={"max_depth": 1}), regression)
    assert [trial.params for trial in result.trials] == [{"max_depth": 1}]
    assert result.params == {"max_depth": 1}


def test_a_grid_tries_every_combination_and_gives_nothing_up(regression):
    grid = {"max_depth": (1, 2, 3), "min_samples_leaf": (1, 5)}
    events = []
    result = tune(Plan(BY_NAME["decision_tree"], grid=grid), regression, events=events)
    tried = {tuple(sorted(trial.params.items())) for trial in result.trials}
    assert len(tried) == len(result.trials) == 6
    assert {trial.state for trial in result.trials} == {"complete"}
    assert events[0].trials == 6


def test_progress_tells_each_trial_and_the_end(regression):
    events = []
    plan = Plan(BY_NAME["decision_tree"], search=BY_NAME["decision_tree"].search)
    result = tune(plan, regression, events=events, trials=3)
    assert [event.trial for event in events] == [1, 2, 3, 3]
    assert [event.done for event in events] == [False, False, False, True]
    assert (
        events[-1].best
        == result.score
        == min(trial.score for trial in result.trials if trial.score is not None)
    )


class Worse(DummyRegressor):
    """Predicts badly, by so much."""

    def __init__(self, by=0.0):
        super().__init__()
        self.by = by

    def predict(self, X):
        return super().predict(X) + self.by


def test_hopeless_trials_are_given_up_after_a_few_folds(regression):
    bad = Recipe(lambda task, seed: Worse(), {"by": Span(low=10, high=1000)}).plan()
    pruned = tune(bad, regression, trials=8)
    assert [trial.state for trial in pruned.trials[:3]] == ["complete"] * 3
    given_up = [trial for trial in pruned.trials if trial.state == "pruned"]
    assert given_up
    assert all(len(trial.fold_scores) == 2 and trial.score is None for trial in given_up)
    kept = tune(bad, regression, trials=8, prune=False)
    assert {trial.state for trial in kept.trials} == {"complete"}


def test_greater_is_better_where_the_metric_says_so(regression):
    plan = Recipe(lambda task, seed: Worse(), {"by": Span(low=1, high=1000)}).plan()
    assert tune(plan, regression, metric="r2").params == {"by": 0.0}
    assert tune(plan, regression, metric="rmse").params == {"by": 0.0}


def test_a_setting_tried_before_is_not_fitted_again(regression):
    fits = []

    class Counting(DummyRegressor):
        def fit(self, X, y, sample_weight=None):
            fits.append(1)
            return super().fit(X, y)

    plan = Recipe(lambda task, seed: Counting(), {"strategy": ("mean", "median")}).plan()
    result = tune(plan, regression, trials=10, prune=False)
    assert len(result.trials) == 10
    assert len(fits) == 2 * 3


class Picky(DecisionTreeRegressor):
    """Refuses some settings."""

    def fit(self, X, y, sample_weight=None):
        if self.max_depth in (3, None):
            raise ValueError("three is too\n many")
        return super().fit(X, y)


def test_a_failing_setting_is_recorded_and_the_others_go_on(regression):
    base = Recipe(lambda task, seed: Picky()).plan()
    plan = dataclasses.replace(base, grid={"max_depth": (1, 2, 3)})
    result = tune(plan, regression)
    assert [trial.state for trial in result.trials] == ["complete", "complete", "failed"]
    assert result.trials[2].error == "ValueError: three is too many"
    assert result.error is None
    assert result.params == {"max_depth": 2}


def test_all_settings_failing_leaves_a_reason_and_no_score(regression):
    events = []
    result = tune(Recipe(lambda task, seed: Picky()).plan(), regression, events=events)
    assert result.score is None
    assert result.error == events[-1].error == "ValueError: three is too many"


def test_an_estimator_that_cannot_be_made_is_a_failed_candidate(regression):
    def make(task, seed):
        raise OSError("no library")

    result = tune(Recipe(make).plan(), regression)
    assert result.error == "OSError: no library"
    assert result.trials == ()


def test_an_unmeasurable_metric_is_a_failure():
    frame, contract = mixed_table("regression", rows=60)
    folds = Folds(
        frame.assign(outcome=1.0), contract, features=FeaturesConfig(), split=SplitConfig(), seed=0
    )
    result = tune(Plan(BY_NAME["ridge"]), folds, metric="r2")
    assert result.score is None
    assert "r2 cannot be measured" in result.error


def test_a_timeout_ends_the_search_but_not_the_first_trial(regression):
    class Slow(DummyRegressor):
        def fit(self, X, y, sample_weight=None):
            time.sleep(0.05)
            return super().fit(X, y)

    plan = Recipe(lambda task, seed: Slow(), {"strategy": ("mean", "median")}).plan()
    result = tune(plan, regression, trials=1000, timeout=timedelta(seconds=0.1))
    assert result.trials[0].state == "complete"
    assert len(result.trials) <= 2


def test_early_stopping_takes_the_median_of_the_folds_rounds(regression):
    for name in ("xgboost", "lightgbm"):
        tuning = Tuning(
            Plan(BY_NAME[name]),
            regression,
            training=TrainingConfig(early_stopping=5),
            metric=metric_named("rmse", "regression"),
            threads=1,
            on_progress=lambda progress: None,
        )
        result = tuning.run()
        rounds = tuning.outcomes[0].rounds
        assert len(rounds) == 3
        assert result.rounds == statistics.median(rounds) < 400


def test_validation_rows_do_not_decide_when_to_stop():
    """Targets of the validation rows are changed: the rounds stay the same."""
    frame, contract = mixed_table("regression")
    rounds = []
    for spoil in (False, True):
        folds = Folds(
            frame, contract, features=FeaturesConfig(), split=SplitConfig(folds=2), seed=0
        )
        if spoil:
            _, validate = folds._positions[0]
            folds._y = folds._y.copy()
            folds._y[validate] = np.random.default_rng(0).normal(size=len(validate)) * 100
        fold = folds.fold(0, scale=False, stops=True)
        estimator = BY_NAME["xgboost"].make("regression", 0).set_params(n_jobs=1)
        rounds.append(BY_NAME["xgboost"].stop(estimator, fold.X_fit, fold.y_fit, fold.stop, 5))
    assert rounds[0] == rounds[1]


def test_a_numeric_only_table_with_one_column():
    rng = np.random.default_rng(0)
    frame, _ = mixed_table("regression")
    contract = contract_of("regression", column("size [m]"), column("outcome", "number", "target"))
    frame["outcome"] = rng.normal(size=len(frame))
    folds = Folds(frame, contract, features=FeaturesConfig(), split=SplitConfig(), seed=0)
    assert tune(Plan(BY_NAME["lightgbm"]), folds).error is None
