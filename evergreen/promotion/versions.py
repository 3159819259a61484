"""Versions of a registered model: reading, creating, downloading and removing them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evergreen.errors import UnreachableError
from evergreen.promotion import registration as tag
from evergreen.promotion.bundle import Bundle
from evergreen.promotion.registration import RegisteredModel

if TYPE_CHECKING:
    from mlflow import MlflowClient

NOT_THERE = "RESOURCE_DOES_NOT_EXIST"


def aliases(client: MlflowClient, name: str) -> dict[str, str]:
    """Return a model's aliases with the version that each points to."""
    model = _or_none(client.get_registered_model, name)
    return {} if model is None else {alias: str(number) for alias, number in model.aliases.items()}


def model_tags(client: MlflowClient, name: str) -> dict[str, str]:
    """Return the tags of a registered model."""
    model = _or_none(client.get_registered_model, name)
    return {} if model is None else dict(model.tags)


def names(client: MlflowClient) -> list[str]:
    """Return the names of all registered models, in alphabetical order."""
    return sorted(model.name for model in _every_page(client.search_registered_models))


def numbers(client: MlflowClient, name: str) -> list[str]:
    """Return the numbers of a model's versions, the oldest first."""
    return [str(version.version) for version in _search(client, name)]


def get(client: MlflowClient, name: str, version: str) -> RegisteredModel | None:
    """Return one version, or None where there is no such version."""
    if not version.isdecimal():
        return None
    found = _or_none(client.get_model_version, name, version)
    if found is None:
        return None
    held = aliases(client, name)
    return RegisteredModel(
        name=name,
        version=str(found.version),
        aliases=tuple(alias for alias, number in held.items() if number == str(found.version)),
        training_key=found.tags.get(tag.TRAINING_KEY),
        data_fingerprint=found.tags.get(tag.DATA_FINGERPRINT),
        candidate=found.tags.get(tag.CANDIDATE),
        git_commit=found.tags.get(tag.GIT_COMMIT) or None,
        metrics=json.loads(found.tags.get(tag.METRICS, "{}")),
        judged_against=found.tags.get(tag.JUDGED_AGAINST) or None,
        decision=found.tags.get(tag.DECISION),
        run_id=found.run_id or None,
        zenml_run=found.tags.get(tag.ZENML_RUN) or None,
        bundle_uri=found.source,
        registered=datetime.fromtimestamp(found.creation_timestamp / 1000, UTC),
    )


def create(
    client: MlflowClient, name: str, bundle: Bundle, run_id: str, tags: dict[str, str]
) -> str:
    """Log a bundle as a model of the run, then make it a version; return its number."""
    _ensure_registered(client, name)
    experiment = client.get_run(run_id).info.experiment_id
    model = client.create_logged_model(
        experiment, name=name, source_run_id=run_id, tags={tag.MEANT_FOR: name}
    )
    client.log_model_artifacts(model.model_id, str(bundle.folder))
    client.finalize_logged_model(model.model_id, "READY")
    _link(client, model.model_id, run_id, bundle)
    version = client.create_model_version(
        name,
        # Its own address, not models:/ID, which MLflow would look up in its global store.
        source=model.artifact_location,
        run_id=run_id,
        tags={**_tags(bundle), **tags, tag.LOGGED_MODEL: model.model_id},
        model_id=model.model_id,
    )
    return str(version.version)


def download(tracking_uri: str, model: RegisteredModel, folder: Path) -> Path:
    """Copy a version's files into a folder inside ``folder``, and return it."""
    import mlflow.artifacts
    from mlflow.environment_variables import MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR
    from mlflow.exceptions import MlflowException

    if not MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR.is_set():
        MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR.set(False)  # it would draw into every log
    try:
        found = mlflow.artifacts.download_artifacts(
            artifact_uri=model.bundle_uri, dst_path=str(folder), tracking_uri=tracking_uri
        )
        return Path(found)
    except (MlflowException, OSError) as error:
        raise UnreachableError(
            f"The files of version {model.version} of {model.name!r} cannot be fetched from "
            f"{model.bundle_uri}: {error}"
        ) from error


def download_contract(tracking_uri: str, model: RegisteredModel, folder: Path) -> Path:
    """Copy a version's ``contract.json`` alone into ``folder``, and return where it is."""
    part = f"{model.bundle_uri.rstrip('/')}/contract.json"
    return download(tracking_uri, model.model_copy(update={"bundle_uri": part}), folder)


def remove_leftovers(client: MlflowClient, name: str, spared: Collection[str]) -> list[str]:
    """Remove versions that no decision knows, and uploads that became no version.

    ``spared`` are versions that a decision is under way about.
    """
    removed = []
    kept = set()
    held = {*aliases(client, name).values(), *spared}
    for version in _search(client, name):
        model = version.tags.get(tag.LOGGED_MODEL)
        if model is None or tag.DECISION in version.tags or str(version.version) in held:
            kept.add(model)
            continue
        client.delete_model_version(name, str(version.version))
        removed.append(f"Removed version {version.version}, which nobody had decided on.")
    for model in _logged_models(client, name):
        if model.model_id not in kept:
            client.delete_logged_model(model.model_id)
            if str(model.status) != "READY":
                removed.append(f"Removed the incomplete upload {model.model_id}.")
    return removed


def _ensure_registered(client: MlflowClient, name: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _link(client: MlflowClient, model_id: str, run_id: str, bundle: Bundle) -> None:
    """Show the model, with its figures, on the run's page."""
    from mlflow.entities import LoggedModelOutput, Metric

    client.log_outputs(run_id, [LoggedModelOutput(model_id, step=0)])
    now = int(time.time() * 1000)
    metrics = [
        Metric(f"holdout_{key}", value, now, 0, model_id=model_id, run_id=run_id)
        for key, value in _estimates(bundle).items()
        if value is not None
    ]
    client.log_batch(run_id, metrics=metrics)


def _tags(bundle: Bundle) -> dict[str, str]:
    origin = bundle.manifest.origin
    return {
        tag.TRAINING_KEY: origin.training_key,
        tag.DATA_FINGERPRINT: origin.data_fingerprint,
        tag.CANDIDATE: origin.candidate,
        tag.GIT_COMMIT: bundle.manifest.environment.git_commit or "",
        tag.METRICS: json.dumps(_estimates(bundle)),
    }


def _estimates(bundle: Bundle) -> dict[str, float | None]:
    return {key: interval.estimate for key, interval in bundle.figures.metrics.items()}


def _search(client: MlflowClient, name: str) -> list[Any]:
    search = partial(client.search_model_versions, f"name = '{name}'", max_results=1000)
    return sorted(_every_page(search), key=lambda version: int(version.version))


def _logged_models(client: MlflowClient, name: str) -> list[Any]:
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    wanted = f"tags.`{tag.MEANT_FOR}` = '{name}'"
    return _every_page(partial(client.search_logged_models, experiments, wanted))


def _every_page(search: Callable[..., Any]) -> list[Any]:
    found: list[Any] = []
    token = None
    while True:
        page = search(page_token=token)
        found += page
        token = page.token
        if not token:
            return found


def _or_none(read: Any, *arguments: str) -> Any:
    from mlflow.exceptions import MlflowException

    try:
        return read(*arguments)
    except MlflowException as error:
        if error.error_code == NOT_THERE:
            return None
        raise
