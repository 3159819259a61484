"""What goes away under a run comes back without anybody's help, or ends in one clear message."""

from __future__ import annotations

import json
import os
import signal
import time

import pytest
from mlflow import MlflowClient

from evergreen.paths import DATABASE_VARIABLE
from evergreen.promotion.promotion_log import PromotionLog
from tests.kubernetes.conftest import NAMESPACE, kubectl
from tests.support.cluster_faults import away, refused
from tests.support.command_line import Running
from tests.support.installed import until

pytestmark = pytest.mark.timeout(5400)  # the first run builds the image, and the node pulls it
CHEAP = ("--set", "training.candidates=[logistic_regression]", "--set", "training.trials=1")
TRAIN = ("--pipeline", "train", *CHEAP)
# Names of their own: whatever ran before, there is no champion yet.
NAMES = ("wine_in_need", "iris_in_need")
WINE = (*TRAIN, "--set", f"name={NAMES[0]}")
IRIS = (*TRAIN, "--set", f"name={NAMES[1]}", "--config", "configs/iris.yaml")
LENIENT = ("--set", "gate.champion={mode: not_worse, margin: 100}")
OTHER = ("--set", "training.seed=2", *LENIENT)
OWN = ""  # the run's own pod, which is no step's
PATIENCE = 1800  # seconds, on a busy machine


def test_more_memory_than_its_limit(cluster_home, servers):
    limit = ("--no-cache", "--set", "resources.steps.load_table.memory_limit=64Mi")
    done = cluster_home.run(*WINE, *limit, timeout=PATIENCE)
    done.check(3, "'load_table'", "more memory than 64Mi", "load_table.memory_limit=", "is kept")
    assert_registry_matches_its_log(servers, NAMES[0])
    assert_nothing_goes_on()


def test_an_image_that_cannot_be_pulled(cluster_home, servers):
    image = f"{servers['EVERGREEN_REGISTRY']}/evergreen-train"
    unknown = cluster_home.run(*WINE, EVERGREEN_TRAIN_IMAGE=f"{image}:none")
    unknown.check(2, "EVERGREEN_TRAIN_IMAGE", "no such image")
    # By digest, nobody asks before the node does.
    gone = f"{image}@sha256:{'0' * 64}"
    done = cluster_home.run(*WINE, timeout=PATIENCE, EVERGREEN_TRAIN_IMAGE=gone)
    done.check(3, "cannot pull the image of the steps", gone, "ErrImagePull")
    assert_registry_matches_its_log(servers, NAMES[0])
    assert_nothing_goes_on()


def test_a_full_quota_and_an_interruption(cluster_home, servers):
    kubectl("-n", NAMESPACE, "create", "quota", "full", "--hard=pods=0")
    try:
        with cluster_home.running(*WINE, "--no-cache") as run:
            run.wait_for_log("waits: exceeded quota: full")
            kubectl("-n", NAMESPACE, "delete", "quota", "full")
            of_run(run, OWN)
            os.kill(run.process.pid, signal.SIGINT)
            run.finish(PATIENCE).check(130)
    finally:
        kubectl("-n", NAMESPACE, "delete", "quota", "full", "--ignore-not-found")
    assert_nothing_goes_on()
    # Interrupted before it had a pod, too.
    kubectl("-n", NAMESPACE, "create", "quota", "full", "--hard=pods=0")
    try:
        with cluster_home.running(*WINE) as run:
            run.wait_for_log("waits: exceeded quota: full")
            os.kill(run.process.pid, signal.SIGINT)
            run.finish(PATIENCE).check(130)
    finally:
        kubectl("-n", NAMESPACE, "delete", "quota", "full")
    assert_nothing_goes_on()
    assert_registry_matches_its_log(servers, NAMES[0])


@pytest.fixture(scope="module")
def champion(cluster_home, other_home, servers) -> None:
    """Two use cases trained at once by two machines, after all that was broken off before."""
    with cluster_home.running(*WINE) as wine:
        of_run(wine, OWN)
        second = other_home.run(*WINE, timeout=PATIENCE)
        second.check(3, f"'{NAMES[0]}' is under way", "Wait for it, or end it")
        other_home.run(*IRIS, timeout=PATIENCE).check(0)
        wine.finish(PATIENCE).check(0)
    for use_case in NAMES:
        assert_registry_matches_its_log(servers, use_case)
    assert_nothing_goes_on()


def test_two_runs_at_once(champion):
    """The fixture asks: it is what the other tests start from."""


@pytest.mark.long
def test_pods_and_servers_that_go_away_are_made_up_for(champion, cluster_home, servers):
    with cluster_home.running(*WINE, *OTHER) as run:
        kill(of_run(run, "search_candidate_logistic_regression"))
        of_run(run, "search_candidate_logistic_regression")
        own = of_run(run, OWN)
        until("it fits", lambda: "`fit_challenger` has started" in said_by(own))
        with refused(port_of(servers["AWS_ENDPOINT_URL"])):
            until("it missed its files", lambda: "before retrying step" in said_by(own))
        until("it publishes", lambda: "`publish_challenger` has started" in said_by(own))
        kill(own)
        run.finish(PATIENCE).check(0)
    assert_registry_matches_its_log(servers, NAMES[0])
    assert_nothing_goes_on()


@pytest.mark.long
def test_a_cluster_without_its_api_server_or_its_kubelet(champion, cluster_home, servers):
    with cluster_home.running(*WINE, *LENIENT, "--no-cache") as run:
        of_run(run, OWN)
        with away("kubelet"):
            time.sleep(5)
        with away("apiserver"):
            time.sleep(60)
        run.finish(PATIENCE).check(0)
    assert_registry_matches_its_log(servers, NAMES[0])
    assert_nothing_goes_on()


def of_run(run: Running, step: str) -> str:
    """Wait until a pod of a step runs, and return its name."""
    found: list[str] = []

    def runs() -> bool:
        time.sleep(0.5)  # to ask costs as much as a step
        found[:] = pods_of(step, "Running")
        return bool(found)

    run.wait_until(runs, PATIENCE)
    return found[0]


def pods_of(step: str, *phases: str) -> list[str]:
    """Return the names of the pods of a step."""
    pods = json.loads(kubectl("-n", NAMESPACE, "get", "pods", "-o", "json"))["items"]
    return [
        pod["metadata"]["name"]
        for pod in pods
        if pod["metadata"]["labels"].get("step_name", OWN) == step
        and (not phases or pod["status"]["phase"] in phases)
    ]


def kill(pod: str) -> None:
    """Take a pod away as a lost node does: at once."""
    kubectl("-n", NAMESPACE, "delete", "pod", pod, "--force", "--grace-period=0")


def said_by(pod: str) -> str:
    return kubectl("-n", NAMESPACE, "logs", pod, check=False)


def port_of(url: str) -> int:
    return int(url.rsplit(":", 1)[1])


def assert_nothing_goes_on() -> None:
    """Jobs and pods have ended, and the tokens of their runs are gone."""

    def ended() -> bool:
        jobs = json.loads(kubectl("-n", NAMESPACE, "get", "jobs", "-o", "json"))["items"]
        pods = kubectl("-n", NAMESPACE, "get", "pods", "-o", "jsonpath={.items[*].status.phase}")
        secrets = kubectl("-n", NAMESPACE, "get", "secrets", "-o", "name")
        return (
            all(job["status"].get("conditions") for job in jobs)
            and set(pods.split()) <= {"Succeeded", "Failed"}
            and "zenml-token" not in secrets
        )

    until("nothing of a run goes on", ended, 120)


def assert_registry_matches_its_log(servers: dict[str, str], use_case: str) -> None:
    """Every version was decided on, and every decision was carried out."""
    address = servers["MLFLOW_TRACKING_URI"]
    client = MlflowClient(address, address)
    versions = client.search_model_versions(f"name = '{use_case}'")
    log = PromotionLog(servers[DATABASE_VARIABLE])
    entries = log.entries(use_case)
    promoted = [entry.to_version for entry in entries if entry.action == "promoted"]
    assert {one.version for one in versions} == set(promoted)
    assert all(one.status == "READY" for one in versions)
    if promoted:
        champion = client.get_model_version_by_alias(use_case, "champion").version
        assert champion == promoted[0]  # the newest
    intents = {entry.id for entry in entries if entry.action == "intent"}
    assert intents == {entry.closes for entry in entries if entry.closes is not None}
