"""The pipelines as they run in a cluster: in the pod of the run, and in more where that pays.

A pod needs ten seconds before a step's work begins, and most steps are done in less than one. So
the steps of a run share its own pod, but for those that run beside others (candidates, parts of a
table) or are to have resources or rights of their own: `pipelines.placement` sees to these. ZenML
calls a pipeline that does so dynamic. What each one does is the function that runs on other stacks.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, Final

from zenml import pipeline
from zenml.pipelines.pipeline_definition import Pipeline

from evergreen.config import UseCase
from evergreen.monitoring.turns import RetrainRequest
from pipelines.pipeline_options import OPTIONS

_OPTIONS: Final[dict[str, Any]] = {"dynamic": True, **OPTIONS}


@pipeline(name="train", **_OPTIONS)
def train_in_pods(use_case: UseCase, command: str) -> None:
    """Do what `pipelines.train` does."""
    from pipelines.train import train

    train.entrypoint(use_case, command)


@pipeline(name="retrain", **_OPTIONS)
def retrain_in_pods(use_case: UseCase, request: RetrainRequest, command: str) -> None:
    """Do what `pipelines.retrain` does."""
    from pipelines.retrain import retrain

    retrain.entrypoint(use_case, request, command)


@pipeline(name="monitor", **_OPTIONS)
def monitor_in_pods(use_case: UseCase, seconds: float | None = None) -> None:
    """Do what `pipelines.monitor` does."""
    from pipelines.monitor import monitor

    monitor.entrypoint(use_case, seconds)


@pipeline(name="batch", **_OPTIONS)
def batch_in_pods(use_case: UseCase) -> None:
    """Do what `pipelines.batch` does."""
    from pipelines.batch import batch

    batch.entrypoint(use_case)


@pipeline(name="deploy", **_OPTIONS)
def deploy_in_pods(use_case: UseCase) -> None:
    """Do what `pipelines.deploy` does."""
    from pipelines.deploy import deploy

    deploy.entrypoint(use_case)


IN_PODS: Final[dict[str, Pipeline]] = {
    each.name: each
    for each in (train_in_pods, retrain_in_pods, monitor_in_pods, batch_in_pods, deploy_in_pods)
}


def pipeline_called(name: str) -> Pipeline:
    """Return a pipeline as the active stack runs it; in a cluster its steps are imported there."""
    from zenml.client import Client

    from pipelines.pods import in_cluster

    if in_cluster(Client().active_stack):
        return IN_PODS[name]
    found: Pipeline = getattr(import_module(f"pipelines.{name}"), name)
    return found
