"""Which share of the traffic a challenger gets: the settings, and the plan that is in force.

The plan in force is a tag of the registered model, beside the aliases, so that every server of a
model reads it where it reads which version is champion; nothing else says how traffic is split.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Final, Literal

from pydantic import Field, model_validator

from evergreen.durations import Duration
from evergreen.values import Value

TAG: Final = "evergreen.traffic"  # of the registered model; its value is a plan as JSON

Percent = Annotated[float, Field(ge=0, le=100)]
Sticky = Annotated[str, Field(pattern=r"^(header:[A-Za-z0-9-]+|field:.+)$")]


class Guardrails(Value):
    """What sends a canary back, each measured against the champion at the same time."""

    error_rate: float = Field(
        0.01, gt=0, lt=1, description="Share of failed rows above the champion's, surely."
    )
    latency_ratio: float = Field(
        2.0, gt=1, description="95th percentile of latency, as a multiple of the champion's."
    )
    prediction_shift: float = Field(
        0.2, gt=0, le=1, description="Distance of the predictions' distributions (0 to 1), surely."
    )
    confidence: float = Field(0.99, gt=0.5, lt=1, description="Of what is called sure.")


class CanaryConfig(Value):
    """How a canary ramps: by steps, each held until it has been long and seen enough."""

    steps: tuple[Percent, ...] = Field(
        (5, 25, 50), min_length=1, description="Percent of the traffic at each step, rising."
    )
    hold: Duration = Field(timedelta(minutes=10), description="Shortest time of a step.")
    min_rows: int = Field(
        200, ge=1, description="Fewest rows of each arm in a step; of a batch, one."
    )
    guardrails: Guardrails = Field(Guardrails(), description="What sends it back.")

    @model_validator(mode="after")
    def _rises(self) -> CanaryConfig:
        rising = list(self.steps) == sorted(set(self.steps))
        if not rising or self.steps[0] <= 0 or self.steps[-1] >= 100:
            # At 100 the champion would answer nothing that the challenger could be compared with.
            raise ValueError("steps must rise, from above 0 to below 100, such as [5, 25, 50]")
        return self


class TrafficConfig(Value):
    """What traffic a version gets that waits as challenger (gate.approval: manual or canary)."""

    challenger: Literal["none", "shadow", "split"] = Field(
        "none",
        description="none; shadow: it scores and is logged, never returned; split: it answers "
        "its share. With gate.approval: canary it ramps whatever stands here.",
    )
    percent: Percent = Field(10, description="The challenger's share in a split.")
    sticky: Sticky | None = Field(
        "header:x-client-id",
        description="What keeps a caller with one arm: header:NAME or field:COLUMN. Requests "
        "without it, and null, are split one by one.",
    )
    canary: CanaryConfig = Field(CanaryConfig(), description="How a canary ramps.")


class TrafficPlan(Value):
    """What is in force for one challenger. A plan for a version that is not challenger is void."""

    challenger: str  # version
    mode: Literal["shadow", "split", "canary"]
    percent: Percent  # of the requests that the challenger answers; 0 in shadow mode
    sticky: Sticky | None = None
    salt: str = ""  # so that another plan draws other callers
    since: datetime  # UTC; of a canary: of its present step
    who: str
    canary: CanaryConfig | None = None
    step: int = 0  # index into ``canary.steps``
