"""The section ``deploy`` of a use case: where servers listen, and what they get in a cluster."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field, model_validator

from evergreen.durations import Duration
from evergreen.resources import Memory, StepResources
from evergreen.values import Value

Port = Annotated[int, Field(ge=1, le=65535)]


class PodResources(StepResources):
    """What one pod of the API asks for."""

    cpu: float | None = Field(0.5, gt=0, description="Processors that are kept for it.")
    memory: Memory | None = Field("1Gi", description="Memory that is kept for it.")
    memory_limit: Memory | None = Field("2Gi", description="Over it, the pod is ended.")


class ClusterConfig(Value):
    """How the contract API runs in a cluster: its pods, and when there are more of them."""

    replicas: int = Field(2, ge=1, description="Pods at least.")
    max_replicas: int = Field(10, ge=1, description="Pods at most; as many as replicas: always.")
    cpu_target: int = Field(
        70, ge=1, description="Percent of the kept processors in use from which pods are added."
    )
    requests_target: int | None = Field(
        1000,
        ge=1,
        description="Requests a second and pod from which pods are added; it needs Prometheus and "
        "its adapter. None: the processors alone decide.",
    )
    resources: PodResources = Field(PodResources(), description="What a pod gets.")

    @model_validator(mode="after")
    def _is_a_range(self) -> ClusterConfig:
        if self.max_replicas < self.replicas:
            raise ValueError("max_replicas is less than replicas")
        return self

    @property
    def scales(self) -> bool:
        """Whether the number of pods may change."""
        return self.max_replicas > self.replicas


class SeldonConfig(Value):
    """What a stack's Seldon serves: our images, by Seldon's operator."""

    image: str = Field(
        min_length=1,
        description="Of the kind that protocol says, from deploy/Dockerfile.serve "
        "or deploy/seldon/Dockerfile.",
    )
    protocol: Literal["v2", "seldon"] = Field(
        "v2", description="v2 (Open Inference Protocol): the serving image. seldon: the wrapper."
    )
    challenger: int = Field(
        0, ge=0, lt=100, description="Percent of the requests that the challenger answers."
    )
    replicas: int = Field(1, ge=1, description="Pods of each of the two.")
    registry: str | None = Field(
        None, description="MLflow's address from the pods; none: the stack's."
    )
    secret: str | None = Field(
        None, description="Kubernetes secret whose entries become variables, such as passwords."
    )


class DeployConfig(Value):
    """Where servers listen, how long they may take to start, and what they get in a cluster."""

    port: Port = Field(8000, description="Of the contract API.")
    mlflow_ports: tuple[Port, Port] = Field(
        (8001, 8002),
        description="Of MLflow's server: a new version starts on the one that is free, and the "
        "former one goes when it has proved itself.",
    )
    timeout: Duration = Field(
        timedelta(minutes=3),
        description="Longest wait for a server, or one more pod of it, to answer.",
        json_schema_extra={"default": "3m"},
    )

    cluster: ClusterConfig = Field(
        ClusterConfig(), description="How the contract API runs in a cluster."
    )

    seldon: SeldonConfig | None = Field(
        None, description="What Seldon serves, on a stack with a model deployer of that flavor."
    )

    @model_validator(mode="after")
    def _ports_differ(self) -> DeployConfig:
        if len({self.port, *self.mlflow_ports}) < 3:
            raise ValueError("port and mlflow_ports must be three different ports")
        return self
