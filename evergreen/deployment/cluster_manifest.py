"""What a deployment of ZenML's becomes in a cluster: safe, drained, spread out and scaled.

ZenML renders a Deployment, a Service and a Secret. Here its Deployment gets what
deploy/kubernetes/base/api.yaml says of the API (probes of its own, a rolling update that loses no
request, Pod Security's ``restricted``), and an autoscaler and a disruption budget come along.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from evergreen.deployment.settings import ClusterConfig

Resource = dict[str, Any]
Offers = Callable[[str, str], bool]  # whether the cluster has a kind in an API version

HOME: Final = "/var/lib/evergreen"  # of every image
STATE: Final = f"{HOME}/state"
USER: Final = 10001  # of every image
DRAINING: Final = 20  # seconds that requests under way get at the end
LEAVING: Final = 5  # seconds until no node sends new connections to a pod that goes
GRACE: Final = LEAVING + DRAINING + 20  # the prediction log and ZenML's own end get the rest
STARTING: Final = 240  # seconds that a container may take to answer at all
REVISION: Final = "evergreen/snapshot"  # label of pods: the ZenML snapshot that they run
SCALERS: Final = ("autoscaling/v2", "autoscaling/v2beta2")
BUDGETS: Final = ("policy/v1", "policy/v1beta1")


def in_cluster(
    rendered: Sequence[Resource], config: ClusterConfig, revision: str, offers: Offers
) -> tuple[list[Resource], tuple[str, ...]]:
    """Return what is to be applied for what ZenML rendered, and what the cluster cannot do.

    The namespace is left alone: who may change it may change its Pod Security.
    """
    resources = [copy.deepcopy(each) for each in rendered if each["kind"] != "Namespace"]
    deployment = next(each for each in resources if each["kind"] == "Deployment")
    scaler = next((version for version in SCALERS if _scales(offers, version)), None)
    scaled = config.scales and scaler is not None
    _complete(deployment, config, revision, scaled=scaled)
    notes = []
    if scaled:
        resources.append(autoscaler(deployment, config, str(scaler)))
    elif config.scales:
        notes.append(
            f"The cluster has none of {', '.join(SCALERS)}: there are {config.replicas} pods, "
            "and no more under load."
        )
    budget = next((each for each in BUDGETS if offers(each, "PodDisruptionBudget")), None)
    if budget is not None:
        resources.append(disruption_budget(deployment, budget))
    return resources, tuple(notes)


def autoscaler(deployment: Resource, config: ClusterConfig, version: str) -> Resource:
    """Return a HorizontalPodAutoscaler by the processor and, if wanted, by requests."""
    metrics: list[Resource] = [
        {
            "type": "Resource",
            "resource": {
                "name": "cpu",
                "target": {"type": "Utilization", "averageUtilization": config.cpu_target},
            },
        }
    ]
    if config.requests_target is not None:
        metrics.append(
            {
                "type": "Pods",
                "pods": {
                    "metric": {"name": "evergreen_requests_per_second"},
                    "target": {
                        "type": "AverageValue",
                        "averageValue": str(config.requests_target),
                    },
                },
            }
        )
    return {
        "apiVersion": version,
        "kind": "HorizontalPodAutoscaler",
        "metadata": _like(deployment),
        "spec": {
            "scaleTargetRef": {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "name": deployment["metadata"]["name"],
            },
            "minReplicas": config.replicas,
            "maxReplicas": config.max_replicas,
            "metrics": metrics,
            "behavior": {
                "scaleDown": {
                    "stabilizationWindowSeconds": 300,
                    "policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}],
                }
            },
        },
    }


def disruption_budget(deployment: Resource, version: str) -> Resource:
    """Return a PodDisruptionBudget: a node's drain takes one pod at a time."""
    selector = deployment["spec"]["selector"]
    return {
        "apiVersion": version,
        "kind": "PodDisruptionBudget",
        "metadata": _like(deployment),
        "spec": {"maxUnavailable": 1, "selector": copy.deepcopy(selector)},
    }


def _scales(offers: Offers, version: str) -> bool:
    return offers(version, "HorizontalPodAutoscaler")


def _like(deployment: Resource) -> Resource:
    metadata = deployment["metadata"]
    return {name: copy.deepcopy(metadata[name]) for name in ("name", "namespace", "labels")}


def _complete(deployment: Resource, config: ClusterConfig, revision: str, *, scaled: bool) -> None:
    spec = deployment["spec"]
    if scaled:
        spec.pop("replicas", None)  # the autoscaler alone says how many
    else:
        spec["replicas"] = config.replicas
    spec |= {
        "revisionHistoryLimit": 3,
        "minReadySeconds": 5,
        "strategy": {
            "type": "RollingUpdate",
            "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1},
        },
    }
    template = spec["template"]
    template["metadata"].setdefault("labels", {})[REVISION] = revision
    pod = template["spec"]
    pod |= {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": GRACE,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "topologySpreadConstraints": [
            {
                "topologyKey": "kubernetes.io/hostname",
                "maxSkew": 1,
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": copy.deepcopy(spec["selector"]),
            }
        ],
        **_placement(config),
    }
    pod["volumes"] = [
        *pod.get("volumes", []),
        # Predictions wait here until they are in the database. It lives as long as the pod.
        {"name": "state", "emptyDir": {"sizeLimit": "4Gi"}},
        {"name": "tmp", "emptyDir": {"sizeLimit": "1Gi"}},
    ]
    _complete_container(pod["containers"][0], config)


def _complete_container(container: Resource, config: ClusterConfig) -> None:
    port = container["readinessProbe"]["httpGet"]["port"]
    container |= {
        "ports": [{"name": "http", "containerPort": port}],
        "startupProbe": _probe("live", 2, STARTING // 2),
        "livenessProbe": _probe("live", 10, 6),
        "readinessProbe": _probe("ready", 2, 2),
        # Requests still come until every node has heard that this pod is going.
        "lifecycle": {"preStop": {"exec": {"command": ["sleep", str(LEAVING)]}}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            *container.get("volumeMounts", []),
            {"name": "state", "mountPath": HOME},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108  (of the container)
        ],
    }
    if resources := config.resources.pod_settings().get("resources"):
        container["resources"] = resources


def _placement(config: ClusterConfig) -> Mapping[str, Any]:
    resources = config.resources
    tolerations = [each.model_dump(exclude_none=True) for each in resources.tolerations]
    return {
        **({"nodeSelector": dict(resources.node_selector)} if resources.node_selector else {}),
        **({"tolerations": tolerations} if tolerations else {}),
    }


def _probe(what: str, period: int, failures: int) -> Resource:
    return {
        "httpGet": {"path": f"/health/{what}", "port": "http"},
        "periodSeconds": period,
        "timeoutSeconds": 5,
        "failureThreshold": failures,
    }
