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
WINE = ("--pipeline", "train", *CHEAP)
IRIS = (*WINE, "--config", "configs/iris.yaml")
PATIENCE = 1800  # seconds, on a busy machine


def test_more_memory_than_its_limit(cluster_home, servers):
    limit = ("--no-cache", "--set", "resources.steps.load_table.memory_limit=64Mi")
    done = cluster_home.run(*WINE, *limit, timeout=PATIENCE)
    done.check(3, "'load_table'", "more memory than 64Mi", "load_table.memory_limit=", "is kept")
    assert_registry_matches_its_log(servers, "wine")
    assert_nothing_goes_on()


def test_a_full_quota_and_an_interruption(cluster_home, servers):
    kubectl("-n", NAMESPACE, "create", "quota", "full", "--hard=pods=0")
    try:
        with cluster_home.running(*WINE, "--no-cache") as run:
            run.wait_for_log("waits: exceeded quota: full")
            kubectl("-n", NAMESPACE, "delete", "quota", "full")
            of_run(run, "load-table")
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
    assert_registry_matches_its_log(servers, "wine")


@pytest.fixture(scope="module")
def champion(cluster_home, other_home, servers) -> None:
    """Two use cases trained at once by two machines, after all that was broken off before."""
    with cluster_home.running(*WINE) as wine:
        wine.wait_until(lambda: pods_of("train"), PATIENCE)
        second = other_home.run(*WINE, timeout=PATIENCE)
        second.check(3, "'wine' is under way", "Wait for it, or end it")
        other_home.run(*IRIS, timeout=PATIENCE).check(0)
        wine.finish(PATIENCE).check(0)
    for use_case in ("wine", "iris"):
        assert_registry_matches_its_log(servers, use_case)
    assert_nothing_goes_on()


def test_two_runs_at_once(champion):
    """The fixture asks: it is what the other tests start from."""


def test_pods_and_servers_that_go_away_are_made_up_for(champion, cluster_home, servers):
    with cluster_home.running(*WINE, "--set", "training.seed=2") as run:
        own = of_run(run, "train")
        of_run(run, "search-candidate-logistic-regression")
        kubectl("-n", NAMESPACE, "delete", "pod", own, "--force", "--grace-period=0")
        evaluating = of_run(run, "evaluate-on-holdout")
        with refused(port_of(servers["AWS_ENDPOINT_URL"])):
            until("the step missed its files", lambda: phase_of(evaluating) != "Running")
            time.sleep(10)
        publishing = of_run(run, "publish-challenger")
        time.sleep(8)  # it is at work by then
        kubectl("-n", NAMESPACE, "delete", "pod", publishing, "--force", "--grace-period=0")
        run.finish(PATIENCE).check(0)
    assert_registry_matches_its_log(servers, "wine")
    assert_nothing_goes_on()


def test_a_cluster_without_its_api_server_or_its_kubelet(champion, cluster_home, servers):
    with cluster_home.running(*WINE) as run:
        of_run(run, "find-champion")
        with away("kubelet"):
            time.sleep(5)
        with away("apiserver"):
            time.sleep(60)
        run.finish(PATIENCE).check(0, "unchanged")
    assert_registry_matches_its_log(servers, "wine")
    assert_nothing_goes_on()


def of_run(run: Running, part: str) -> str:
    """Wait until a pod of this name runs, and return its name."""
    found: list[str] = []

    def runs() -> bool:
        found[:] = pods_of(part, "Running")
        return bool(found)

    run.wait_until(runs, PATIENCE)
    return found[0]


def pods_of(part: str, *phases: str) -> list[str]:
    """Return the names of pods whose job's name has a part: hash, step, pipeline."""
    pods = json.loads(kubectl("-n", NAMESPACE, "get", "pods", "-o", "json"))["items"]
    return [
        pod["metadata"]["name"]
        for pod in pods
        if pod["metadata"]["name"].split("-", 1)[1].startswith(f"{part}-")
        and (not phases or pod["status"]["phase"] in phases)
    ]


def phase_of(pod: str) -> str:
    path = "jsonpath={.status.phase}"
    return kubectl("-n", NAMESPACE, "get", "pod", pod, "-o", path, check=False)


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
