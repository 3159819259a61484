"""deploy/kubernetes: every resource is one that Kubernetes takes, and is as strict as it can be."""

from __future__ import annotations

import copy

import kubernetes_validate
import pytest
from cloudcoil.models.prometheus_operator import v1 as operator

from deploy.kubernetes import alerts
from evergreen.serving.server import DRAINING
from tests.support.manifests import KUBERNETES, found, rendered

CURRENT = "1.37"
FOLDERS = ("base", "overlays/production", "overlays/kind", "overlays/test")
# The Prometheus operator's; kubernetes-validate does not know them, their own models check them.
OPERATORS = {"ServiceMonitor", "PrometheusRule"}
# The test cluster is Kubernetes 1.20: its names for these are gone since 1.25 and 1.26.
OLDER = {
    "HorizontalPodAutoscaler": ("autoscaling/v2beta2", "autoscaling/v2"),
    "PodDisruptionBudget": ("policy/v1beta1", "policy/v1"),
}
WORKLOADS = ("Deployment", "StatefulSet")


def workloads(folder: str) -> list[dict]:
    return [one for one in rendered(folder) if one["kind"] in WORKLOADS]


@pytest.mark.parametrize("folder", FOLDERS)
def test_current_kubernetes_takes_every_resource(folder):
    unknown = set()
    for resource in map(copy.deepcopy, rendered(folder)):
        older, newer = OLDER.get(resource["kind"], (None, None))
        if folder == "overlays/test" and older:
            assert resource["apiVersion"] == older
            resource["apiVersion"] = newer
        try:
            kubernetes_validate.validate(resource, CURRENT, strict=True)
        except kubernetes_validate.SchemaNotFoundError:
            unknown.add(resource["kind"])
    assert unknown == (OPERATORS if folder == "overlays/production" else set())


def test_a_misspelt_field_is_found():
    resource = copy.deepcopy(found("base", "Deployment", "api"))
    resource["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(resource, CURRENT, strict=True)


def same_as_its_model(resource: dict) -> bool:
    """Tell whether the operator's model reads all of a resource; it leaves out what it lacks."""
    model = getattr(operator, resource["kind"]).model_validate(resource)
    return model.model_dump(mode="json", by_alias=True, exclude_unset=True) == resource


@pytest.mark.parametrize(
    ("kind", "name"), [("ServiceMonitor", "api"), ("PrometheusRule", "evergreen")]
)
def test_the_operator_takes_its_resources(kind, name):
    resource = found("overlays/production", kind, name)
    assert same_as_its_model(resource)
    misspelt = copy.deepcopy(resource)
    misspelt["spec"]["intervall"] = "15s"
    assert not same_as_its_model(misspelt)


def test_alerts_have_one_source():
    assert alerts.TARGET.read_text() == alerts.prometheus_rule(), "run `make manifests`"


@pytest.mark.parametrize("folder", FOLDERS)
def test_pods_are_restricted(folder):
    for workload in workloads(folder):
        pod = workload["spec"]["template"]["spec"]
        assert pod["automountServiceAccountToken"] is False
        assert pod["enableServiceLinks"] is False
        assert pod["serviceAccountName"] == workload["metadata"]["name"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in (*pod["containers"], *pod.get("initContainers", ())):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert {"cpu", "memory"} <= set(container["resources"]["requests"])
            assert "memory" in container["resources"]["limits"]
        for container in pod["containers"]:
            assert {"livenessProbe", "readinessProbe", "startupProbe"} <= set(container)
    label = "pod-security.kubernetes.io/{}".format
    for name, enforced in (("evergreen", "restricted"), ("evergreen-runs", "baseline")):
        labels = found(folder, "Namespace", name)["metadata"]["labels"]
        assert labels[label("enforce")] == enforced
        assert labels[label("audit")] == labels[label("warn")] == "restricted"


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_namespace_denies_by_default_and_has_ceilings(folder):
    names = {one["metadata"]["name"] for one in rendered(folder) if one["kind"] == "Namespace"}
    assert names == {"evergreen", "evergreen-runs"}

    def namespaces_of(kind: str) -> set[str]:
        return {one["metadata"]["namespace"] for one in rendered(folder) if one["kind"] == kind}

    assert namespaces_of("ResourceQuota") == namespaces_of("LimitRange") == names
    nothing = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    policies = [one for one in rendered(folder) if one["kind"] == "NetworkPolicy"]
    denying = [one["metadata"]["namespace"] for one in policies if one["spec"] == nothing]
    assert sorted(denying) == sorted(names)


def test_no_role_reaches_beyond_its_namespace_or_takes_everything():
    resources = rendered("overlays/production")
    assert not [one for one in resources if one["kind"].startswith("Cluster")]
    roles = [one for one in resources if one["kind"] == "Role"]
    assert {role["metadata"]["namespace"] for role in roles} == {"evergreen-runs"}
    for role in roles:
        for rule in role["rules"]:
            assert "*" not in (*rule["apiGroups"], *rule["resources"], *rule["verbs"])
            assert not set(rule["resources"]) & {"pods/exec", "roles", "rolebindings"}


def test_no_secret_is_in_the_repository():
    for folder in FOLDERS:
        assert not [one for one in rendered(folder) if one["kind"] == "Secret"]
    texts = [path.read_text() for path in KUBERNETES.rglob("*.yaml")]
    assert not [text for text in texts if "kind: Secret" in text]


def test_the_api_is_replaced_without_a_gap():
    deployment = found("overlays/production", "Deployment", "api")["spec"]
    assert "replicas" not in deployment  # applying again must not undo the autoscaler
    assert deployment["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    pod = deployment["template"]["spec"]
    (container,) = pod["containers"]
    assert container["readinessProbe"]["httpGet"]["path"] == "/health/ready"
    assert container["livenessProbe"]["httpGet"]["path"] == "/health/live"
    assert container["lifecycle"]["preStop"]["exec"]["command"] == ["sleep", "5"]
    assert pod["terminationGracePeriodSeconds"] >= 5 + DRAINING + 10
    metrics = found("overlays/production", "HorizontalPodAutoscaler", "api")["spec"]["metrics"]
    assert [metric["type"] for metric in metrics] == ["Resource", "Pods"]
