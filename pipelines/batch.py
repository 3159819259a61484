"""From a table and a champion to a prediction for every row."""

from __future__ import annotations

from zenml import pipeline

from evergreen.config import UseCase
from pipelines.pipeline_options import OPTIONS
from pipelines.placement import Placement, partition_steps
from steps.batch.scoring import find_model, join_partitions, score_partition, score_table


@pipeline(name="batch", **OPTIONS)
def batch(use_case: UseCase) -> None:
    """Score a whole table."""
    at = Placement(use_case)
    model = at(find_model)(use_case)
    if not use_case.batch.in_steps:
        at(score_table)(model, use_case)
        return
    score = at.apart(score_partition, "score_table")
    parts = [
        score(model, use_case, number, id=name)
        for number, name in enumerate(partition_steps(use_case))
    ]
    at(join_partitions)(parts, model, use_case)
