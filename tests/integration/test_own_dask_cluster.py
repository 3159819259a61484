"""A cluster of this machine's own serves all of a run, and ends with it or when it fails one."""

from __future__ import annotations

import os

import psutil
import pytest

from evergreen.dask.cluster import connected
from evergreen.dask.own_cluster import kept_clusters
from evergreen.dask.settings import DaskConfig
from evergreen.paths import Home
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


def test_one_that_failed_somebody_is_not_kept():
    with kept_clusters():
        first = process_of_worker()
        with pytest.raises(ZeroDivisionError), connected(ONE):
            _ = 1 / 0
        assert not psutil.pid_exists(first)
        assert process_of_worker() != first
