"""The overlay for tests on a real cluster: installed, served from, replaced, guarded, taken out."""

from __future__ import annotations

import json
import secrets
from pathlib import Path

import pytest
from mlflow import MlflowClient

from evergreen.promotion.promotion_log import PromotionLog
from evergreen.promotion.registry import Registry
from tests.support.installed import (
    NAMESPACE,
    RUNS,
    Api,
    Load,
    TestCluster,
    api_is_ready,
    api_troubles,
    ensure_installed,
    images_in_registry,
    purge,
    test_cluster,
    until,
)
from tests.support.models import write_small_bundle
from tests.support.serving import BOAT

pytestmark = pytest.mark.timeout(1800)  # the first one builds, pushes and pulls images
MODEL = "wine"  # what the overlay serves


@pytest.fixture(scope="module")
def cluster() -> TestCluster:
    found = test_cluster()
    purge(found)
    return found


@pytest.fixture(scope="module")
def options(cluster) -> tuple[str, ...]:
    return images_in_registry(cluster)


@pytest.fixture
def installed(cluster, options) -> TestCluster:
    ensure_installed(cluster, options)
    return cluster


OUTSIDE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "outside", "namespace": NAMESPACE},
    "spec": {
        "type": "NodePort",
        "selector": {"app.kubernetes.io/name": "api"},
        "ports": [{"port": 80, "targetPort": "http"}],
    },
}


def registered(cluster: TestCluster, folder: Path) -> None:
    """Register two versions with the cluster's MLflow, of which the first one is champion."""
    address = cluster.address("mlflow")
    client = MlflowClient(address, address)
    run = client.create_run(client.create_experiment(secrets.token_hex(4))).info.run_id
    registry = Registry(
        address, PromotionLog(f"sqlite:///{folder / 'promotions.db'}"), folder / "locks"
    )
    for seed in (7, 3):
        bundle = write_small_bundle(
            folder / str(seed), use_case=MODEL, seed=seed, training_key=f"key-{seed}"
        )
        registry.register(MODEL, bundle, run)
    client.set_registered_model_alias(MODEL, "champion", "1")


def moved(cluster: TestCluster, version: str) -> None:
    address = cluster.address("mlflow")
    MlflowClient(address, address).set_registered_model_alias(MODEL, "champion", version)


@pytest.fixture
def api(installed, tmp_path) -> Api:
    """The API with a champion, version 1."""
    if not any(one["metadata"]["name"] == "outside" for one in installed.get("services")):
        log = ("logs", "-n", NAMESPACE, "deployment/api", "-c", "champion")
        until(
            "the API waits for a first champion",
            lambda: "which is empty" in installed.kubectl(*log, check=False).stdout,
            otherwise=api_troubles,
        )
        registered(installed, tmp_path)
        installed.kubectl("apply", "-f", "-", stdin=json.dumps(OUTSIDE))
    else:
        moved(installed, "1")
    # Not by kubectl rollout status: a first champion may come later than its deadline.
    until("both pods are ready", lambda: api_is_ready(installed), 600, api_troubles)
    outside = installed.kubectl("get", "service", "outside", "-n", NAMESPACE, "-o", "json").stdout
    port = json.loads(outside)["spec"]["ports"][0]["nodePort"]
    found = Api(installed, f"http://127.0.0.1:{port}", BOAT)
    until(
        "version 1 answers",
        lambda: {found.version() for _ in range(6)} == {"1"},
        otherwise=api_troubles,
    )
    return found


def query(cluster: TestCluster, text: str) -> str:
    psql = ("psql", "-tA", "-h", "127.0.0.1", "-U", "evergreen", "-d", "evergreen", "-c", text)
    password = f"PGPASSWORD={cluster.secret('postgres', 'password')}"
    pod = ("exec", "-n", NAMESPACE, "statefulset/postgres", "--", "env", password)
    return cluster.kubectl(*pod, *psql, check=False).stdout.strip()


def test_it_predicts_through_the_service_and_logs_in_postgresql(api):
    with api.client() as client:
        answer = client.post("/predict", json=BOAT)
        assert answer.json()["prediction"] in ("calm", "gale", "storm")
        client.headers.pop("authorization")
        assert client.post("/predict", json=BOAT).status_code == 401
    asked = (
        f"SELECT model, version FROM predictions WHERE request_id = '{answer.json()['request_id']}'"
    )
    until("the prediction is logged", lambda: query(api.cluster, asked) == f"{MODEL}|1")


def names_of_pods(cluster: TestCluster) -> set[str]:
    pods = cluster.get("pods", NAMESPACE, "-l", "app.kubernetes.io/name=api")
    return {pod["metadata"]["name"] for pod in pods}


def test_it_is_replaced_under_load_without_a_failed_request(api):
    before = names_of_pods(api.cluster)
    with Load(api) as load:
        until("there is load", lambda: len(load.versions) > 50)
        api.cluster.kubectl("rollout", "restart", "deployment/api", "-n", NAMESPACE)
        api.cluster.kubectl(
            "rollout", "status", "deployment/api", "-n", NAMESPACE, "--timeout=280s"
        )
        until("the former pods are gone", lambda: not before & names_of_pods(api.cluster))
        so_far = len(load.versions)
        until("the new ones answer", lambda: len(load.versions) > so_far + 50)
    assert load.failures == []
    assert set(load.versions) == {"1"}


def test_a_moved_alias_is_swapped_in_without_a_restart_or_a_failed_request(api):
    with Load(api) as load:
        until("there is load", lambda: len(load.versions) > 20)
        moved(api.cluster, "2")
        until("every pod has it", lambda: {api.version() for _ in range(8)} == {"2"})
    assert load.failures == []
    pods = api.cluster.get("pods", NAMESPACE, "-l", "app.kubernetes.io/name=api")
    assert {one["restartCount"] for pod in pods for one in pod["status"]["containerStatuses"]} == {
        0
    }


def test_containers_are_nobody_special(api):
    inside = "id -u; touch /opt/x 2>&1; cat /proc/1/status"
    for name in ("deployment/api", "deployment/mlflow", "deployment/zenml", "statefulset/s3"):
        said = api.cluster.kubectl("exec", "-n", NAMESPACE, name, "--", "sh", "-c", inside).stdout
        assert said.splitlines()[0] == "10001"
        assert "Read-only file system" in said
        assert "CapEff:\t0000000000000000" in said
        assert "NoNewPrivs:\t1" in said
        assert "Seccomp:\t2" in said


ALLOWED = [
    ("orchestrator", "create", "jobs.batch"),
    ("orchestrator", "list", "pods"),
    ("orchestrator", "delete", "secrets"),
    ("deployer", "create", "deployments.apps"),
    ("deployer", "patch", "services"),
    ("client", "create", "cronjobs.batch"),
    ("client", "create", "secrets"),
]
REFUSED = [
    ("orchestrator", "get", "secrets"),
    ("orchestrator", "create", "pods"),
    ("orchestrator", "create", "deployments.apps"),
    ("orchestrator", "create", "cronjobs.batch"),
    ("steps", "get", "pods"),
    ("steps", "create", "jobs.batch"),
    ("deployer", "create", "jobs.batch"),
    ("deployer", "create", "pods/exec"),
    ("client", "get", "secrets"),
    ("client", "create", "pods"),
    ("client", "create", "rolebindings.rbac.authorization.k8s.io"),
]


def test_accounts_may_do_what_they_need_and_nothing_wider(installed):
    def may(account: str, verb: str, resource: str, namespace: str) -> bool:
        user = f"--as=system:serviceaccount:{RUNS}:{account}"
        name, _, inner = resource.partition("/")
        inner = (f"--subresource={inner}",) if inner else ()
        done = installed.kubectl(
            "auth", "can-i", verb, name, *inner, "-n", namespace, user, check=False
        )
        return done.stdout.strip() == "yes"

    for account, verb, resource in ALLOWED:
        assert may(account, verb, resource, RUNS), (account, verb, resource)
        assert not may(account, verb, resource, NAMESPACE), (account, verb, resource)
    for account, verb, resource in REFUSED:
        assert not may(account, verb, resource, RUNS), (account, verb, resource)


def test_a_wider_call_with_an_accounts_own_token_is_refused(installed, tmp_path):
    def call(*arguments: str, stdin: str | None = None) -> str:
        done = installed.as_account("orchestrator", tmp_path, *arguments, stdin=stdin)
        return done.stdout + done.stderr

    job = ("create", "job", "probe", "--image=none", "--dry-run=server", "-n")
    assert "job.batch/probe created" in call(*job, RUNS)
    assert "forbidden" in call(*job, NAMESPACE).lower()
    assert "forbidden" in call("get", "secrets", "-n", RUNS).lower()
    assert "forbidden" in call("get", "nodes").lower()
    assert "No resources found" in call("get", "pods", "-n", RUNS)


def test_quota_network_policies_and_budget_are_in_force(api):
    second = {**OUTSIDE, "metadata": {"name": "second", "namespace": NAMESPACE}}
    refused = api.cluster.kubectl("apply", "-f", "-", stdin=json.dumps(second), check=False)
    assert "exceeded quota: servers" in refused.stderr
    policies = {one["metadata"]["name"] for one in api.cluster.get("networkpolicies")}
    assert {"default-deny", "api", "mlflow", "postgres", "s3", "zenml"} <= policies
    (budget,) = api.cluster.get("poddisruptionbudgets")
    until(
        "the budget counts the pods",
        lambda: api.cluster.get("poddisruptionbudgets")[0]["status"]["currentHealthy"] > 0,
    )
    assert budget["spec"]["maxUnavailable"] == 1
    (scaler,) = api.cluster.get("horizontalpodautoscalers")
    assert scaler["spec"]["minReplicas"] == 2


def test_installing_again_replaces_no_pod_and_says_where(installed, options):
    before = names_of_pods(installed)
    done = installed.install(*options)
    assert done.returncode == 0, done.stderr
    assert names_of_pods(installed) == before
    assert "http://api.evergreen.svc.cluster.local" in done.stdout


def test_what_is_missing_is_said_before_anything_changes(cluster):
    done = cluster.install("--overlay", "production", "--registry", "ghcr.io/nobody")
    assert done.returncode == 2
    assert "does not know" in done.stderr
    assert "ServiceMonitor (monitoring.coreos.com/v1)" in done.stderr


def test_uninstall_leaves_data_then_nothing_and_nobody_elses(installed, options):
    bystander = f"bystander-{secrets.token_hex(3)}"
    installed.kubectl("create", "namespace", bystander)
    installed.kubectl("create", "configmap", "kept", "-n", bystander)
    try:
        done = installed.install(*options, command="uninstall")
        assert done.returncode == 0, done.stderr
        assert not installed.get("deployments")
        assert {"postgres", "zenml"} <= {
            one["metadata"]["name"] for one in installed.get("secrets")
        }
        assert installed.install(*options, command="uninstall").returncode == 0
        done = installed.install(*options, "--purge", command="uninstall")
        assert done.returncode == 0, done.stderr
        left = {one["metadata"]["name"] for one in installed.get("namespaces", "default")}
        assert not {NAMESPACE, RUNS} & left
        installed.kubectl("get", "configmap", "kept", "-n", bystander)
    finally:
        installed.kubectl("delete", "namespace", bystander, "--wait=false")


def test_a_namespace_of_somebody_else_is_not_touched(cluster, options):
    purge(cluster)
    cluster.kubectl("create", "namespace", NAMESPACE)
    try:
        for command in ("install", "uninstall"):
            done = cluster.install(*options, "--purge", command=command)
            assert done.returncode == 2
            assert "not ours" in done.stderr
    finally:
        cluster.kubectl("delete", "namespace", NAMESPACE)
