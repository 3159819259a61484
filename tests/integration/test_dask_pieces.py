"""Pieces of work on Dask workers, some of which are killed."""

from __future__ import annotations

import logging

import pytest

from evergreen.dask import cluster as clusters
from evergreen.dask import pieces
from evergreen.dask.cluster import connected
from evergreen.dask.pieces import map_pieces
from evergreen.dask.settings import DaskConfig
from evergreen.errors import InputError, UnreachableError
from tests.support.dask_cluster import dask_cluster
from tests.support.dask_pieces import fall_always, fall_once, refuse, square

pytestmark = pytest.mark.timeout(300)  # processes start, are killed, and start again


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    """Two workers of this machine that are started anew when they fall."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EVERGREEN_HOME", str(tmp_path_factory.mktemp("home")))
        with connected(DaskConfig(workers=2, memory="1Gi")) as client:
            yield client


def test_results_come_in_order(client):
    assert list(map_pieces(client, square, range(50))) == [n * n for n in range(50)]
    assert list(map_pieces(client, square, [])) == []


def test_what_a_piece_raises(client):
    found = map_pieces(client, refuse, range(20))
    assert [next(found), next(found)] == [0, 1]
    with pytest.raises(InputError, match="two is refused"):
        next(found)


def test_a_lost_workers_piece_goes_to_another_one(client, tmp_path, caplog):
    with caplog.at_level(logging.WARNING, logger="evergreen"):
        found = list(map_pieces(client, fall_once, [(tmp_path, n) for n in range(8)]))
    assert found == list(range(8))
    said = [each.message for each in caplog.records if each.name == pieces.__name__]
    assert said
    assert any("Piece 4 of 8 lost its Dask worker tls://127.0.0.1:" in each for each in said)


def test_a_piece_that_kills_every_worker_is_told_of_once(client, monkeypatch):
    monkeypatch.setattr(pieces, "ATTEMPTS", 2)
    with pytest.raises(UnreachableError, match=r"Piece \d of 3 lost .* each of 2 attempts"):
        list(map_pieces(client, fall_always, range(3)))


def test_a_cluster_whose_workers_all_went(tmp_path, monkeypatch):
    monkeypatch.setattr(clusters, "START_SECONDS", 20)
    with (
        dask_cluster(tmp_path, "only") as cluster,
        connected(DaskConfig(scheduler=cluster.address)) as client,
    ):
        assert list(map_pieces(client, square, [3])) == [9]
        monkeypatch.setattr(clusters, "START_SECONDS", 1)
        cluster.stop("only")
        with pytest.raises(UnreachableError, match="has no workers any more"):
            list(map_pieces(client, square, [3]))
