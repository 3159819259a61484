"""From a table and a champion to a prediction for every row."""

from __future__ import annotations

from zenml import pipeline
from zenml.enums import ExecutionMode

from evergreen.config import UseCase
from steps.batch.scoring import find_model, score_table


@pipeline(
    name="batch",
    enable_step_logs=False,
    enable_pipeline_logs=False,
    enable_heartbeat=False,
    execution_mode=ExecutionMode.FAIL_FAST,
)
def batch(use_case: UseCase) -> None:
    """Score a whole table."""
    model = find_model(use_case)
    score_table(model, use_case)
