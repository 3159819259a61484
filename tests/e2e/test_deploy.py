"""Deploying by the command line: once, twice, anew, after deaths, and where it cannot be done."""

from __future__ import annotations

import os
import signal
import socket
from contextlib import closing

import httpx
import pytest

from tests.e2e.conftest import QUICK
from tests.support.deployments import Deployed, deployable, sleeper

# Another seed makes another model; the wide margin lets it become champion.
TRAIN_ANEW = (
    *("--pipeline", "train", "--config", "configs/iris.yaml", *QUICK),
    *("--set", "training.seed=7"),
    *("--set", "gate.champion={mode: not_worse, margin: 100}"),
)

pytestmark = pytest.mark.timeout(2400)


@pytest.fixture
def deployed(home) -> Deployed:
    """A home in which version 1 is deployed."""
    with deployable(home) as found:
        done = found.deploy("--json").check().json
        assert done["status"] == "deployed"
        assert done["version"] == "1"
        assert [server["check"]["passed"] for server in done["servers"]] == [True, True]
        yield found


def test_deploying_again_changes_nothing_and_zenml_knows_both_servers(deployed):
    before = deployed.processes()
    again = deployed.deploy().check(0, "UNCHANGED", "nothing was changed", deployed.url)
    assert "30 of 30" in again.out
    assert deployed.processes() == before
    log = deployed.log()
    assert [row.action for row in log.entries()] == ["deployed", "started"]
    log.close()

    page = httpx.get(deployed.url)
    assert "text/html" in page.headers["content-type"]
    row = httpx.get(f"{deployed.url}/contract/example").json()
    assert httpx.post(f"{deployed.url}/predict", json=row).json()["model_version"] == "1"
    assert httpx.get(f"{deployed.url}/docs").status_code == 200
    assert "evergreen_" in httpx.get(f"{deployed.url}/metrics").text

    listed = deployed.zenml("deployment", "list", "--output", "json").check()
    assert "iris_api" in listed.out
    assert deployed.url in listed.out
    deployed.zenml("deployment", "describe", "iris_api").check(0, "RUNNING")
    deployed.zenml("deployment", "logs", "iris_api").check(0, "startup complete")
    deployed.zenml("model-deployer", "models", "list").check(0, "deploy")

    invoked = httpx.post(
        f"{deployed.url}/invoke", json={"parameters": {"model": "iris", "row": row}}, timeout=60
    ).json()
    assert invoked["success"]
    assert invoked["outputs"]["answer"]["model_version"] == "1"

    deployed.home.run("--undeploy", *deployed.options).check(0, "STOPPED", deployed.url)
    assert deployed.processes() == set()
    assert deployed.status()["deployed"] is None
    deployed.home.run("--undeploy", *deployed.options).check(0, "Nothing of 'iris'")


def test_a_new_champion_and_dead_servers(deployed):
    [api] = [s["process"] for s in deployed.status()["servers"].values() if "API" in s["title"]]
    deployed.home.run(*TRAIN_ANEW, "--json").check()
    done = deployed.deploy("--json").check().json
    assert (done["version"], done["former"]) == ("2", "1")
    assert [server["check"]["version"] for server in done["servers"]] == ["2", "2"]
    status = deployed.status()
    assert status["champion"] == status["deployed"] == "2"
    assert status["servers"]["Contract API"]["process"] == api  # it swapped by itself
    assert sorted(deployed.mlflow_answers().values()) == [False, True]  # the old one is gone

    stranger = sleeper()
    try:
        for process in deployed.processes():
            os.kill(process, signal.SIGKILL)
        deployed.set_recorded_process(stranger.pid)
        found = deployed.status()["servers"].values()
        assert {server["condition"] for server in found} == {"stale"}
        done = deployed.deploy("--json").check().json
        assert all("belongs to another program" in server["why"] for server in done["servers"])
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()
    found = deployed.status()["servers"].values()
    assert {(server["condition"], server["version"]) for server in found} == {("running", "2")}


def test_a_port_that_is_taken_is_named_and_nothing_is_begun(home):
    with (
        deployable(home) as found,
        closing(socket.create_server(("127.0.0.1", found.ports[0]))),
    ):
        done = found.deploy().check(3, f"Port {found.ports[0]} is taken by process {os.getpid()}")
        assert "deploy.port" in done.err
        assert found.processes() == set()
        log = found.log()
        assert log.entries() == ()
        log.close()


def test_a_stack_without_a_server_is_refused(home):
    register = ("stack", "register", "bare", "-o", "local", "-a", "local")
    with deployable(home) as found:
        found.zenml(*register, "-e", "mlflow_local", "-r", "mlflow_local").check()
        done = found.deploy("--stack", "bare").check(2, "nothing to deploy to")
        assert "'bare'" in done.err


def test_nothing_to_deploy(home):
    with deployable(home) as found:
        words = ("--pipeline", "deploy", "--config", "configs/wine.yaml")
        home.run(*words).check(2, "'wine' has no champion to deploy")
        assert found.processes() == set()
