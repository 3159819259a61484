"""Traffic plans, and challengers beside an API's champion."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from evergreen.serving.runtime import Outputs, load_runtime
from evergreen.serving.traffic import CanaryConfig, TrafficPlan
from tests.support.contract_api import PROMISES, Api, promised


def plan_of(mode: str = "split", percent: float = 50, **changed: Any) -> TrafficPlan:
    """Return a plan for version 4."""
    fields = {
        "challenger": "4",
        "mode": mode,
        "percent": 0 if mode == "shadow" else percent,
        "sticky": "header:x-client-id",
        "salt": "salt",
        "since": datetime(2026, 5, 1, tzinfo=UTC),
        "who": "ada",
        "canary": CanaryConfig(steps=(percent,)) if mode == "canary" else None,
    }
    return TrafficPlan.model_validate({**fields, **changed})


class Challenger:
    """A bundle's runtime that can be told to fail, or to wait."""

    def __init__(self, folder: Path) -> None:
        self._runtime = load_runtime(folder)
        self.contract = promised(self._runtime.contract, PROMISES)
        self.manifest, self.kind = self._runtime.manifest, self._runtime.kind
        self.bundle, self.bundle_version = self._runtime.bundle, "4"
        self.how = "well"
        self.asked: list[Any] = []

    def predict(self, batch: Any) -> Outputs:
        self.asked.append(batch)
        if self.how == "raises":
            raise RuntimeError("the challenger is broken")
        found = self._runtime.predict(batch)
        if self.how == "not finite":
            nothing = np.full_like(found.probabilities, np.nan)
            return Outputs(found.predictions, nothing, found.labels)
        return found

    def explain(self, batch: Any) -> Any:
        return self._runtime.explain(batch)


def challenge(api: Api, folder: Path, plan: TrafficPlan) -> Challenger:
    """Put a challenger beside the champion of an API."""
    runtime = Challenger(folder)
    api.holder.direct(api.holder.offer(runtime, plan.challenger), plan)
    return runtime
