"""The section ``deploy`` of a use case: where its servers listen on this machine."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from pydantic import Field, model_validator

from evergreen.durations import Duration
from evergreen.values import Value

Port = Annotated[int, Field(ge=1, le=65535)]


class DeployConfig(Value):
    """Where the servers of a local stack listen, and how long they may take to start."""

    port: Port = Field(8000, description="Of the contract API.")
    mlflow_ports: tuple[Port, Port] = Field(
        (8001, 8002),
        description="Of MLflow's server: a new version starts on the one that is free, and the "
        "former one goes when it has proved itself.",
    )
    timeout: Duration = Field(
        timedelta(minutes=3),
        description="Longest wait for a server to answer.",
        json_schema_extra={"default": "3m"},
    )

    @model_validator(mode="after")
    def _ports_differ(self) -> DeployConfig:
        if len({self.port, *self.mlflow_ports}) < 3:
            raise ValueError("port and mlflow_ports must be three different ports")
        return self
