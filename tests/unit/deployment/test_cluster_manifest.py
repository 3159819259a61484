"""What ZenML renders of a deployment, and what is applied to a cluster instead."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import kubernetes_validate
import pytest
from pydantic import ValidationError
from zenml.integrations.kubernetes import deployers
from zenml.integrations.kubernetes.flavors import KubernetesDeployerSettings
from zenml.integrations.kubernetes.manifest_utils import build_namespace_manifest
from zenml.integrations.kubernetes.template_engine import KubernetesTemplateEngine

from evergreen.deployment.cluster_manifest import GRACE, in_cluster
from evergreen.deployment.settings import ClusterConfig, DeployConfig

CURRENT = "1.37"
NEW = {"autoscaling/v2", "policy/v1"}
OLD = {"autoscaling/v2beta2", "policy/v1beta1"}


@pytest.fixture(scope="module")
def rendered() -> list[dict]:
    """What ZenML's own templates make of a deployment."""
    labels = {"zenml-deployment-id": "42", "zenml-deployment-name": "wine_api"}
    context = {
        "deployment": SimpleNamespace(name="wine_api"),
        "settings": KubernetesDeployerSettings(
            namespace="runs", service_type="ClusterIP", service_account_name="steps"
        ),
        "name": "wine-api",
        "namespace": "runs",
        "labels": labels,
        "image": "registry.example.org/evergreen-train@sha256:" + 64 * "0",
        "command": ["python", "-m", "zenml.entrypoints.entrypoint"],
        "args": ["--deployment_id", "42"],
        "env": {"MLFLOW_TRACKING_URI": "http://mlflow"},
        "resources": None,
        "pod_settings": None,
        "replicas": 1,
    }
    folder = Path(deployers.__file__).parents[1] / "templates" / "kubernetes"
    engine = KubernetesTemplateEngine()
    namespace = build_namespace_manifest(namespace="runs", labels=labels)
    return [namespace] + [
        resource
        for file in ("deployment.yaml.j2", "service.yaml.j2")
        for resource in engine.render_template(str(folder / file), context)
    ]


def applied(rendered, offered=NEW, **config):
    """Return what is applied, by kind, and the notes."""
    resources, notes = in_cluster(
        rendered, ClusterConfig(**config), "s1", lambda version, _: version in offered
    )
    return {each["kind"]: each for each in resources}, notes


def test_the_namespace_is_left_alone_and_all_else_is_valid(rendered):
    found, notes = applied(rendered)
    assert set(found) == {
        *("Deployment", "Service"),
        *("HorizontalPodAutoscaler", "PodDisruptionBudget"),
    }
    assert notes == ()
    for resource in found.values():
        kubernetes_validate.validate(resource, CURRENT, strict=True)
    assert rendered[0]["kind"] == "Namespace"
    assert "strategy" not in rendered[1]["spec"]  # what was given is not changed


def test_pods_are_restricted_drained_and_asked_by_the_apis_own_probes(rendered):
    spec = applied(rendered)[0]["Deployment"]["spec"]
    assert spec["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    pod = spec["template"]["spec"]
    assert pod["serviceAccountName"] == "steps"
    assert not pod["automountServiceAccountToken"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    (container,) = pod["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    written = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    assert set(written) == {"/var/lib/evergreen", "/tmp"}
    assert {volume["name"] for volume in pod["volumes"]} == set(written.values())
    for probe, path in (("liveness", "live"), ("readiness", "ready"), ("startup", "live")):
        assert container[f"{probe}Probe"]["httpGet"] == {"path": f"/health/{path}", "port": "http"}
    (wait,) = container["lifecycle"]["preStop"]["exec"]["command"][1:]
    assert float(wait) + 20 + 10 < GRACE == pod["terminationGracePeriodSeconds"]
    # What ZenML gave stays.
    assert container["args"] == ["--deployment_id", "42"]
    assert spec["template"]["metadata"]["labels"]["evergreen/snapshot"] == "s1"
    assert spec["selector"]["matchLabels"].items() <= spec["template"]["metadata"]["labels"].items()


@pytest.mark.parametrize(("offered", "version"), [(NEW, "v2"), (OLD, "v2beta2"), (NEW | OLD, "v2")])
def test_the_autoscaler_is_of_the_newest_version_that_there_is(rendered, offered, version):
    found, _ = applied(rendered, offered, replicas=3, max_replicas=7, requests_target=500)
    scaler = found["HorizontalPodAutoscaler"]
    assert scaler["apiVersion"] == f"autoscaling/{version}"
    assert (scaler["spec"]["minReplicas"], scaler["spec"]["maxReplicas"]) == (3, 7)
    assert scaler["spec"]["scaleTargetRef"]["name"] == found["Deployment"]["metadata"]["name"]
    processor, requests = scaler["spec"]["metrics"]
    assert processor["resource"]["target"]["averageUtilization"] == 70
    assert requests["pods"]["target"]["averageValue"] == "500"
    assert "replicas" not in found["Deployment"]["spec"]  # else a rollout undoes the scaling


def test_the_processor_alone_may_decide(rendered):
    found, _ = applied(rendered, requests_target=None)
    assert len(found["HorizontalPodAutoscaler"]["spec"]["metrics"]) == 1


def test_without_an_autoscaler_the_number_of_pods_stands(rendered):
    found, notes = applied(rendered, offered=set(), replicas=3)
    assert set(found) == {"Deployment", "Service"}
    assert found["Deployment"]["spec"]["replicas"] == 3
    assert "no more under load" in notes[0]

    found, notes = applied(rendered, replicas=3, max_replicas=3)
    assert "HorizontalPodAutoscaler" not in found
    assert found["Deployment"]["spec"]["replicas"] == 3
    assert notes == ()


def test_pods_get_what_the_use_case_says(rendered):
    resources = {
        "cpu": 2,
        "memory": "4Gi",
        "memory_limit": "6Gi",
        "node_selector": {"pool": "serving"},
        "tolerations": [{"key": "serving", "operator": "Exists"}],
    }
    pod = applied(rendered, resources=resources)[0]["Deployment"]["spec"]["template"]["spec"]
    assert pod["containers"][0]["resources"] == {
        "requests": {"cpu": "2", "memory": "4Gi"},
        "limits": {"memory": "6Gi"},
    }
    assert pod["nodeSelector"] == {"pool": "serving"}
    assert pod["tolerations"] == [{"key": "serving", "operator": "Exists"}]


def test_the_most_pods_are_no_fewer_than_the_least():
    assert DeployConfig().cluster.scales
    with pytest.raises(ValidationError, match="max_replicas is less than replicas"):
        ClusterConfig(replicas=3, max_replicas=2)
