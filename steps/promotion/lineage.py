"""Show a registered version, with everything it came from, in ZenML's Model Control Plane."""

from __future__ import annotations

from contextlib import suppress

from zenml import get_step_context, step
from zenml.client import Client
from zenml.exceptions import EntityExistsError
from zenml.model.utils import link_artifact_version_to_model_version
from zenml.models import ModelVersionResponse

from evergreen.promotion.registration import Registration
from evergreen.reporting.facts import TrainingFacts
from steps.announcements import announce


@step(enable_cache=False)
def link_lineage(registration: Registration, facts: TrainingFacts) -> None:
    """Link what the run made to the model version of the registry's number.

    A version that an unchanged training was served from keeps the links that it has.
    """
    if registration.version is None:
        return
    announce("Link the lineage")
    model_version = _model_version(facts.use_case.name, registration.version, facts.verdict.summary)
    links = Client().list_model_version_artifact_links(model_version_id=model_version.id, size=1)
    if registration.status == "unchanged" and links.total:
        return
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
