"""What a training run leaves in MLflow."""

from __future__ import annotations

from collections.abc import Mapping

from mlflow import MlflowClient

from evergreen import provenance
from evergreen.promotion import tracking
from evergreen.reporting.facts import TrainingFacts
from evergreen.reporting.style import Drawing, standalone
from steps.workspace import run_name


def record_run(
    client: MlflowClient, run_id: str, facts: TrainingFacts, drawings: Mapping[str, Drawing]
) -> None:
    """Log data, provenance, candidates (a nested run each), evaluations and figures."""
    data = facts.data
    tracking.log_data(
        client,
        run_id,
        name=facts.use_case.name,
        fingerprint=data.fingerprint,
        source=data.source,
        rows=data.rows,
        columns=[column.name for column in data.contract.columns],
    )
    tracking.log_provenance(
        client, run_id, provenance.environment(), {"evergreen.zenml_run": run_name()}
    )
    experiment = client.get_run(run_id).info.experiment_id
    tracking.log_search(client, experiment, run_id, facts.search)
    tracking.log_evaluation(client, run_id, facts.challenger)
    for prefix, evaluation in (("baseline", facts.baseline), ("champion", facts.champion)):
        if evaluation is not None:
            tracking.log_evaluation(client, run_id, evaluation, prefix)
    tracking.log_figures(
        client, run_id, {name: standalone(drawing) for name, drawing in drawings.items()}
    )
