"""A SeldonDeployment (machinelearning.seldon.io/v1) from typed values.

Each arm is a predictor of its own, so that Seldon's ingress splits the traffic by their weights;
a shadow gets a copy of all of it, and its answers go nowhere. Models come from the registry.
"""

from __future__ import annotations

import io
import re
from typing import Annotated, Any, Final, Literal

from pydantic import Field, model_validator

from evergreen.deployment.cluster_manifest import HOME, USER
from evergreen.serving.settings import ServingConfig
from evergreen.values import Value

PORT: Final = 9000  # Seldon's first port for a component
PORTS: Final = {"v2": {"http": PORT}, "seldon": {"http": PORT, "grpc": 9500, "metrics": 6000}}
_LABEL: Final = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"  # RFC 1123
Name = Annotated[str, Field(pattern=_LABEL, max_length=40)]
Quantity = Annotated[str, Field(pattern=r"^[0-9]+(\.[0-9]+)?(m|[KMGT]i?)?$")]


class SeldonArm(Value):
    """One predictor: what it serves, and its share of the traffic."""

    name: Name = Field(description="Of the predictor, such as champion.")
    alias: str | None = Field(None, description="Serves what an alias names, now and later.")
    version: str | None = Field(None, description="Serves this version, for good.")
    traffic: int = Field(100, ge=0, le=100, description="Percent of the requests.")
    shadow: bool = Field(False, description="Gets a copy of the requests; never answers.")
    replicas: int = Field(1, ge=0, description="Pods.")

    @model_validator(mode="after")
    def _names_one_model(self) -> SeldonArm:
        if (self.alias is None) == (self.version is None):
            raise ValueError("name either an alias or a version")
        return self

    def address(self, model: str) -> str:
        """Return the model's address in MLflow's notation."""
        version = f"/{self.version}" if self.version is not None else f"@{self.alias}"
        return f"models:/{model}{version}"


class SeldonValues(Value):
    """What a SeldonDeployment is rendered from."""

    name: Name
    namespace: Name = "default"
    model: str = Field(min_length=1, description="Registered name of the model.")
    protocol: Literal["v2", "seldon"] = Field(
        "v2", description="v2: the serving image. seldon: the wrapper image."
    )
    image: str = Field(min_length=1, description="Of the kind that protocol says.")
    registry: str = Field(pattern=r"^https?://", description="MLflow's address from the pods.")
    arms: tuple[SeldonArm, ...] = (SeldonArm(name="champion", alias="champion"),)
    secret: Name | None = Field(
        None, description="Kubernetes secret whose entries become variables, such as passwords."
    )
    serving: ServingConfig = Field(
        ServingConfig(), description="What is refused and logged; the wrapper image alone reads it."
    )
    cpu: Quantity = "250m"
    memory: Quantity = "512Mi"

    @model_validator(mode="after")
    def _is_consistent(self) -> SeldonValues:
        names = [arm.name for arm in self.arms]
        if len(set(names)) != len(names):
            raise ValueError("two arms have the same name")
        answering = [arm for arm in self.arms if not arm.shadow]
        if not answering or sum(arm.traffic for arm in answering) != 100:
            raise ValueError("the traffic of the arms that answer must add up to 100")
        if self.protocol == "v2" and not re.fullmatch(_LABEL, self.model):
            # Seldon asks /v2/models/NAME by the container's name, which must be such a label.
            raise ValueError(
                f"the model {self.model!r} cannot be asked by protocol v2, whose names hold small "
                "letters, digits and hyphens alone; use protocol seldon"
            )
        if self.protocol == "v2" and self.serving != ServingConfig():
            raise ValueError("serving is read by the wrapper image alone (protocol seldon)")
        return self


def seldon_deployment(values: SeldonValues) -> dict[str, Any]:
    """Return the manifest."""
    return {
        "apiVersion": "machinelearning.seldon.io/v1",
        "kind": "SeldonDeployment",
        "metadata": {
            "name": values.name,
            "namespace": values.namespace,
            "labels": {
                "app.kubernetes.io/name": values.name,
                "app.kubernetes.io/part-of": "evergreen",
            },
        },
        "spec": {
            "protocol": values.protocol,
            "predictors": [_predictor(values, arm) for arm in values.arms],
        },
    }


def to_yaml(manifest: dict[str, Any]) -> str:
    """Return the manifest as ``kubectl apply`` takes it."""
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.width = 100
    text = io.StringIO()
    yaml.dump(manifest, text)
    return text.getvalue()


def _predictor(values: SeldonValues, arm: SeldonArm) -> dict[str, Any]:
    node = component_name(values.model)
    graph: dict[str, Any] = {"name": node, "type": "MODEL"}
    if values.protocol == "seldon":
        graph["parameters"] = [
            {"name": "model_uri", "type": "STRING", "value": arm.address(values.model)}
        ]
    predictor: dict[str, Any] = {
        "name": arm.name,
        "replicas": arm.replicas,
        "graph": graph,
        "componentSpecs": [{"spec": _pod(values, arm, node)}],
    }
    return predictor | ({"shadow": True} if arm.shadow else {"traffic": arm.traffic})


def component_name(model: str) -> str:
    """Return a model's name as a container may have it."""
    return re.sub(r"[^a-z0-9]+", "-", model.lower()).strip("-") or "model"


def _pod(values: SeldonValues, arm: SeldonArm, node: str) -> dict[str, Any]:
    container: dict[str, Any] = {
        "name": node,
        "image": values.image,
        "env": _variables(values),
        "ports": [
            {"name": name, "containerPort": port} for name, port in PORTS[values.protocol].items()
        ],
        "resources": {
            "requests": {"cpu": values.cpu, "memory": values.memory},
            "limits": {"memory": values.memory},
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "startupProbe": {**_probe(values), "periodSeconds": 2, "failureThreshold": 60},
        "readinessProbe": {**_probe(values), "periodSeconds": 5, "timeoutSeconds": 5},
        "livenessProbe": {**_probe(values), "periodSeconds": 30, "timeoutSeconds": 5},
        "volumeMounts": [
            {"name": "state", "mountPath": HOME},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108  (of the container)
        ],
    }
    if values.secret is not None:
        container["envFrom"] = [{"secretRef": {"name": values.secret}}]
    if values.protocol == "v2":
        which = ["--version", arm.version] if arm.version else ["--alias", arm.alias]
        container["args"] = ["--model", values.model, *which, "--registry", values.registry]
    return {
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": [{"name": "state", "emptyDir": {}}, {"name": "tmp", "emptyDir": {}}],
    }


def _variables(values: SeldonValues) -> list[dict[str, str]]:
    if values.protocol == "v2":
        # Seldon's orchestrator stands in the same pod; nobody else is to ask the server itself.
        return [
            {"name": "EVERGREEN_SERVING_HOST", "value": "127.0.0.1"},
            {"name": "EVERGREEN_SERVING_PORT", "value": str(PORT)},
        ]
    variables = [{"name": "MLFLOW_TRACKING_URI", "value": values.registry}]
    if values.serving != ServingConfig():
        settings = values.serving.model_dump_json(exclude_defaults=True)
        settings = settings.replace("$(", "$$(")  # Kubernetes would put the variable in as it is
        variables.append({"name": "EVERGREEN_SERVING_SETTINGS", "value": settings})
    return variables


def _probe(values: SeldonValues) -> dict[str, Any]:
    if values.protocol == "v2":
        return {"exec": {"command": ["python", "-m", "evergreen.serving.probe"]}}
    return {"httpGet": {"path": "/health/status", "port": "http"}}
