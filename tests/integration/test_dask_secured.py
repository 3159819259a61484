"""Commands and variables of deploy/kubernetes/dask start a cluster that speaks TLS alone."""

from __future__ import annotations

import re
import urllib.error
import urllib.request

import dask
import distributed  # brings the defaults that settings come on top of
import pytest

from evergreen.dask.cluster import connected
from evergreen.dask.pieces import map_pieces
from evergreen.dask.settings import DaskConfig
from evergreen.errors import InputError, UnreachableError
from tests.support.dask_manifests import client_environment, started, write_certificates
from tests.support.dask_pieces import square
from tests.support.waiting import wait_until

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    write_certificates(folder)
    return folder


@pytest.fixture(scope="module")
def address(folder):
    """Start the scheduler and one worker; yield the scheduler's address."""
    log = folder / "scheduler.log"
    free = {"8786": "0", ":8787": "127.0.0.1:0", ":8788": "127.0.0.1:0"}
    processes = [started("scheduler", folder, free)]
    try:
        wait_until(lambda: re.search(r"Scheduler at:\s+tls://", log.read_text()), 60)
        port = re.findall(r"Scheduler at:\s+tls://.*:(\d+)", log.read_text())[0]
        found = f"tls://127.0.0.1:{port}"
        names = {"$(DASK_WORKER_NAME)": "only", "/tmp/dask": str(folder)}
        environment = {"DASK_SCHEDULER_ADDRESS": found}
        processes.append(started("worker", folder, {**free, **names}, **environment))
        wait_until(lambda: "Registered to" in (folder / "worker.log").read_text(), 90)
        yield found
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(60)


def trusting(folder):
    """Give this process what a run's pod has."""
    assert distributed.__version__
    given = client_environment(folder)
    return dask.config.set(dict(dask_keys(given)))


def dask_keys(environment):
    """Yield Dask's own names of settings, as it makes them of variables."""
    for name, value in environment.items():
        yield name.removeprefix("DASK_").replace("__", ".").replace("_", "-").lower(), value


def test_a_run_with_the_certificate_works(address, folder):
    with trusting(folder), connected(DaskConfig(scheduler=address)) as client:
        assert list(map_pieces(client, square, range(6))) == [0, 1, 4, 9, 16, 25]
        (worker,) = client.scheduler_info(-1)["workers"].values()
    assert (worker["name"], worker["nthreads"]) == ("only", 2)
    assert worker["nanny"].startswith("tls://")


def test_without_a_certificate_there_is_no_way(address):
    with (
        pytest.raises(InputError, match="no certificates"),
        connected(DaskConfig(scheduler=address)),
    ):
        pass


def test_others_certificates_are_of_no_use(address, tmp_path, monkeypatch):
    monkeypatch.setattr("evergreen.dask.cluster.CONNECT_SECONDS", 3)
    write_certificates(tmp_path)
    with (
        trusting(tmp_path),
        pytest.raises(UnreachableError, match="does not answer"),
        connected(DaskConfig(scheduler=address)),
    ):
        pass


def test_the_operator_gets_its_answers_and_nobody_a_page(address, folder):
    log = (folder / "scheduler.log").read_text()
    port = re.findall(r"dashboard at:\s+http://.*:(\d+)", log)[0]

    def asked(path):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return answer.read()

    assert asked("/health") == b"ok"
    assert b"workers" in asked("/api/v1/adaptive_target")
    with pytest.raises(urllib.error.HTTPError, match="404"):
        asked("/info/main/workers.html")
