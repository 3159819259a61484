"""The search with helper processes: same result, clean ends, clear errors."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from evergreen.config import FeaturesConfig, SplitConfig, TrainingConfig
from evergreen.errors import UnreachableError
from evergreen.training.candidate_search import CandidateSearch
from evergreen.training.parallel import Crew
from evergreen.training.search import search_candidates
from evergreen.training.search_task import SearchTask
from tests.support.search_tables import mixed_table, stored
from tests.support.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]
CANDIDATES = {
    "decision_tree": {},
    "logistic_regression": {"search": {"C": {"low": 0.01, "high": 10, "log": True}}},
    "lightgbm": {"params": {"n_estimators": 20}},
    "xgboost": {"grid": {"max_depth": [2, 3], "n_estimators": [10]}},
}


def settings(**training):
    return {
        "features": FeaturesConfig(derive={"ratio": "`alcohol/vol` / (1 + abs(`size [m]`))"}),
        "training": TrainingConfig(
            **{"candidates": CANDIDATES, "trials": 3, "timeout": "60s", **training}
        ),
        "split": SplitConfig(folds=3),
    }


def comparable(result):
    return [
        (
            (found.name, found.params, found.fold_scores, found.rounds, found.error),
            [(trial.params, trial.fold_scores, trial.state) for trial in found.trials],
        )
        for found in result.candidates
    ]


def task_of(tmp_path, **training):
    table, contract = mixed_table()
    train = stored(table, tmp_path)
    return SearchTask(path=train.path, contract=contract, threads=1, **settings(**training))


def gone(pid):
    """Whether a process has ended (a zombie has)."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return True
    return state == "Z"


def test_helpers_give_the_same_result(tmp_path, monkeypatch, capfd):
    table, contract = mixed_table()
    train = stored(table, tmp_path)
    alone = search_candidates(train, contract, **settings(jobs=1))
    monkeypatch.setattr("evergreen.training.search.processes_for", lambda candidates, jobs: jobs)
    events = []
    together = search_candidates(train, contract, **settings(jobs=3), on_progress=events.append)
    assert comparable(together) == comparable(alone)
    assert {event.candidate for event in events if event.done} == {*CANDIDATES, "baseline"}
    assert capfd.readouterr() == ("", "")


def test_helpers_alone_search_everything(tmp_path):
    """This process takes nothing, so every value passes through the helper's JSON lines."""
    task = task_of(tmp_path)
    here = CandidateSearch(task)
    expected = [here.search(name, lambda progress: None) for name in CANDIDATES]
    with Crew(task, list(CANDIDATES), helpers=1, on_progress=lambda progress: None) as crew:
        wait_until(lambda: len(crew.results) == len(CANDIDATES), 60)
        assert len(crew.pids) == 1
    for result in expected:
        given = crew.results[result.name]
        assert given.fold_scores == result.fold_scores
        assert given.params == result.params
        assert [type(value) for value in given.params.values()] == [
            type(value) for value in result.params.values()
        ]
    assert all(gone(pid) for pid in crew.pids)


def test_a_killed_helper_is_told_at_once(tmp_path):
    slow = {"random_forest": {"params": {"n_estimators": 3000}, "search": {}}}
    task = task_of(tmp_path, candidates=slow)
    crew = Crew(task, ["random_forest"], helpers=1, on_progress=lambda progress: None)
    message = r"SIGKILL while it searched 'random_forest'.*lower training\.jobs"
    with pytest.raises(UnreachableError, match=message), crew:
        wait_until(lambda: crew._helpers[0].current == "random_forest", 60)
        os.kill(crew.pids[0], signal.SIGKILL)
    assert gone(crew.pids[0])


def test_a_killed_helper_ends_the_search_in_this_process_too(tmp_path):
    task = task_of(tmp_path)

    def search_here(name, on_progress):
        wait_until(lambda: crew._helpers[0].current is not None, 60)
        os.kill(crew.pids[0], signal.SIGKILL)
        wait_until(lambda: crew._failure is not None)
        on_progress(None)
        raise AssertionError("the failure should have come out of on_progress")

    slow = ["xgboost", "lightgbm", "decision_tree"]
    crew = Crew(task, slow, helpers=1, on_progress=lambda progress: None)
    with pytest.raises(UnreachableError, match="SIGKILL"), crew:
        crew.work(search_here)


def test_a_fault_in_a_helper_is_raised_here(tmp_path):
    task = task_of(tmp_path).model_copy(update={"path": tmp_path / "gone.parquet"})
    crew = Crew(task, ["decision_tree"], helpers=1, on_progress=lambda progress: None)
    with pytest.raises(UnreachableError, match=r"gone\.parquet is gone"), crew:
        wait_until(lambda: crew._failure is not None, 60)


SCRIPT = """
import sys
from pathlib import Path
from evergreen.training.parallel import Crew
from evergreen.training.search_task import SearchTask

task = SearchTask.model_validate_json(Path(sys.argv[1]).read_text())
with Crew(task, ["random_forest"], helpers=1, on_progress=print) as crew:
    while crew._helpers[0].current is None:
        pass
    print(crew.pids[0], flush=True)
"""


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGKILL])
def test_helpers_end_with_their_parent(tmp_path, sign):
    slow = {"random_forest": {"params": {"n_estimators": 20000}, "search": {}}}
    (tmp_path / "task.json").write_text(task_of(tmp_path, candidates=slow).model_dump_json())
    parent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(SCRIPT), str(tmp_path / "task.json")],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    helper = int(parent.stdout.readline())
    parent.send_signal(sign)
    _, errors = parent.communicate(timeout=120)
    wait_until(lambda: gone(helper))
    assert parent.returncode == -sign
    assert ("KeyboardInterrupt" in errors) == (sign == signal.SIGINT)


def test_a_helper_imports_no_more_than_it_needs():
    code = "import sys, evergreen.training.helper_main; print(*sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    ).stdout.split()
    assert not {"zenml", "mlflow", "shap", "matplotlib", "xgboost", "lightgbm"} & set(loaded)
