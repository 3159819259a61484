"""A worker that Dask has paused ends what waits for it, with one message; others do not."""

from __future__ import annotations

import pytest
from distributed import Client

from evergreen.dask import cluster as clusters
from evergreen.dask.cluster import WorkersPausedError, connected, halted_workers, workers_of
from evergreen.dask.pieces import map_pieces
from evergreen.dask.settings import DaskConfig
from evergreen.training import on_dask
from tests.support.dask_cluster import dask_cluster
from tests.support.dask_pieces import square
from tests.support.waiting import wait_until

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def paused(tmp_path, monkeypatch):
    """A cluster of one worker, which takes more memory than it may from the beginning."""
    monkeypatch.setenv("DASK_DISTRIBUTED__WORKER__MEMORY__PAUSE", "0.0001")
    (tmp_path / "dask").mkdir()
    with dask_cluster(tmp_path / "dask", "one") as running:
        with Client(running.address, set_as_default=False) as client:
            wait_until(lambda: halted_workers(client), 60)
        yield running


def test_pieces_do_not_wait_for_a_paused_worker(paused, monkeypatch):
    monkeypatch.setattr(clusters, "START_SECONDS", 3)
    with (
        Client(paused.address) as client,
        pytest.raises(WorkersPausedError, match=r"Dask has paused tcp://.*PAUSE=False"),
    ):
        list(map_pieces(client, square, [1, 2, 3]))


def test_a_fit_does_not_wait_for_a_paused_worker(paused, monkeypatch):
    monkeypatch.setattr(on_dask, "PAUSE_SECONDS", 3.0)
    with Client(paused.address) as client:
        waits = client.submit(square, 2, pure=False)
        with pytest.raises(WorkersPausedError, match="Give workers more memory"):
            on_dask._watched(client, workers_of(client), waits.result)


def test_a_run_does_not_begin_with_paused_workers_alone(paused, monkeypatch):
    monkeypatch.setattr(clusters, "START_SECONDS", 3)
    with (
        pytest.raises(WorkersPausedError, match="Dask has paused"),
        connected(DaskConfig(scheduler=paused.address)),
    ):
        pass


def test_a_running_worker_is_not_taken_for_a_paused_one(tmp_path):
    with (
        dask_cluster(tmp_path, "one") as running,
        Client(running.address) as client,
    ):
        client.wait_for_workers(1, timeout=60)
        assert halted_workers(client) == []
        assert list(map_pieces(client, square, [1, 2])) == [1, 4]
