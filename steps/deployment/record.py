"""Write down what is deployed, and take away what it replaced."""

from __future__ import annotations

from typing import Annotated

from zenml import step
from zenml.client import Client

from evergreen.deployment.deployment_log import DeploymentEntry
from evergreen.deployment.values import DeploymentReport, Release
from evergreen.provenance import current_user
from steps.announcements import announce
from steps.deployment.rollout import Rollout
from steps.deployment.targets import open_log
from steps.deployment.verification import SmokeTest, or_back
from steps.workspace import run_name


@step(enable_cache=False)
def record_deployment(
    rollout: Rollout, smoke: SmokeTest, release: Release
) -> Annotated[DeploymentReport, "deployment"]:
    """Close the deployment in the log; from then on it stands, and old servers are stopped.

    Raises
    ------
    UnreachableError
        If the log cannot be written. What served before serves again then.
    """
    announce("Record the deployment")
    log = open_log()
    recorded = None
    with or_back(rollout, release) as targets:
        if rollout.started is not None:
            entry = DeploymentEntry(
                who=current_user(),
                use_case=release.name,
                action="deployed",
                closes=rollout.started,
                version=release.version,
                former=rollout.former,
                stack=Client().active_stack.name,
                servers=tuple(each.after for each in rollout.deployments),
                checks=smoke.checks,
                zenml_run=run_name(),
            )
            recorded = log.record(entry).time
    for target in targets:
        target.settle(rollout.of(target))
    return DeploymentReport(
        release=release,
        former=rollout.former,
        deployments=rollout.deployments,
        checks=smoke.checks,
        agreement=smoke.agreement,
        notes=rollout.notes,
        recorded=recorded,
    )
