"""From a window of what the champion saw to a decision."""

from __future__ import annotations

from typing import Any

from zenml import pipeline

from evergreen.config import UseCase
from pipelines.pipeline_options import OPTIONS
from pipelines.placement import Placement, part_steps
from steps.monitoring.window import (
    count_part,
    decide_window,
    find_champion,
    judge_parts,
    observe_window,
    plan_window,
)


@pipeline(name="monitor", **OPTIONS)
def monitor(use_case: UseCase, seconds: float | None = None) -> None:
    """Judge the newest window of one use case, and say what is to be done."""
    judge_newest_window(use_case, seconds)


def judge_newest_window(use_case: UseCase, seconds: float | None = None) -> Any:
    """Observe a window of the champion's, decide, and return it as pipelines pass it on."""
    at = Placement(use_case)
    model = at(find_champion)(use_case)
    if not use_case.monitoring.in_steps:
        observed, figures = at(observe_window)(model, use_case, seconds)
    else:
        plan = at(plan_window)(model, use_case, seconds)
        count = at.apart(count_part, "observe_window")
        counted = [
            count(model, plan, use_case, number, id=name)
            for number, name in enumerate(part_steps(use_case))
        ]
        observed, figures = at(judge_parts)(counted, model, plan, use_case)
    window, _ = at(decide_window)(observed, figures, use_case)
    return window
