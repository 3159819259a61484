"""The contract API as pods of a real cluster: deployed, swapped, rolled out, taken back."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa

from evergreen.paths import DATABASE_VARIABLE
from evergreen.serving.log_tables import PREDICTIONS, SMOKE_TEST
from tests.kubernetes.conftest import IRIS, NAMESPACE, QUICK, kubectl, stack_of_steps_here
from tests.support.swaps import Answers, asking

pytestmark = [pytest.mark.timeout(3600), pytest.mark.long]

SMALL = "--set=deploy.cluster.resources={cpu: 0.05, memory: 512Mi, memory_limit: 2Gi}"
PATIENT = "--set=deploy.timeout=10m"
OURS = "deployments,services,horizontalpodautoscalers,poddisruptionbudgets,secrets,pods"


@pytest.fixture(scope="module")
def here(cluster_home, tmp_path_factory) -> str:
    """A stack like the cluster's whose steps run in the client's process: trainings are quick."""
    return stack_of_steps_here(cluster_home, tmp_path_factory.mktemp("stack"), "here")


@pytest.fixture(scope="module")
def deployed(cluster_home, here) -> dict:
    """Version 1 of iris, deployed by pods; what the command line ended with."""
    train(cluster_home, here)
    return deploy(cluster_home).check().json


@pytest.fixture(scope="module")
def url(deployed) -> str:
    (server,) = deployed["servers"]
    assert server["title"] == "Contract API"
    assert server["check"]["passed"]
    return server["url"]


@pytest.fixture(scope="module")
def key(cluster_home, deployed) -> str:
    """The API's key, as ZenML keeps it."""
    ask = "from zenml.client import Client; print(Client().get_deployment('iris_api').auth_key)"
    return cluster_home.command(sys.executable, "-c", ask).check().out.split()[-1]


def train(home, here, *more):
    return home.run("--pipeline", "train", "--stack", here, *IRIS, *QUICK, *more, timeout=1800)


def deploy(home, *more, **extra):
    options = ("--pipeline", "deploy", *IRIS, SMALL, PATIENT, "--json")
    return home.run(*options, *more, timeout=1800, **extra)


def pods() -> dict[str, int]:
    """Return the API's pods, and how often each was started anew."""
    found = json.loads(kubectl("-n", NAMESPACE, "get", "pods", "-o", "json"))["items"]
    return {
        pod["metadata"]["name"]: pod["status"]["containerStatuses"][0]["restartCount"]
        for pod in found
        if pod["metadata"]["name"].startswith("iris-api-")
        and "deletionTimestamp" not in pod["metadata"]
    }


@contextmanager
def clients(url: str, key: str) -> Iterator[Answers]:
    """Ask all the while: two over connections that stay, one over a new one each time."""
    auth = {"authorization": f"Bearer {key}"}
    row = httpx.get(f"{url}/contract/example", headers=auth).json()
    host, port = url.removeprefix("http://").split(":")
    with (
        asking(int(port), row, 2, host, 0.05, **auth) as answers,
        asking(int(port), row, 1, host, 0.05, connection="close", **auth) as brief,
    ):
        yield answers
    answers.noted += brief.noted
    answers.failed += brief.failed


def test_what_was_applied(deployed, url, key):
    (name,) = {pod.rsplit("-", 2)[0] for pod in pods()}
    assert name == "iris-api"
    assert list(pods().values()) == [0, 0]
    spec = json.loads(kubectl("-n", NAMESPACE, "get", "deployment", name, "-o", "json"))["spec"]
    pod = spec["template"]["spec"]
    assert pod["serviceAccountName"] == "steps"
    assert pod["containers"][0]["securityContext"]["readOnlyRootFilesystem"]
    scaler = json.loads(kubectl("-n", NAMESPACE, "get", "hpa", name, "-o", "json"))["spec"]
    assert (scaler["minReplicas"], scaler["maxReplicas"]) == (2, 10)

    assert httpx.get(f"{url}/health/ready").status_code == 200
    row = httpx.get(f"{url}/contract/example", headers={"x-api-key": key}).json()
    assert httpx.post(f"{url}/predict", json=row).status_code == 401
    answer = httpx.post(f"{url}/predict", json=row, headers={"x-api-key": key})
    assert answer.json()["model_version"] == deployed["version"]
    assert httpx.post(f"{url}/invoke", json={"parameters": {}}).status_code in (401, 403)


def test_a_new_champion_and_a_rollout_lose_no_request(cluster_home, here, deployed, url, key):
    before = pods()
    with clients(url, key) as answers:
        more = ("--set", "training.seed=7")
        margin = ("--set", "gate.champion={mode: not_worse, margin: 100}")
        new = train(cluster_home, here, *more, *margin, "--json").check().json["version"]
        deadline = time.monotonic() + 120
        while {version for _, _, _, version in answers.noted[-10:]} != {new}:
            assert time.monotonic() < deadline, "the new version does not answer"
            time.sleep(0.5)
    assert answers.failed == []
    assert {status for _, _, status, _ in answers.noted} == {200}
    assert {version for _, _, _, version in answers.noted} == {deployed["version"], new}
    assert pods() == before  # neither new ones, nor started anew
    asked = len(answers.noted)

    with clients(url, key) as answers:
        changed = deploy(cluster_home, "--set", "serving.batch_rows=5000").check().json
    (server,) = changed["servers"]
    assert (changed["version"], server["url"]) == (new, url)
    assert server["why"] == "its settings changed"
    assert answers.failed == []
    assert {status for _, _, status, _ in answers.noted} == {200}
    assert len(pods()) == 2
    assert not pods().keys() & before.keys()
    asked += len(answers.noted)

    engine = sa.create_engine(cluster_home.servers[DATABASE_VARIABLE])
    ours = sa.and_(
        PREDICTIONS.c.model == "iris",
        PREDICTIONS.c.request_id.not_like(f"{SMOKE_TEST}%"),
        PREDICTIONS.c.key_id.is_not(None),
    )
    counting = sa.select(sa.func.count()).select_from(PREDICTIONS).where(ours)
    deadline = time.monotonic() + 60
    with engine.connect() as connection:  # and one row of the test before, if that ran
        while (kept := connection.execute(counting).scalar_one()) < asked:
            assert time.monotonic() < deadline, f"{kept} of {asked} predictions are kept"
            connection.rollback()
            time.sleep(1)
    assert kept - asked in (0, 1)
    engine.dispose()

    (shown,) = [
        model
        for model in json.loads(cluster_home.run("--status", "--json").check().out)["models"]
        if model["use_case"] == "iris"
    ]
    (state,) = shown["servers"]
    assert (state["url"], state["version"], state["condition"]) == (url, new, "running")
    assert (state["ready"], state["wanted"]) == (2, 2)


def test_a_failed_deployment_brings_back_what_served(cluster_home, deployed, url, key):
    before = cluster_home.run("--status").check().out
    with clients(url, key) as answers:
        bad = ("--set", "serving.log.redact={no_such_column: drop}")
        done = deploy(cluster_home, *bad).check(3, "does not come up", "Everything is as it was")
    assert "no_such_column" in done.err  # the container's last words
    assert answers.failed == []
    assert {status for _, _, status, _ in answers.noted} == {200}
    assert cluster_home.run("--status").check().out == before


def test_undeploying_leaves_nothing(cluster_home, deployed, url):
    cluster_home.run("--undeploy", *IRIS).check(0, "STOPPED", url)
    selector = ("-l", "managed-by=zenml,zenml-deployment-name=iris_api", "-o", "name")
    assert kubectl("-n", NAMESPACE, "get", OURS, *selector) == ""
    assert "iris-api" not in kubectl("-n", NAMESPACE, "get", OURS, "-o", "name")
    cluster_home.run("--undeploy", *IRIS).check(0, "Nothing of 'iris'")
    assert Path(cluster_home.state).exists()
