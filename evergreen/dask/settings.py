"""The part of a use case that says which Dask cluster works for it."""

from __future__ import annotations

from pydantic import Field, model_validator

from evergreen.resources import Memory
from evergreen.values import Value


class DaskConfig(Value):
    """Either a scheduler that runs already, or processes that this machine starts for a run."""

    scheduler: str | None = Field(
        None,
        pattern=r"^(tcp|tls|ws|wss)://.+:\d+$",
        description="Address of a running scheduler, such as tcp://scheduler:8786.",
    )
    workers: int | None = Field(
        None, ge=1, description="Processes that are started on this machine, and ended again."
    )
    memory: Memory | None = Field(
        None,
        description="Of each process, such as 4Gi; with workers. Default: their share of all.",
    )

    @model_validator(mode="after")
    def _one_cluster(self) -> DaskConfig:
        if self.scheduler is not None and self.workers is not None:
            raise ValueError("has both a scheduler and workers; keep one")
        if self.memory is not None and self.workers is None:
            raise ValueError("memory is that of workers on this machine; say how many, too")
        return self

    @property
    def chosen(self) -> bool:
        """Whether it names a cluster at all."""
        return self.scheduler is not None or self.workers is not None

    @property
    def elsewhere(self) -> bool:
        """Whether it may have cores that this process has not: those of other machines."""
        return self.scheduler is not None

    @property
    def title(self) -> str:
        """What it is called in sentences."""
        if self.scheduler is not None:
            return f"the Dask cluster {self.scheduler}"
        return f"{self.workers} Dask worker{'s' * (self.workers != 1)} on this machine"
