"""A search that is killed goes on where it was, and ends with what it would have ended with."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import sqlalchemy as sa

from evergreen.config import FeaturesConfig, SplitConfig, TrainingConfig
from evergreen.data.dataset import Dataset
from evergreen.training.candidates import BY_NAME, Plan
from evergreen.training.kept_trials import KeptTrials, forget_trials
from evergreen.training.results import SearchResult
from evergreen.training.search_task import SearchTask
from evergreen.training.trial_store import SCHEMA, TrialStore
from tests.support.postgres import free_port
from tests.support.search_tables import comparable, mixed_table, stored
from tests.support.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]
TRIALS = 7
CANDIDATES = {
    "random_forest": {"params": {"n_estimators": 60}, "search": {"max_depth": [1, 2, 3, 4, 5, 6]}},
    "decision_tree": {},
}

SEARCH = """
import sys, threading
from pathlib import Path
from evergreen.data.dataset import Dataset
from evergreen.training import kept_trials, search, tuning
from evergreen.training.search_task import SearchTask

kept_trials.FIRST = kept_trials.EVERY = 0.05
task_file, jobs, url, result_file, stop_after = sys.argv[1:]
task = SearchTask.model_validate_json(Path(task_file).read_text())
search.processes_for = lambda candidates, wanted: int(jobs)
fits, real = 0, tuning.score_fold

def counted(*arguments, **more):
    global fits
    fits += 1
    return real(*arguments, **more)

def hear(progress):
    if progress.candidate == "random_forest" and progress.trial == int(stop_after):
        print("there", flush=True)
        threading.Event().wait()

tuning.score_fold = counted
result = search.search_candidates(
    Dataset.open(task.path), task.contract, features=task.features, training=task.training,
    split=task.split, on_progress=hear, keep_in=url or None,
)
Path(result_file).write_text(result.model_dump_json())
print(fits, flush=True)
"""


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    frame, contract = mixed_table()
    return SearchTask(
        path=stored(frame, tmp_path_factory.mktemp("table")).path,
        contract=contract,
        features=FeaturesConfig(),
        training=TrainingConfig(candidates=CANDIDATES, trials=TRIALS),
        split=SplitConfig(folds=3),
        threads=1,
    )


@pytest.fixture(scope="module")
def whole(task, tmp_path_factory):
    """The result of a search that nobody interrupts, and how many fits it took."""
    folder = tmp_path_factory.mktemp("whole")
    return finished(start(task, folder, "", jobs=1), folder)


def made(postgres, name):
    """Return the address of a new database of that server."""
    engine = sa.create_engine(postgres.url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sa.text(f'CREATE DATABASE "{name}"'))
    engine.dispose()
    return sa.make_url(postgres.url).set(database=name).render_as_string(hide_password=False)


def start(task, tmp_path, url, jobs, stop_after=0):
    (tmp_path / "task.json").write_text(task.model_dump_json())
    command = [sys.executable, "-c", textwrap.dedent(SEARCH), str(tmp_path / "task.json")]
    return subprocess.Popen(
        [*command, str(jobs), url, str(tmp_path / "result.json"), str(stop_after)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )


def finished(process, tmp_path):
    """Return the result, and how many fits the process made itself."""
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 0
    result = SearchResult.model_validate_json((tmp_path / "result.json").read_text())
    return result, int(said)


def kept(task, url):
    """Return what the database has of each candidate."""
    with KeptTrials(url, task, Dataset.open(task.path).fingerprint) as trials:
        return {name: trials.of(name) for name in (*CANDIDATES, "baseline")}


@pytest.mark.parametrize(("kind", "jobs"), [("sqlite", 2), ("postgres", 1)])
def test_a_killed_search_goes_on(task, whole, tmp_path, kind, jobs, request):
    url = f"sqlite:///{tmp_path}/evergreen.db"
    if kind == "postgres":
        url = request.getfixturevalue("postgres").url
    killed = start(task, tmp_path, url, jobs, stop_after=3)
    assert killed.stdout.readline() == "there\n"
    wait_until(lambda: len(kept(task, url)["random_forest"]) >= 3, 60)
    killed.send_signal(signal.SIGKILL)
    killed.communicate(timeout=60)
    before = kept(task, url)
    assert 3 <= len(before["random_forest"]) < TRIALS

    expected, all_fits = whole
    resumed, fits = finished(start(task, tmp_path, url, jobs), tmp_path)
    assert comparable(resumed) == comparable(expected)
    taken = {found.name: found.taken_over for found in resumed.candidates}
    assert taken == {name: len(outcomes) for name, outcomes in before.items()}
    if jobs == 1:  # of several, each counts its own
        spared = [len(each.trial.fold_scores) for found in before.values() for each in found]
        assert all_fits - fits == sum(spared)

    forget_trials(url, task.contract.use_case)
    assert not any(kept(task, url).values())


def test_optunas_tables_leave_others_alone_in_postgresql(postgres):
    """MLflow and ZenML have a table ``alembic_version``, too."""
    url = made(postgres, "shared_with_others")
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE alembic_version (version_num VARCHAR(32))"))
        connection.execute(sa.text("INSERT INTO alembic_version VALUES ('mlflow')"))
    store = TrialStore(url)
    store.add("boats/tree/a", [], Plan(BY_NAME["decision_tree"]), maximize=False)
    store.close()
    with engine.connect() as connection:
        found = connection.execute(sa.text("SELECT version_num FROM alembic_version")).all()
        there = set(sa.inspect(connection).get_table_names())
        own = set(sa.inspect(connection).get_table_names(schema=SCHEMA))
    engine.dispose()
    assert found == [("mlflow",)]
    assert there == {"alembic_version"}
    assert {"studies", "trials", "alembic_version"} <= own


def test_many_processes_make_the_tables_at_once(postgres, tmp_path):
    """As pods do, of which each searches a candidate."""
    script = """
    import sys
    from evergreen.training.candidates import BY_NAME, Plan
    from evergreen.training.trial_store import TrialStore
    store = TrialStore(sys.argv[1])
    store.add(f"boats/tree/{sys.argv[2]}", [], Plan(BY_NAME["decision_tree"]), maximize=False)
    """
    for url in (made(postgres, "made_at_once"), f"sqlite:///{tmp_path}/evergreen.db"):
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", textwrap.dedent(script), url, str(number)],
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stderr=subprocess.PIPE,
                text=True,
            )
            for number in range(3)
        ]
        for process in processes:
            _, errors = process.communicate(timeout=120)
            assert process.returncode == 0, errors


def test_a_server_that_is_away_hinders_no_search(task, whole, tmp_path, postgres, caplog):
    url = sa.make_url(postgres.url).set(port=free_port()).render_as_string(hide_password=False)
    alone, _ = finished(start(task, tmp_path, url, jobs=1), tmp_path)
    assert comparable(alone) == comparable(whole[0])
    with KeptTrials(url, task, "abc") as trials:
        assert trials.of("decision_tree") == ()
    (record,) = caplog.records
    assert "trials cannot be kept" in record.getMessage()
    assert postgres.password not in record.getMessage()
