"""Candidates searched by Dask workers: the result of one machine, also when a worker is killed."""

from __future__ import annotations

import logging
import os
import signal
import threading

import psutil
import pytest
from distributed import Client

from evergreen.config import FeaturesConfig, SplitConfig, TrainingConfig
from evergreen.errors import InputError, UnreachableError
from evergreen.paths import Home
from evergreen.training import search_on_dask
from evergreen.training.search import search_candidates
from tests.support.dask_cluster import dask_cluster
from tests.support.search_tables import comparable, mixed_table, stored
from tests.support.waiting import wait_until

pytestmark = pytest.mark.timeout(600)
FOREST = {"params": {"n_estimators": 60}, "search": {"max_depth": [1, 2, 3, 4, 5, 6]}}
CANDIDATES = {"random_forest": FOREST, "decision_tree": {}}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with dask_cluster(tmp_path_factory.mktemp("dask"), "one", "two") as running:
        yield running


def searched(tmp_path, on_progress=None, **training):
    frame, contract = mixed_table()
    return search_candidates(
        stored(frame, tmp_path),
        contract,
        features=FeaturesConfig(),
        training=TrainingConfig(**{"candidates": CANDIDATES, "trials": 6, **training}),
        split=SplitConfig(folds=3),
        on_progress=on_progress,
    )


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    return searched(tmp_path_factory.mktemp("alone"), jobs=1)


def test_workers_find_what_one_machine_finds(cluster, alone, tmp_path):
    events = []
    with Client(cluster.address, set_as_default=False) as observer:
        observer.wait_for_workers(2)
        observer.get_task_stream()  # from now on it is taken down
        found = searched(
            tmp_path, events.append, spread="dask", dask={"scheduler": cluster.address}
        )
        tasks = observer.get_task_stream()
    assert comparable(found) == comparable(alone)
    assert {event.candidate for event in events if event.done} == {*CANDIDATES, "baseline"}
    searches = [task for task in tasks if task["key"].startswith("search-")]
    assert len(searches) == len({task["worker"] for task in searches}) == 2
    assert not list(Home.locate().scratch.iterdir())


def test_a_killed_workers_candidate_goes_on_elsewhere(tmp_path, caplog):
    (tmp_path / "dask").mkdir()
    # Many trials: its worker is to be killed long before the last.
    forest = {**FOREST, "search": {"max_depth": [*range(1, 41)]}}
    training = {"trials": 40, "candidates": {"random_forest": forest, "decision_tree": {}}}
    with (
        dask_cluster(tmp_path / "dask", "one", "two", nanny=False) as cluster,
        Client(cluster.address, set_as_default=False) as client,
    ):
        killed = threading.Event()

        def kill_the_forests_worker(progress):
            if (
                progress.candidate == "random_forest"
                and progress.trial == 3
                and not killed.is_set()
            ):
                killed.set()
                held = client.processing()
                at = next(
                    worker
                    for worker, tasks in held.items()
                    if any(str(task).startswith("search-random_forest") for task in tasks)
                )
                os.kill(client.run(os.getpid, workers=[at])[at], signal.SIGKILL)

        with caplog.at_level(logging.WARNING, logger="evergreen"):
            found = searched(
                tmp_path,
                kill_the_forests_worker,
                spread="dask",
                dask={"scheduler": cluster.address},
                **training,
            )
    assert killed.is_set()
    assert comparable(found) == comparable(searched(tmp_path / "alone", jobs=1, **training))
    (warning,) = [e.getMessage() for e in caplog.records if e.name == search_on_dask.__name__]
    assert "was lost while it searched random_forest" in warning
    forest = next(each for each in found.candidates if each.name == "random_forest")
    assert forest.taken_over >= 3


def test_a_mistake_on_a_worker_is_told_as_here(cluster, tmp_path):
    impossible = {"decision_tree": {"params": {"max_depth": -1}}}
    with pytest.raises(InputError, match="Every candidate failed"):
        searched(
            tmp_path,
            spread="dask",
            dask={"scheduler": cluster.address},
            candidates=impossible,
        )


def test_no_cluster_is_told_of(tmp_path):
    with pytest.raises(UnreachableError, match="does not answer"):
        searched(tmp_path, spread="dask", dask={"scheduler": "tcp://127.0.0.1:1"})


def workers():
    """Return the processes that Dask has started from here."""
    started = psutil.Process().children(recursive=True)
    return {child.pid for child in started if "spawn_main" in " ".join(child.cmdline())}


def test_ctrl_c_ends_workers_of_its_own(tmp_path):
    seen = set()

    def interrupt(progress):
        if progress.candidate == "random_forest":
            seen.update(workers())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        searched(tmp_path, interrupt, spread="dask", dask={"workers": 1})
    assert seen
    wait_until(lambda: not workers() & seen, 30)
    assert not list(Home.locate().scratch.iterdir())
