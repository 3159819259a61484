"""A Dask cluster that does not suit is told of at once: what differs, where, what to do."""

from __future__ import annotations

import gc
import socket
import sys
from pathlib import Path

import pytest
from distributed import Client

from evergreen.dask import cluster as clusters
from evergreen.dask import fitness
from evergreen.dask.cluster import connected, require_cluster, workers_of
from evergreen.dask.settings import DaskConfig
from evergreen.errors import InputError, UnreachableError
from tests.support.command_line import ROOT
from tests.support.dask_cluster import dask_cluster


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with dask_cluster(tmp_path_factory.mktemp("dask")) as running:
        yield running


@pytest.fixture
def at(cluster):
    return DaskConfig(scheduler=cluster.address)


def test_a_scheduler_that_does_not_answer(monkeypatch):
    monkeypatch.setattr(clusters, "CONNECT_SECONDS", 1)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(UnreachableError, match=f"scheduler {address} does not answer"):
            require_cluster(DaskConfig(scheduler=address))
    with pytest.raises(UnreachableError, match=f"scheduler {address} does not answer"):
        require_cluster(DaskConfig(scheduler=address))


def test_tls_without_certificates(cluster):
    address = cluster.address.replace("tcp://", "tls://")
    with pytest.raises(InputError, match="no certificates"):
        require_cluster(DaskConfig(scheduler=address))


def test_a_client_that_cannot_connect_is_closed_at_once(cluster, monkeypatch):
    monkeypatch.setattr(clusters, "CONNECT_SECONDS", 1)
    gc.collect()
    gc.disable()  # which would close it at any time, such as while another client starts
    try:
        for address in ("tcp://127.0.0.1:1", cluster.address.replace("tcp://", "tls://")):
            with pytest.raises((UnreachableError, InputError)):
                require_cluster(DaskConfig(scheduler=address))
        clients = [each for each in gc.get_objects() if isinstance(each, Client)]
        assert {client.status for client in clients} <= {"closed"}
    finally:
        gc.enable()


def test_a_scheduler_without_workers(at, monkeypatch):
    monkeypatch.setattr(clusters, "START_SECONDS", 1)
    with pytest.raises(UnreachableError, match=f"has no workers.*dask worker {at.scheduler}"):
        require_cluster(at)


def test_workers_like_this_process(cluster, at):
    cluster.start_worker("like")
    try:
        with connected(at) as client:
            assert len(workers_of(client)) == 1
    finally:
        cluster.stop("like")


def test_another_version_of_a_library(cluster, at, tmp_path):
    other = tmp_path / "numpy-0.0.1.dist-info"
    other.mkdir()
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: numpy\nVersion: 0.0.1\n")
    cluster.start_worker("old", path=f"{tmp_path}:{ROOT}")
    try:
        with pytest.raises(InputError, match=r"worker tcp.* has numpy 0\.0\.1 instead of \d"):
            require_cluster(at)
    finally:
        cluster.stop("old")


def test_other_code_and_none(cluster, at, tmp_path):
    package = tmp_path / "evergreen"
    package.mkdir()
    for name in ("__init__.py", "provenance.py"):
        (package / name).write_text("def code_fingerprint():\n    return 'another'\n")
    cluster.start_worker("other", path=str(tmp_path))
    try:
        with pytest.raises(InputError, match=r"has Evergreen of another version\. Start scheduler"):
            require_cluster(at)
    finally:
        cluster.stop("other")
    cluster.start_worker("none", path="")
    try:
        with pytest.raises(InputError, match="has no Evergreen"):
            require_cluster(at)
    finally:
        cluster.stop("none")


@pytest.mark.skipif(sys.platform != "linux", reason="needs a path that each process has for itself")
def test_files_that_a_worker_does_not_see(cluster, at, tmp_path, monkeypatch):
    class Elsewhere:
        scratch = Path("/proc/self/cwd/scratch")

        @classmethod
        def locate(cls):
            return cls

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(fitness, "Home", Elsewhere)
    cluster.start_worker("blind")
    try:
        with pytest.raises(InputError, match=r"does not see the files in /proc.*EVERGREEN_HOME"):
            require_cluster(at)
    finally:
        cluster.stop("blind")


def test_a_worker_that_keeps_the_tables_elsewhere(cluster, at, monkeypatch):
    cluster.start_worker("plain")
    try:
        require_cluster(at)
        monkeypatch.setenv("EVERGREEN_DATABASE_URL", "sqlite:////tmp/of-the-run-alone.db")
        with pytest.raises(InputError, match="has another EVERGREEN_DATABASE_URL than"):
            require_cluster(at)
    finally:
        cluster.stop("plain")
