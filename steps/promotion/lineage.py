"""Show a registered version, with everything it came from, in ZenML's Model Control Plane."""

from __future__ import annotations

from contextlib import suppress

from zenml import get_step_context
from zenml.client import Client
from zenml.exceptions import EntityExistsError
from zenml.model.utils import link_artifact_version_to_model_version
from zenml.models import ModelVersionResponse

from evergreen.reporting.facts import TrainingFacts


def link_lineage(version: str, facts: TrainingFacts) -> None:
    """Link every artifact of the running pipeline to the model version of the registry's number.

    Safe to repeat: what is linked stays linked.
    """
    name = facts.use_case.name
    model_version = _model_version(name, version, facts.verdict.summary)
    run = Client().get_pipeline_run(get_step_context().pipeline_run.id)
    for step_run in run.steps.values():
        for artifact in step_run.regular_outputs.values():
            link_artifact_version_to_model_version(artifact, model_version)


def _model_version(name: str, version: str, description: str) -> ModelVersionResponse:
    client = Client()
    with suppress(EntityExistsError):
        client.create_model(name)
    label = f"v{version}"  # ZenML keeps plain numbers for its own count
    try:
        return client.create_model_version(name, name=label, description=description)
    except EntityExistsError:
        return client.get_model_version(name, label)
