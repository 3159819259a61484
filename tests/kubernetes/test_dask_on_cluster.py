"""deploy/kubernetes/dask beside the runs' pods, with its operator and without it."""

from __future__ import annotations

import base64
import json
import re
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import yaml

from evergreen.paths import DATABASE_VARIABLE
from tests.kubernetes.conftest import NAMESPACE, ZENML, ClusterHome, kubectl
from tests.support.command_line import ROOT
from tests.support.dask_manifests import write_certificates
from tests.support.dask_operator import NAMESPACE as OPERATOR
from tests.support.dask_operator import running_operator
from tests.support.manifests import rendered
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.timeout(3600), pytest.mark.long]

XGBOOST = (
    *("--set", "training.candidates={xgboost: {params: {n_estimators: 30}, search: {}}}"),
    *("--set", "training.trials=1", "--set", "gate.champion=null"),
)
SCHEDULER = f"tls://evergreen-scheduler.{NAMESPACE}.svc.cluster.local:8786"
ON_DASK = ("--set", "training.engine=dask", "--set", f'training.dask={{scheduler: "{SCHEDULER}"}}')
TOLERANCE = 0.01  # of a metric, relative: what docs/scale.md promises
SMALL = {"requests": {"cpu": "0.1", "memory": "256Mi"}, "limits": {"memory": "2Gi"}}


@pytest.fixture(scope="module")
def alone(cluster_home) -> dict:
    """What a training without Dask says; its image is what the cluster runs."""
    words = ("--pipeline", "train", "--set", "name=wine_alone", "--json", *XGBOOST)
    done = cluster_home.run(*words, "--set", "training.engine=external", timeout=1800)
    return json.loads(done.check(0).out)


@pytest.fixture(scope="module")
def image(alone) -> str:
    """Return the image of the runs."""
    run = ("-l", f"run_name={alone['zenml_run']}")
    images = "jsonpath={.items[0].spec.containers[0].image}"
    return kubectl("-n", NAMESPACE, "get", "pods", *run, "-o", images)


@pytest.fixture(scope="module")
def volume(servers, tmp_path_factory) -> Iterator[None]:
    """Give the claim a folder of this machine, as the test cluster provides no volumes."""
    resource = json.dumps(volume_here(tmp_path_factory.mktemp("state")))
    delete = ("delete", "--ignore-not-found", "--filename", "-")
    kubectl(*delete, stdin=resource)  # an earlier run's: it belongs to no namespace
    kubectl("apply", "--filename", "-", stdin=resource)
    yield
    kubectl(*delete, "--wait=false", stdin=resource)


@pytest.fixture(scope="module", params=["plain", "operator"])
def workers(request, image, volume, servers, tmp_path_factory) -> Iterator[str]:
    """Start a scheduler and two workers; yield by what."""
    secrets_of_dask(servers, tmp_path_factory.mktemp("tls"))
    folder = "dask/plain" if request.param == "plain" else "dask"
    ours = [fitting(one, image) for one in rendered(folder)]
    # Ended runs hold the claim; both ways share it. All else has the same names in both.
    passing = [one for one in ours if one["kind"] != "PersistentVolumeClaim"]
    delete = ("delete", "--timeout=180s", "--filename", "-")
    with ExitStack() as stack:
        if request.param == "operator":
            of_operator = tmp_path_factory.mktemp("operator")
            stack.enter_context(running_operator(of_operator, image, kubectl))
        kubectl("apply", "--filename", "-", stdin=yaml.safe_dump_all(ours))
        stack.callback(wait_until, lambda: not deployments(), seconds=180)
        stack.callback(kubectl, *delete, stdin=yaml.safe_dump_all(passing))
        expected = 2 if request.param == "plain" else 3  # the operator's workers have one each
        wait_until(lambda: len(deployments()) == expected, seconds=120)
        for name in deployments():
            kubectl("-n", NAMESPACE, "rollout", "status", name, "--timeout=600s")
        yield request.param


def deployments() -> list[str]:
    """Return the Deployments of the scheduler and the workers that there are."""
    of_cluster = ("-l", "dask.org/cluster-name=evergreen", "-o", "name")
    return kubectl("-n", NAMESPACE, "get", "deployments", *of_cluster).split()


@pytest.fixture(scope="module")
def home(workers, servers, tmp_path_factory) -> ClusterHome:
    """A machine with a copy of the stack whose pods take part, as docs/scale.md says."""
    folder = tmp_path_factory.mktemp("dask-user")
    home = ClusterHome(folder / "home", servers)
    stack = yaml.safe_load((ROOT / "stacks" / "kubernetes.yaml").read_text("utf-8"))
    settings, environment = documented()
    stack["name"] = "kubernetes_dask"
    orchestrator = stack["components"]["orchestrator"]
    orchestrator["name"] = "with_dask"
    for kind in ("pod_settings", "orchestrator_pod_settings"):
        orchestrator["config"][kind] = {**orchestrator["config"][kind], **settings}
    stack["environment"].update(environment)
    file = folder / "stack.yaml"
    file.write_text(yaml.safe_dump(stack), "utf-8")
    home.command(sys.executable, "-m", "stacks", "apply", str(file), **servers).check()
    home.command(ZENML, "stack", "set", "kubernetes_dask").check()
    return home


def documented() -> tuple[dict, dict]:
    """Return the pods' settings and the variables that docs/scale.md gives."""
    guide = (ROOT / "docs" / "scale.md").read_text("utf-8")
    (block,) = re.findall(r"```yaml\n( +pod_settings: &restricted\n.*?)```", guide, re.DOTALL)
    block = block.replace("container_security_context: …", "").replace("&restricted", "")
    pods, _, variables = block.partition("   environment:\n")
    settings = yaml.safe_load(pods)["pod_settings"]
    return settings, yaml.safe_load(variables)


def secrets_of_dask(servers: dict[str, str], folder: Path) -> None:
    write_certificates(folder)
    kept = {name: (folder / name).read_bytes() for name in ("ca.crt", "tls.crt", "tls.key")}
    names = (DATABASE_VARIABLE, "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL")
    known = {name: servers[name].encode() for name in names}
    for name, values in (("dask-tls", kept), ("dask-environment", known)):
        secret = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name, "namespace": NAMESPACE},
            "data": {key: base64.b64encode(value).decode() for key, value in values.items()},
        }
        kubectl("apply", "--filename", "-", stdin=json.dumps(secret))


def volume_here(folder: Path) -> dict:
    """Return a volume of this machine's, as the test cluster provides none."""
    for part in (folder, *list(folder.parents)[:3]):
        part.chmod(0o777)
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": f"{NAMESPACE}-dask"},
        "spec": {
            "capacity": {"storage": "200Gi"},
            "accessModes": ["ReadWriteMany"],
            "claimRef": {"namespace": NAMESPACE, "name": "evergreen-home"},
            "hostPath": {"path": str(folder)},
        },
    }


def fitting(resource: dict, image: str) -> dict:
    """Return it in the test's namespace, with the run's image, and as small as the machine."""
    text = json.dumps(resource).replace("evergreen-runs", NAMESPACE)
    ours: dict = json.loads(text)
    pods = {
        "Deployment": lambda spec: [spec["template"]["spec"]],
        "DaskCluster": lambda spec: [spec["scheduler"]["spec"], spec["worker"]["spec"]],
    }.get(ours["kind"], lambda spec: [])
    for pod in pods(ours.get("spec", {})):
        (container,) = pod["containers"]
        container.update(image=image, resources=SMALL)
    return ours


def test_the_workers_fit_the_same_model(alone, workers, home):
    words = ("--pipeline", "train", "--set", f"name=wine_on_dask_{workers}", "--json", *XGBOOST)
    there = json.loads(home.run(*words, *ON_DASK, timeout=1800).check(0).out)
    for name, interval in alone["metrics"].items():
        estimate = there["metrics"][name]["estimate"]
        assert estimate == pytest.approx(interval["estimate"], rel=TOLERANCE), name
    assert "Fit the challenger on " in Path(there["log"]).read_text("utf-8")


def test_a_pod_without_the_certificate_is_refused(workers, cluster_home):
    words = ("--pipeline", "train", "--set", "name=wine_outside", *XGBOOST, *ON_DASK)
    cluster_home.run(*words, timeout=1800).check(2, "no certificates")


def test_the_operator_ends_a_worker_that_is_not_wanted(workers):
    if workers == "plain":
        pytest.skip("a Deployment's own controller does that")
    group = "daskworkergroup/evergreen-default"
    kubectl("-n", NAMESPACE, "scale", group, "--replicas=1")
    wait_until(lambda: len(deployments()) == 2, seconds=180)
    said = kubectl("-n", OPERATOR, "logs", "deployment/operator")
    assert "Retired workers" in said  # the scheduler was asked which one, over HTTP
    assert "falling back to LIFO" not in said
