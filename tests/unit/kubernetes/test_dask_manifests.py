"""deploy/kubernetes/dask: Kubernetes takes it, with and without an operator, and it is closed."""

from __future__ import annotations

import copy

import kubernetes_validate
import pytest
import yaml

from tests.support.dask_manifests import (
    DASK,
    client_environment,
    dask_cluster_resource,
    plain_pods,
)
from tests.support.manifests import found, rendered

CURRENT = "1.37"
SCHEDULER = {"dask.org/cluster-name": "evergreen", "dask.org/component": "scheduler"}
CLIENT = {"evergreen-dask": "true"}


def operators_deployments() -> dict[str, dict]:
    """Return what the operator makes of the cluster (dask-kubernetes, controller.py, `build_*`)."""
    spec = dask_cluster_resource()["spec"]
    made = {}
    for component in ("scheduler", "worker"):
        labels = {"dask.org/cluster-name": "evergreen", "dask.org/component": component}
        metadata = {"name": f"evergreen-{component}", "labels": labels}
        template = {"metadata": metadata, "spec": copy.deepcopy(spec[component]["spec"])}
        made[component] = {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": metadata,
            "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": template},
        }
    return made


def test_kubernetes_takes_what_the_operator_makes_of_it():
    resource = dask_cluster_resource()
    assert resource["apiVersion"] == "kubernetes.dask.org/v1"
    # All that the operator's schema knows of these levels is used or left out on purpose.
    assert set(resource["spec"]) == {"scheduler", "worker"}
    assert set(resource["spec"]["scheduler"]) == {"spec", "service"}
    assert set(resource["spec"]["worker"]) == {"replicas", "spec"}
    for deployment in operators_deployments().values():
        kubernetes_validate.validate(deployment, CURRENT, strict=True)
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "evergreen-scheduler"},
        "spec": resource["spec"]["scheduler"]["service"],
    }
    kubernetes_validate.validate(service, CURRENT, strict=True)


def test_the_autoscaler_is_of_this_cluster():
    resource = yaml.safe_load((DASK / "autoscaler.yaml").read_text())
    assert resource["kind"] == "DaskAutoscaler"
    assert resource["metadata"]["namespace"] == dask_cluster_resource()["metadata"]["namespace"]
    assert set(resource["spec"]) == {"cluster", "minimum", "maximum"}
    assert resource["spec"]["cluster"] == dask_cluster_resource()["metadata"]["name"]
    assert 1 <= resource["spec"]["minimum"] <= resource["spec"]["maximum"]


def test_with_and_without_an_operator_pods_are_the_same():
    spec, plain = dask_cluster_resource()["spec"], plain_pods()
    assert plain["scheduler"] == spec["scheduler"]["spec"]
    worker = plain["worker"]
    (container,) = worker["containers"]
    # The operator gives each worker its name, and keeps the address that stands there.
    container["env"] = [one for one in container["env"] if one["name"] != "DASK_WORKER_NAME"]
    assert worker == spec["worker"]["spec"]


def test_kubernetes_takes_the_cluster_without_an_operator():
    for resource in map(copy.deepcopy, rendered("dask/plain")):
        kubernetes_validate.validate(resource, CURRENT, strict=True)
        assert resource["metadata"]["namespace"] == "evergreen-runs"
    service = found("dask/plain", "Service", "evergreen-scheduler")["spec"]
    assert service == dask_cluster_resource()["spec"]["scheduler"]["service"]


def test_every_container_gets_the_image_of_the_runs():
    cluster = found("dask", "DaskCluster", "evergreen")["spec"]
    pods = [cluster["scheduler"]["spec"], cluster["worker"]["spec"]]
    for name in ("dask-scheduler", "dask-worker"):
        pods.append(found("dask/plain", "Deployment", name)["spec"]["template"]["spec"])
    images = {container["image"] for pod in pods for container in pod["containers"]}
    assert images == {"ghcr.io/you/evergreen-train:latest"}


@pytest.mark.parametrize("component", ["scheduler", "worker"])
def test_pods_are_restricted(component):
    pod = plain_pods()[component]
    assert pod["automountServiceAccountToken"] is False
    assert pod["enableServiceLinks"] is False
    assert pod["serviceAccountName"] == "dask"
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    (container,) = pod["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {"cpu", "memory"} <= set(container["resources"]["requests"])
    assert (
        container["resources"]["limits"]["memory"] == container["resources"]["requests"]["memory"]
    )
    assert {"livenessProbe", "readinessProbe", "startupProbe"} <= set(container)
    mounts = {one["mountPath"] for one in container["volumeMounts"]}
    assert mounts == {"/var/lib/evergreen/state", "/etc/dask-tls", "/tmp"}


def test_nobody_speaks_in_clear():
    for component, pod in plain_pods().items():
        (container,) = pod["containers"]
        values = {one["name"]: one.get("value") for one in container["env"]}
        assert values["DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION"] == "true"
        for part in ("CERT", "KEY"):
            assert f"DASK_DISTRIBUTED__COMM__TLS__{component.upper()}__{part}" in values
        if component == "worker":
            assert values["DASK_SCHEDULER_ADDRESS"].startswith("tls://evergreen-scheduler.")


def test_only_pods_of_runs_reach_the_scheduler():
    policies = {
        one["metadata"]["name"]: one["spec"]
        for one in rendered("dask/plain")
        if one["kind"] == "NetworkPolicy"
    }
    assert set(policies) == {"dask-scheduler", "dask-cluster", "dask-clients"}
    scheduler = policies["dask-scheduler"]
    assert scheduler["podSelector"]["matchLabels"] == SCHEDULER
    reach = {
        one["ports"][0]["port"]: [set(source) for source in one["from"]]
        for one in scheduler["ingress"]
    }
    assert reach == {8786: [{"podSelector"}], 8787: [{"namespaceSelector"}]}
    assert scheduler["ingress"][0]["from"][0]["podSelector"]["matchLabels"] == CLIENT
    assert policies["dask-clients"]["podSelector"]["matchLabels"] == CLIENT
    # Every pod of the cluster has the labels that the policies go by.
    for name in ("dask-scheduler", "dask-worker"):
        labels = found("dask/plain", "Deployment", name)["spec"]["template"]["metadata"]["labels"]
        selected = policies["dask-cluster"]["podSelector"]["matchLabels"]
        assert selected.items() <= labels.items()


def test_the_guide_says_what_a_runs_pod_needs():
    guide = (DASK.parents[2] / "docs" / "scale.md").read_text()
    for name, path in client_environment(DASK).items():
        assert f"{name}: /etc/dask-tls/{path.rsplit('/')[-1]}" in guide
    assert 'evergreen-dask: "true"' in guide
