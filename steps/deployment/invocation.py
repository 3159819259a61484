"""The pipeline that a deployed API hosts: one row, one answer, one recorded run.

What ZenML deploys is always a pipeline; ``zenml deployment invoke`` runs this one.
"""

from __future__ import annotations

from typing import Annotated, Any

import httpx
from zenml import pipeline, step
from zenml.client import Client

from evergreen.errors import RefusedError, UnreachableError


def deployment_name(model: str) -> str:
    """Return what ZenML calls the deployment of a model's API."""
    return f"{model}_api"


@step(enable_cache=False)
def predict_row(model: str, row: dict[str, Any]) -> Annotated[dict[str, Any], "answer"]:
    """Send a row through the deployed API's own door: checked, logged and counted like any other.

    Raises
    ------
    UnreachableError
        If the API does not answer.
    RefusedError
        If it refuses the row.
    """
    deployment = Client().get_deployment(deployment_name(model))
    url, key = deployment.url, deployment.auth_key
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        response = httpx.post(f"{url}/predict", json=row, headers=headers, timeout=30)
    except httpx.HTTPError as error:
        raise UnreachableError(f"The API at {url} does not answer: {error}") from error
    if response.status_code != 200:
        raise RefusedError(f"The API at {url} refuses the row: {response.text[:500]}")
    answer: dict[str, Any] = response.json()
    return answer


@pipeline(name="contract_api", enable_cache=False)
def contract_api(model: str, row: dict[str, Any]) -> Annotated[dict[str, Any], "answer"]:
    """Ask the deployed API of a model for one row."""
    answer: dict[str, Any] = predict_row(model, row)
    return answer
