"""From a champion to servers that answer as it does."""

from __future__ import annotations

from zenml import pipeline

from evergreen.config import UseCase
from pipelines.pipeline_options import OPTIONS
from pipelines.placement import Placement
from steps.deployment.champion import resolve_champion, verify_bundle
from steps.deployment.record import record_deployment
from steps.deployment.rollout import deploy_everywhere
from steps.deployment.verification import smoke_test


@pipeline(name="deploy", **OPTIONS)
def deploy(use_case: UseCase) -> None:
    """Bring the champion of one use case to every serving component of the active stack."""
    at = Placement(use_case)
    champion = at(resolve_champion)(use_case.name)
    release = at(verify_bundle)(champion)

    rollout = at(deploy_everywhere)(release, use_case)
    answers = at(smoke_test)(rollout, release)

    at(record_deployment)(rollout, answers, release)
