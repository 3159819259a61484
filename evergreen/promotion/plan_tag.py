"""The traffic plan as a tag of the registered model. `Registry` is the only writer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import ValidationError

from evergreen.errors import InputError
from evergreen.promotion import versions
from evergreen.promotion.registration import CHALLENGER
from evergreen.serving.traffic import TAG, TrafficPlan

if TYPE_CHECKING:
    from mlflow import MlflowClient


def read(client: MlflowClient, name: str) -> TrafficPlan | None:
    """Return the plan that is written down, whether it is void or not.

    Raises
    ------
    InputError
        If the tag holds no plan: somebody else wrote it.
    """
    text = versions.model_tags(client, name).get(TAG)
    if not text:
        return None
    try:
        return TrafficPlan.model_validate_json(text)
    except ValidationError as error:
        raise InputError(
            f"The tag {TAG} of the registered model {name!r} is no traffic plan "
            f"({error.errors()[0]['msg']}). Clear it: python run.py --traffic off"
        ) from error


def in_force(client: MlflowClient, name: str) -> TrafficPlan | None:
    """Return the plan, or None where there is none for the version that is challenger."""
    plan = read(client, name)
    if plan is None or plan.challenger != versions.aliases(client, name).get(CHALLENGER):
        return None
    return plan


def write(client: MlflowClient, name: str, plan: TrafficPlan | None) -> None:
    """Set the tag, or remove it; doing so twice changes nothing."""
    if plan is not None:
        client.set_registered_model_tag(name, TAG, plan.model_dump_json())
    elif TAG in versions.model_tags(client, name):
        client.delete_registered_model_tag(name, TAG)
