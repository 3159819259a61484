"""The section ``resources`` of a use case: what its steps get where they run in containers."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from evergreen.values import Value

_BYTES = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_BYTES |= {f"{unit}i": 1024**power for power, unit in enumerate("KMGT", start=1)}
_QUANTITY = re.compile(r"^([0-9]+(?:\.[0-9]+)?)([A-Za-z]*)$")


def memory_in_bytes(text: str) -> float:
    """Return what a Kubernetes quantity such as ``2Gi`` says, in bytes; raise ValueError else."""
    found = _QUANTITY.match(text)
    if found is None or found[2] not in _BYTES or float(found[1]) <= 0:
        raise ValueError(f"{text!r} is no amount of memory; write such as 512Mi or 4Gi")
    return float(found[1]) * _BYTES[found[2]]


def _checked_memory(text: str) -> str:
    memory_in_bytes(text)
    return text


Memory = Annotated[str, AfterValidator(_checked_memory)]


class Toleration(Value):
    """A taint of nodes that a step puts up with (Kubernetes' ``Toleration``)."""

    key: str | None = Field(None, description="Of the taint; none: every key.")
    operator: Literal["Equal", "Exists"] = Field("Equal", description="How the key is compared.")
    value: str | None = Field(None, description="Of the taint, for Equal.")
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = Field(
        None, description="Of the taint; none: every effect."
    )


class StepResources(Value):
    """What one step's container asks for, and where it may run."""

    cpu: float | None = Field(None, gt=0, description="Processors that are kept for it.")
    cpu_limit: float | None = Field(None, gt=0, description="Processors at most.")
    memory: Memory | None = Field(None, description="Memory that is kept for it, such as 2Gi.")
    memory_limit: Memory | None = Field(None, description="Over it, the step is ended.")
    gpu: int = Field(0, ge=0, description="Graphics processors (nvidia.com/gpu).")
    node_selector: dict[str, str] = Field({}, description="Labels that its node must have.")
    tolerations: tuple[Toleration, ...] = Field((), description="Taints that it puts up with.")

    @model_validator(mode="after")
    def _limits_hold(self) -> StepResources:
        if self.cpu and self.cpu_limit and self.cpu > self.cpu_limit:
            raise ValueError("cpu is more than cpu_limit")
        if (
            self.memory
            and self.memory_limit
            and memory_in_bytes(self.memory) > memory_in_bytes(self.memory_limit)
        ):
            raise ValueError("memory is more than memory_limit")
        return self

    def pod_settings(self) -> dict[str, object]:
        """Return them as ZenML's ``KubernetesPodSettings`` has them; empty where none are set."""
        # Kubernetes' own rule: who names a limit alone asks for as much. ZenML would ask for 400Mi.
        requests = {"cpu": _shown(self.cpu), "memory": self.memory or self.memory_limit}
        gpu = str(self.gpu) if self.gpu else None
        limits = {
            "cpu": _shown(self.cpu_limit),
            "memory": self.memory_limit,
            "nvidia.com/gpu": gpu,
        }
        resources = {
            kind: given
            for kind, amounts in (("requests", requests), ("limits", limits))
            if (given := {name: amount for name, amount in amounts.items() if amount is not None})
        }
        settings: dict[str, object] = {
            "resources": resources,
            "node_selectors": self.node_selector,
            "tolerations": [each.model_dump(exclude_none=True) for each in self.tolerations],
        }
        return {name: value for name, value in settings.items() if value}


def _shown(processors: float | None) -> str | None:
    return None if processors is None else f"{processors:g}"


StepName = Literal[
    "load_table",
    "define_contract",
    "check_quality",
    "split_table",
    "select_training_rows",
    "split_by_recency",
    "search_candidates",
    "fit_challenger",
    "find_champion",
    "evaluate_on_holdout",
    "judge_challenger",
    "assemble_bundle",
    "publish_challenger",
    "link_lineage",
    "find_model",
    "score_table",
    "observe_window",
    "decide_window",
    "resolve_champion",
    "verify_bundle",
    "deploy_everywhere",
    "smoke_test",
    "record_deployment",
]  # of the pipelines; the dynamic one's other steps take moments


class ResourcesConfig(Value):
    """What the steps of a use case get; on the local stack they share this machine."""

    default: StepResources = Field(StepResources(), description="Of every step.")
    steps: dict[StepName, StepResources] = Field(
        {}, description="Step, such as search_candidates: what it has on top of the default."
    )

    def of(self, step: StepName) -> StepResources:
        """Return what a step gets; of what both say, the step's own counts."""
        own = self.steps.get(step, StepResources()).model_dump(exclude_unset=True)
        return StepResources.model_validate({**self.default.model_dump(exclude_unset=True), **own})

    @model_validator(mode="after")
    def _limits_hold_together(self) -> ResourcesConfig:
        for step in self.steps:
            self.of(step)
        return self
