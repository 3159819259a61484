"""From a window of what the champion saw to a decision."""

from __future__ import annotations

from typing import Any

from zenml import pipeline
from zenml.enums import ExecutionMode

from evergreen.config import UseCase
from pipelines.placement import Placement
from steps.monitoring.window import decide_window, find_champion, observe_window


@pipeline(
    name="monitor",
    enable_step_logs=False,
    enable_pipeline_logs=False,
    enable_heartbeat=False,
    execution_mode=ExecutionMode.FAIL_FAST,
)
def monitor(use_case: UseCase, seconds: float | None = None) -> None:
    """Judge the newest window of one use case, and say what is to be done."""
    judge_newest_window(use_case, seconds)


def judge_newest_window(use_case: UseCase, seconds: float | None = None) -> Any:
    """Observe a window of the champion's, decide, and return it as pipelines pass it on."""
    at = Placement(use_case)
    model = at(find_champion)(use_case)
    observed, figures = at(observe_window)(model, use_case, seconds)
    window, _ = at(decide_window)(observed, figures, use_case)
    return window
