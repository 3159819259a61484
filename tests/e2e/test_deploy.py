"""Deploying by the command line: once, twice, anew, after deaths, and where it cannot be done."""

from __future__ import annotations

import os
import signal
import socket
from contextlib import closing

import httpx
import pytest

from tests.e2e.conftest import QUICK
from tests.support.deployments import Deployed, deployable, sleeper, turned_round

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
    assert deployed.predict() == "1"
    assert httpx.get(f"{deployed.url}/docs").status_code == 200
    assert "evergreen_" in httpx.get(f"{deployed.url}/metrics").text

    told = deployed.zenml(
        "deployment list --output json",
        "deployment describe iris_api",
        "deployment logs iris_api",
        "model-deployer models list",
    )
    words = ("iris_api", deployed.url, "RUNNING", "startup complete", f"iris_{deployed.ports[1]}")
    told.check(0, *words)

    invoked = httpx.post(
        f"{deployed.url}/invoke", json={"parameters": {"model": "iris", "row": row}}, timeout=60
    ).json()
    assert invoked["success"]
    assert invoked["outputs"]["answer"]["model_version"] == "1"

    deployed.zenml("deployment delete iris_api --yes").check()
    assert deployed.status()["servers"]["Contract API"]["condition"] == "absent"
    mended = deployed.deploy("--json").check().json
    changed = {server["title"]: server["changed"] for server in mended["servers"]}
    assert changed == {"MLflow's server": False, "Contract API": True}
    assert deployed.predict() == "1"

    deployed.home.run("--undeploy", *deployed.options).check(0, "STOPPED", deployed.url)
    assert deployed.processes() == set()
    deployed.home.run("--undeploy", *deployed.options).check(0, "Nothing of 'iris'")


def test_a_new_champion_a_failed_smoke_test_and_dead_servers(deployed):
    api = deployed.processes("Contract API")
    deployed.home.run(*TRAIN_ANEW, "--json").check()
    deployed.wait_for_version("2")
    assert deployed.processes("Contract API") == api  # it swapped by itself
    with turned_round(deployed.champions_bundle()):
        failed = deployed.deploy("--set", "serving.batch_rows=50")
        failed.check(1, "The smoke test failed", "MLflow's server version 1")
    assert "Everything is as it was before" in failed.err
    assert deployed.processes("Contract API") != api  # new settings, and the former ones again
    assert deployed.mlflow_answers() == dict(zip(deployed.ports[1:], (True, False), strict=True))
    assert deployed.logged_version() == "1"

    done = deployed.deploy("--json").check().json
    assert (done["version"], done["former"]) == ("2", "1")
    assert [server["check"]["version"] for server in done["servers"]] == ["2", "2"]
    changed = {server["title"]: server["changed"] for server in done["servers"]}
    assert changed == {"MLflow's server": True, "Contract API": False}
    assert deployed.logged_version() == "2"
    assert sorted(deployed.mlflow_answers().values()) == [False, True]  # the old one is gone

    stranger = sleeper()
    try:
        for process in deployed.processes():
            os.kill(process, signal.SIGKILL)
        deployed.set_recorded_process(stranger.pid)
        found = deployed.status()
        assert found["champion"] == found["deployed"] == "2"
        assert {server["condition"] for server in found["servers"].values()} == {"stale"}
        done = deployed.deploy("--json").check().json
        assert all("belongs to another program" in server["why"] for server in done["servers"])
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()
    assert [server["check"]["version"] for server in done["servers"]] == ["2", "2"]


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
    with deployable(home) as found:
        found.zenml("stack register bare -o local -a local -e mlflow_local -r mlflow_local").check()
        done = found.deploy("--stack", "bare").check(2, "nothing to deploy to")
        assert "'bare'" in done.err


def test_nothing_to_deploy(home):
    with deployable(home) as found:
        words = ("--pipeline", "deploy", "--config", "configs/wine.yaml")
        home.run(*words).check(2, "'wine' has no champion to deploy")
        assert found.processes() == set()
