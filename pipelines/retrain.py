"""From labelled rows of the prediction log to a judged challenger of the champion."""

from __future__ import annotations

from typing import Any

from zenml import pipeline

from evergreen.config import UseCase
from evergreen.monitoring.turns import RetrainRequest
from pipelines.pipeline_options import OPTIONS
from pipelines.placement import Placement
from pipelines.train import make_challenger
from steps.data.tables import check_quality
from steps.monitoring.retraining import select_training_rows, split_by_recency


@pipeline(name="retrain", **OPTIONS)
def retrain(use_case: UseCase, request: RetrainRequest, command: str) -> None:
    """Train on what came true lately; judge on the newest of it, against the champion."""
    learn_anew(use_case, request, command)


def learn_anew(use_case: UseCase, request: RetrainRequest, command: str) -> Any:
    """Choose the rows, check and divide them, and make a challenger; return its registration."""
    today = str(request.until.date()) if use_case.data.expires_after else None
    at = Placement(use_case)
    raw_table, contract, selection = at(select_training_rows)(use_case, request)
    table_quality, data_report = at(check_quality)(raw_table, contract, use_case, today)
    training_rows, holdout_rows, data = at(split_by_recency)(
        raw_table, contract, table_quality, data_report, selection, use_case
    )
    return make_challenger(training_rows, holdout_rows, data, data_report, use_case, command)
