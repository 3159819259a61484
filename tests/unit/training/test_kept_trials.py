"""Trials that a killed search has left: kept by Optuna, taken over, forgotten."""

from __future__ import annotations

import logging
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta

import optuna
import pytest

from evergreen.config import CandidateConfig, FeaturesConfig, SplitConfig, TrainingConfig
from evergreen.training import kept_trials
from evergreen.training.candidates import candidates_for
from evergreen.training.folds import Folds
from evergreen.training.kept_trials import forget_trials, study_name
from evergreen.training.metrics import metric_named
from evergreen.training.results import Trial, TrialOutcome
from evergreen.training.search import search_candidates
from evergreen.training.search_task import SearchTask
from evergreen.training.trial_store import KEPT_FOR, TrialStore
from evergreen.training.tuning import Tuning
from tests.support.search_tables import mixed_table, stored

CANDIDATES = {
    "decision_tree": {},
    "lightgbm": {"params": {"n_estimators": 5}, "search": {"num_leaves": [3, 7]}},
    "ridge": {"grid": {"alpha": [0.1, 1.0, 10.0]}},
}


@pytest.fixture(scope="module")
def table():
    return mixed_table("regression")


@pytest.fixture(scope="module")
def folds(table):
    frame, contract = table
    return Folds(frame, contract, features=FeaturesConfig(), split=SplitConfig(folds=3), seed=0)


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path}/evergreen.db"


@pytest.fixture
def at_once(monkeypatch):
    """Trials are written as soon as they have ended."""
    monkeypatch.setattr(kept_trials, "FIRST", 0.01)
    monkeypatch.setattr(kept_trials, "EVERY", 0.01)


def training(**more):
    return TrainingConfig(**{"trials": 9, "candidates": CANDIDATES, **more})


def plan_of(name, **more):
    plans = {plan.candidate.name: plan for plan in candidates_for("regression", training(**more))}
    return plans[name]


def tuning(folds, name, trials=9, **more):
    return Tuning(
        plan_of(name),
        folds,
        training=training(trials=trials),
        metric=metric_named("rmse", "regression"),
        threads=1,
        on_progress=lambda progress: None,
        **more,
    )


def comparable(result):
    """Everything but what a clock says and where trials come from."""
    trials = tuple(trial.model_copy(update={"seconds": 0.0}) for trial in result.trials)
    return result.model_copy(update={"seconds": 0.0, "taken_over": 0, "trials": trials})


def stored_and_read(outcomes, url, name):
    store = TrialStore(url)
    store.add("boats/it", outcomes, plan_of(name), maximize=False)
    read = store.read("boats/it")
    store.close()
    return read or TrialStore(url).read("boats/it")


@pytest.mark.parametrize("name", list(CANDIDATES))
def test_the_rest_of_a_search_comes_out_as_if_it_had_not_been_killed(name, folds, url):
    ended = []
    whole = tuning(folds, name, on_trial=ended.append).run()
    computed = {outcome.trial.number for outcome in ended}
    kept = stored_and_read(ended[:4], url, name)
    assert list(kept) == ended[:4]

    anew = []
    resumed = tuning(folds, name, kept=kept, on_trial=anew.append).run()
    assert comparable(resumed) == comparable(whole)
    assert resumed.taken_over == len(kept) == min(4, len(computed))
    assert {outcome.trial.number for outcome in anew} == computed - {
        outcome.trial.number for outcome in kept
    }


def test_pruned_trials_are_taken_over_too(folds, url):
    ended = []
    whole = tuning(folds, "decision_tree", 25, on_trial=ended.append).run()
    assert "pruned" in {outcome.trial.state for outcome in ended}
    kept = stored_and_read(ended, url, "decision_tree")
    again = tuning(folds, "decision_tree", 25, kept=kept, on_trial=pytest.fail).run()
    assert comparable(again) == comparable(whole)
    assert again.seconds >= sum(outcome.trial.seconds for outcome in ended)  # a timeout counts them


def test_a_trial_of_another_setting_ends_the_taking_over(folds):
    ended = []
    whole = tuning(folds, "decision_tree", on_trial=ended.append).run()
    other = ended[2].trial.model_copy(update={"params": {"max_depth": 77}, "score": -1.0})
    kept = [*ended[:2], TrialOutcome(trial=other), *ended[3:]]
    resumed = tuning(folds, "decision_tree", kept=kept).run()
    assert comparable(resumed) == comparable(whole)
    assert resumed.taken_over == 2


def test_a_failed_trial_is_tried_again(folds):
    ended = []
    whole = tuning(folds, "ridge", on_trial=ended.append).run()
    failed = ended[1].trial.model_copy(
        update={"state": "failed", "score": None, "fold_scores": (), "error": "MemoryError"}
    )
    kept = [ended[0], TrialOutcome(trial=failed), ended[2]]
    resumed = tuning(folds, "ridge", kept=kept).run()
    assert comparable(resumed) == comparable(whole)
    assert resumed.taken_over == 1  # what came after the failure rests on it


def test_optuna_reads_them_with_their_settings(folds, url, tmp_path):
    ended = []
    tuning(folds, "decision_tree", on_trial=ended.append).run()
    failed = Trial(
        number=9, params={}, score=None, fold_scores=(), seconds=0, state="failed", error="no"
    )
    kept = stored_and_read([*ended, TrialOutcome(trial=failed)], url, "decision_tree")
    assert kept[-1].trial == failed
    study = optuna.load_study(
        study_name="boats/it", storage=f"sqlite:///{tmp_path}/evergreen-searches.db"
    )
    best = min(
        (each.trial for each in ended if each.trial.score is not None), key=lambda t: t.score
    )
    assert study.best_value == best.score
    assert study.best_params.items() <= dict(best.params).items()
    assert study.trials[-1].state == optuna.trial.TrialState.FAIL


def task_of(path, contract, **more):
    return SearchTask(
        path=path,
        contract=contract,
        features=FeaturesConfig(),
        training=training(**more),
        split=SplitConfig(folds=3),
        threads=1,
    )


def test_the_name_follows_from_what_decides_a_trial_alone(table, tmp_path):
    _, contract = table
    task = task_of(tmp_path, contract)

    def name(changed=task, rows="abc", candidate="ridge"):
        return study_name(changed, rows, candidate)

    assert name().startswith("example/ridge/")
    for same in (
        {"trials": 30},
        {"jobs": 1},
        {"spread": "pods"},
        {"timeout": "1h"},
        {"candidates": {"ridge": CANDIDATES["ridge"]}},
    ):
        assert name(task_of(tmp_path, contract, **same)) == name()
    other_grid = {"ridge": CandidateConfig(grid={"alpha": (2.0,)})}
    others = [
        name(rows="abd"),
        name(candidate="decision_tree"),
        name(task_of(tmp_path, contract, candidates=other_grid)),
        name(task_of(tmp_path, contract, seed=1)),
        name(task_of(tmp_path, contract, prune=False)),
        name(task.model_copy(update={"split": SplitConfig(folds=4)})),
        name(task.model_copy(update={"features": FeaturesConfig(derive={"x": "`size [m]` * 2"})})),
    ]
    assert len({name(), *others}) == len(others) + 1


def searched(table, tmp_path, on_progress=None, **more):
    frame, contract = table
    return search_candidates(
        stored(frame, tmp_path),
        contract,
        features=FeaturesConfig(),
        training=training(jobs=1, **more),
        split=SplitConfig(folds=3),
        on_progress=on_progress,
        keep_in=f"sqlite:///{tmp_path}/evergreen.db",
    )


class Interrupt:
    """Ctrl-C after so many trials."""

    def __init__(self, after):
        self.left = after

    def __call__(self, progress):
        self.left -= not progress.done
        if self.left == 0:
            raise KeyboardInterrupt


def test_ctrl_c_keeps_what_had_ended_and_the_next_search_says_so(table, tmp_path):
    two = {name: CANDIDATES[name] for name in ("decision_tree", "ridge")}
    with pytest.raises(KeyboardInterrupt):
        searched(table, tmp_path, Interrupt(after=3), candidates=two)
    resumed = searched(table, tmp_path, candidates=two)
    taken = {found.name: found.taken_over for found in resumed.candidates}
    assert taken == {"baseline": 1, "decision_tree": 0, "ridge": 2}
    forget_trials(f"sqlite:///{tmp_path}/evergreen.db", "example")
    anew = searched(table, tmp_path, candidates=two)
    assert sum(found.taken_over for found in anew.candidates) == 0
    assert [comparable(found) for found in resumed.candidates] == [
        comparable(found) for found in anew.candidates
    ]


def test_a_short_search_that_ends_well_opens_no_database(table, tmp_path):
    searched(table, tmp_path, candidates={"ridge": CANDIDATES["ridge"]})
    assert [path.name for path in tmp_path.iterdir()] == ["train.parquet"]


def test_a_database_that_cannot_be_used_is_told_of_once(table, tmp_path, at_once, caplog):
    (tmp_path / "evergreen-searches.db").write_text("this is no database, whoever wrote it")
    with caplog.at_level(logging.WARNING):
        result = searched(table, tmp_path)
    assert result.best
    (record,) = [each for each in caplog.records if each.name == kept_trials.__name__]
    assert "trials cannot be kept" in record.getMessage()
    assert "not a database" in record.getMessage()


def test_forgetting_takes_a_use_cases_studies_and_old_ones(url, tmp_path, folds):
    ended = []
    tuning(folds, "ridge", on_trial=ended.append).run()
    store = TrialStore(url)
    for study in ("boats/ridge/a", "boats/ridge/b", "wine/ridge/a", "old/ridge/a"):
        store.add(study, ended, plan_of("ridge"), maximize=False)
    store.close()
    long_ago = (datetime.now(UTC) - KEPT_FOR - timedelta(days=1)).isoformat()
    file = tmp_path / "evergreen-searches.db"
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute(
            "UPDATE study_user_attributes SET value_json = ? WHERE study_id = "
            "(SELECT study_id FROM studies WHERE study_name = 'old/ridge/a')",
            (f'"{long_ago}"',),
        )
    forget_trials(url, "boats")
    with closing(sqlite3.connect(file)) as connection:
        left = connection.execute("SELECT study_name FROM studies").fetchall()
        trials = connection.execute("SELECT count(*) FROM trials").fetchone()
        values = connection.execute("SELECT count(*) FROM trial_user_attributes").fetchone()
    assert left == [("wine/ridge/a",)]
    assert trials == values == (len(ended),)


def test_nothing_to_forget_makes_nothing(url, tmp_path):
    forget_trials(url, "boats")
    forget_trials("sqlite:////proc/nowhere/evergreen.db", "boats")
    assert list(tmp_path.iterdir()) == []


def test_the_search_loads_no_database_library_before_it_runs():
    code = "import sys, evergreen.training.search; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"sqlalchemy", "optuna", "alembic"} & set(loaded)
