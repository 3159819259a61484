"""A SeldonDeployment by ZenML's model deployer: taken by an API server, and pods that serve."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import yaml

from tests.kubernetes.conftest import IRIS as IRIS_TABLE
from tests.kubernetes.conftest import NAMESPACE, QUICK, kubectl, stack_of_steps_here
from tests.support.command_line import ROOT
from tests.support.installed import images_in_registry, test_cluster, until

pytestmark = [pytest.mark.timeout(3600), pytest.mark.long]

DEFINITION = ROOT / "tests" / "kubernetes" / "seldon_definition.yaml"
# A name of its own: whatever ran before, there is no champion yet.
IRIS = (*IRIS_TABLE, "--set", "name=flowers")
ASK = """
import json, urllib.request
print(json.load(urllib.request.urlopen("http://127.0.0.1:9000/v2/models/flowers"))["versions"])
"""


@pytest.fixture(scope="module")
def image(host_ip) -> str:
    """The serving image, in the cluster's registry."""
    *_, tag = images_in_registry(test_cluster())
    return f"{test_cluster().registry}/evergreen-serve:{tag}"


@pytest.fixture(scope="module")
def stack(cluster_home, tmp_path_factory) -> str:
    """The cluster's stack with Seldon alone to deploy to; its steps run in the client's process."""
    folder = tmp_path_factory.mktemp("stack")
    # No ingress leads to the pods: their version is asked for inside.
    known = {"SELDON_URL": "http://127.0.0.1:9"}
    name = stack_of_steps_here(cluster_home, folder, "seldon", without=["deployer"], **known)
    train = ("--pipeline", "train", "--stack", name, *IRIS, *QUICK)
    cluster_home.run(*train, timeout=1800).check(0)
    return name


@pytest.fixture
def seldon() -> Iterator[None]:
    """Let the cluster know SeldonDeployments until the test ends."""
    kubectl("apply", "--filename", str(DEFINITION))
    try:
        crd = "crd/seldondeployments.machinelearning.seldon.io"
        kubectl("wait", "--for=condition=established", crd, "--timeout=60s")
        listed = ("get", "--raw", "/apis/machinelearning.seldon.io/v1")
        until("it is listed", lambda: "seldondeployments" in kubectl(*listed, check=False))
        yield
    finally:
        kubectl("delete", "--filename", str(DEFINITION))


def deploy(home, stack: str, image: str, **settings: object) -> dict:
    chosen = json.dumps({"image": image, **settings})
    words = ("--pipeline", "deploy", "--stack", stack, *IRIS, "--json")
    done = home.run(*words, "--set", f"deploy.seldon={chosen}", timeout=1800)
    (server,) = done.check(0).json["servers"]
    return server


def stored() -> dict:
    return json.loads(kubectl("-n", NAMESPACE, "get", "seldondeployment", "flowers", "-o", "json"))


def test_without_seldon_it_is_rendered(cluster_home, stack, image):
    server = deploy(cluster_home, stack, image)
    assert server["condition"] == "rendered"
    assert "Seldon is not installed in the cluster; apply reports/flowers/" in server["detail"]


def test_it_is_taken_whole_and_its_pods_serve_the_champion(cluster_home, stack, image, seldon):
    server = deploy(cluster_home, stack, image, challenger=20)
    assert server["condition"] == "rendered"
    assert "no operator of Seldon's acts on it" in server["detail"]
    file = sorted(cluster_home.state.glob("reports/flowers/*/seldon.yaml"))[-1]
    sent = yaml.safe_load(file.read_text("utf-8"))
    found = stored()
    for one in found["spec"]["predictors"]:
        one.pop("engineResources", None)  # which ZenML's values add, as they do replicas
    assert found["spec"] == {
        "name": "flowers",
        "replicas": 1,
        **sent["spec"],
    }  # nothing was dropped
    weights = {one["name"]: one["traffic"] for one in found["spec"]["predictors"]}
    assert weights == {"champion": 80, "challenger": 20}

    # What an operator makes of it.
    champion = found["spec"]["predictors"][0]["componentSpecs"][0]["spec"]
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "flowers-champion", "namespace": NAMESPACE},
        "spec": champion,
    }
    kubectl("create", "--filename", "-", stdin=json.dumps(pod))
    try:
        of_ours = ("-n", NAMESPACE, "wait", "--for=condition=ready", "pod/flowers-champion")
        kubectl(*of_ours, "--timeout=300s")
        asked = kubectl("-n", NAMESPACE, "exec", "flowers-champion", "--", "python", "-c", ASK)
        assert asked.strip() == str([champion_of(cluster_home)])
    finally:
        kubectl("-n", NAMESPACE, "delete", "pod", "flowers-champion", "--wait=false")

    changed = deploy(cluster_home, stack, image, challenger=30)
    assert changed["why"] == "its settings changed"
    assert [one["traffic"] for one in stored()["spec"]["predictors"]] == [70, 30]
    cluster_home.run("--undeploy", "--stack", stack, *IRIS).check(0)
    left = kubectl("-n", NAMESPACE, "get", "seldondeployments", "-o", "name")
    assert left == ""


def champion_of(home) -> str:
    models = home.run("--status", "--json").check().json["models"]
    (version,) = [one["champion"] for one in models if one["use_case"] == "flowers"]
    return str(version)
