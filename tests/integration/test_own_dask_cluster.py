"""A cluster of this machine's own serves all of a run, and ends with it or when it fails one."""

from __future__ import annotations

import os
import platform
import sys
import threading

import psutil
import pytest

from evergreen.dask.cluster import connected
from evergreen.dask.own_cluster import begin_cluster, end_cluster, kept_clusters
from evergreen.dask.settings import DaskConfig
from evergreen.errors import UnreachableError
from evergreen.paths import Home
from evergreen.training.on_dask import await_learning
from tests.support.waiting import wait_until

ONE = DaskConfig(workers=1, memory="1Gi")


def process_of_worker(config=ONE) -> int:
    with connected(config) as client:
        (pid,) = client.run(os.getpid).values()
    return pid


def test_it_ends_with_its_block():
    pid = process_of_worker()
    wait_until(lambda: not psutil.pid_exists(pid))
    assert process_of_worker() != pid


def test_a_kept_one_serves_until_the_end_of_the_run():
    with kept_clusters():
        first = process_of_worker()
        assert process_of_worker() == first
        other = process_of_worker(DaskConfig(workers=1, memory="2Gi"))
        assert other != first
        assert psutil.pid_exists(first)
    wait_until(lambda: not psutil.pid_exists(first) and not psutil.pid_exists(other))
    assert not list(Home.locate().scratch.iterdir())
    assert process_of_worker() != first


def imported() -> bool:
    return "colorsys" in sys.modules


def test_one_that_was_begun_is_there_later():
    sys.modules.pop("colorsys", None)
    with kept_clusters():
        begin_cluster(ONE, "training.dask", ["colorsys"])
        with connected(ONE) as client:
            assert list(client.run(imported).values()) == [True]
            (pid,) = client.run(os.getpid).values()
        assert imported()
        begin_cluster(ONE, "training.dask", [])
        assert process_of_worker() == pid
        end_cluster(ONE)
        wait_until(lambda: not psutil.pid_exists(pid))
        end_cluster(ONE)
        end_cluster(DaskConfig(workers=2))
    assert not list(Home.locate().scratch.iterdir())


def memory_pool() -> str:
    import pyarrow as pa

    return str(pa.default_memory_pool().backend_name)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="it asks GNU's C library to")
def test_workers_that_will_learn_keep_freed_memory():
    with kept_clusters():
        await_learning(ONE)
        with connected(ONE) as client:
            assert list(client.run(memory_pool).values()) == ["system"]


def test_one_that_was_begun_in_vain_ends_with_the_run():
    before = set(psutil.Process().children(recursive=True))
    with pytest.raises(KeyboardInterrupt), kept_clusters():
        begin_cluster(ONE, "training.dask", [])
        raise KeyboardInterrupt
    wait_until(lambda: set(psutil.Process().children(recursive=True)) == before)
    assert not list(Home.locate().scratch.iterdir())


def test_without_a_run_nothing_is_begun():
    before = threading.active_count()
    begin_cluster(ONE, "training.dask", [])
    with kept_clusters():
        begin_cluster(DaskConfig(scheduler="tcp://127.0.0.1:1"), "training.dask", [])
    assert threading.active_count() == before


def test_one_that_cannot_begin_fails_who_asks(monkeypatch):
    monkeypatch.setenv("EVERGREEN_HOME", os.devnull)
    with kept_clusters():
        begin_cluster(ONE, "training.dask", [])
        for _ in range(2):
            with pytest.raises(UnreachableError, match="cannot be started"), connected(ONE):
                pass


def test_one_that_failed_somebody_is_not_kept():
    with kept_clusters():
        first = process_of_worker()
        with pytest.raises(ZeroDivisionError), connected(ONE):
            _ = 1 / 0
        assert not psutil.pid_exists(first)
        assert process_of_worker() != first
