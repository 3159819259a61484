"""A run killed at any step leaves nothing half-done, and the next run goes on from there."""

from __future__ import annotations

import sqlite3
import subprocess
import time
from contextlib import closing

import pytest

from evergreen.promotion.promotion_log import PromotionLog
from evergreen.promotion.registry import Registry
from tests.e2e.conftest import QUICK
from tests.support.command_line import Home

STEPS = (
    "load_table",
    "define_contract",
    "check_quality",
    "split_table",
    "search_candidates",
    "fit_challenger",
    "find_champion",
    "evaluate_on_holdout",
    "judge_challenger",
    "assemble_bundle",
    "publish_challenger",
    "link_lineage",
)
# Another seed makes another model; the wide margin lets it become champion.
TRAIN = (
    *("--pipeline", "train", "--config", "configs/iris.yaml", *QUICK),
    *("--set", "training.seed=7"),
    *("--set", "gate.champion={mode: not_worse, margin: 100}"),
)


def kill_at(home: Home, step: str) -> None:
    """Start a training and end its processes by SIGKILL as soon as the step has started."""
    with home.running(*TRAIN) as run:
        run.wait_for_log(f"Step `{step}` has started")


@pytest.mark.timeout(900)
@pytest.mark.long
def test_killed_at_each_step_in_turn(home, tmp_path):
    for step in STEPS:
        kill_at(home, step)
    done = home.run(*TRAIN, "--json").check()
    assert done.json["champion"] == "2"

    log = PromotionLog(f"sqlite:///{home.state / 'evergreen.db'}")
    registry = Registry(
        f"sqlite:///{home.state / 'mlflow' / 'mlflow.db'}", log, locks=tmp_path / "locks"
    )
    assert log.open_intents("iris") == ()
    promoted = [entry.to_version for entry in log.entries("iris") if entry.action == "promoted"]
    assert promoted == ["2", "1"]
    assert registry.reconcile("iris") == ()
    assert {registry.version("iris", number).decision for number in ("1", "2")} == {"promoted"}
    assert registry.fetch_bundle("iris", "champion", tmp_path / "bundle").replay().passed
    assert [model.status for model in logged_models(registry)] == ["READY", "READY"]

    assert not list((home.state / "locks").glob("*.txt"))
    assert not list((home.state / "tmp").iterdir())
    assert unfinished_runs(home) == []


def logged_models(registry: Registry) -> list:
    experiments = [each.experiment_id for each in registry.client.search_experiments()]
    return list(registry.client.search_logged_models(experiments))


def unfinished_runs(home: Home) -> list[str]:
    """Ask ZenML, as its own command line would, which runs it believes to be under way."""
    [database] = home.folder.glob("zenml/**/zenml.db")
    with closing(sqlite3.connect(database)) as connection:
        rows = connection.execute(
            "SELECT name FROM pipeline_run WHERE status IN ('running', 'initializing')"
        )
        return [name for (name,) in rows]


@pytest.mark.timeout(900)
@pytest.mark.long
def test_a_killed_search_goes_on(home):
    """Trials are kept from the tenth second on, so these take that long."""
    depths = list(range(2, 12))
    grid = f"{{random_forest: {{params: {{n_estimators: 300}}, grid: {{max_depth: {depths}}}}}}}"
    slow = (*TRAIN, "--set", f"training.candidates={grid}", "--set", "training.jobs=1")
    with home.running(*slow) as run:
        run.wait_until(lambda: kept_trials(home) >= 2)
    before = kept_trials(home)
    done = home.run(*slow).check()
    said = f"{before} of {1 + len(depths)} trials taken over from a search that was interrupted"
    assert said in done.out
    assert kept_trials(home) == 0


def kept_trials(home: Home) -> int:
    database = home.state / "evergreen-searches.db"
    if not database.exists():
        return 0
    with closing(sqlite3.connect(database)) as connection:
        try:
            return connection.execute("SELECT count(*) FROM trials").fetchone()[0]
        except sqlite3.OperationalError:  # the table is being made
            return 0


def test_a_killed_run_frees_its_lock(home):
    kill_at(home, "load_table")
    assert home.run(*TRAIN, "--quiet").check().code == 0


def test_processes_of_a_killed_run_are_gone(home):
    kill_at(home, "search_candidates")
    time.sleep(2)
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    assert str(home.state) not in listed.stdout
