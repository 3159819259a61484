"""Every pipeline has the same steps on every stack file, each in its place with its resources."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from inspect import signature
from types import SimpleNamespace
from typing import get_args

import pytest
from zenml.client import Client
from zenml.config import DockerSettings
from zenml.pipelines.pipeline_definition import Pipeline
from zenml.utils import source_utils

from evergreen.monitoring.turns import RetrainRequest
from evergreen.resources import StepName
from evergreen.training.search import alone
from evergreen.use_case import load_use_case
from pipelines import elsewhere
from pipelines.in_pods import IN_PODS
from pipelines.placement import TRIES, candidate_step, pod_settings, resources_of
from stacks.apply import apply
from stacks.spec import read_stack
from tests.support.command_line import ROOT

ADDRESSES = {
    "EVERGREEN_S3_PATH": "s3://evergreen/store",
    "EVERGREEN_REGISTRY": "registry.example.org/evergreen",
    "MLFLOW_TRACKING_URI": "http://127.0.0.1:1",
    "EVERGREEN_DATABASE_URL": "postgresql://ada:hush@127.0.0.1:1/evergreen",
    "AWS_ACCESS_KEY_ID": "ada",
    "AWS_SECRET_ACCESS_KEY": "hush",
}
STACKS = sorted(path.stem for path in (ROOT / "stacks").glob("*.yaml"))
IMAGE = "registry.example.org/evergreen/evergreen-train@sha256:0"
PLACES = (
    'resources.default={"memory": "1Gi"}',
    'resources.steps.search_candidates={"cpu": 2, "node_selector": {"pool": "training"}}',
)
USE_CASE = load_use_case(ROOT / "configs" / "wine.yaml", PLACES)
REQUEST = RetrainRequest(
    since=None, until=datetime(2026, 1, 1, tzinfo=UTC), max_rows=1000, changed=False
)


@cache
def pipelines() -> dict[str, tuple[Pipeline, tuple]]:
    """Return every static pipeline with what it takes after the use case."""
    from pipelines.batch import batch
    from pipelines.deploy import deploy
    from pipelines.monitor import monitor
    from pipelines.retrain import retrain
    from pipelines.train import train

    return {
        "train": (train, ("command",)),
        "retrain": (retrain, (REQUEST, "command")),
        "monitor": (monitor, (None,)),
        "batch": (batch, ()),
        "deploy": (deploy, ()),
    }


@pytest.fixture
def compiled(monkeypatch):
    """Compile a pipeline for a stack as `carry_out` hands it over; return its steps by name."""
    # A test worker has no main module that ZenML could take for the root of all sources.
    source_utils.set_custom_source_root(str(ROOT))
    monkeypatch.setattr("stacks.train_image.train_image", lambda *_: IMAGE)

    def compile_for(name: str, stack: str) -> dict:
        monkeypatch.setenv("ZENML_ACTIVE_STACK_ID", str(Client().get_stack(stack).id))
        pipeline, arguments = pipelines()[name]
        if stack == "docker":
            pipeline = placed(pipeline)
        pipeline.prepare(USE_CASE, *arguments)
        steps = pipeline._run_args.get("step_configurations")  # as a run hands them over
        return pipeline._compile(steps=steps)[0].step_configurations

    for file in STACKS:
        apply(read_stack(ROOT / "stacks" / f"{file}.yaml", ADDRESSES))
    return compile_for


@pytest.mark.timeout(900)
def test_every_pipeline_is_the_same_on_every_stack(compiled):
    """One test, as each has a ZenML store of its own, which takes long to make."""
    same_steps(compiled)
    image_and_resources(compiled)
    dynamic_pipelines(compiled)


def same_steps(compiled):
    assert {"local", "docker", "kubernetes"} <= set(STACKS)
    known = set()
    for name in pipelines():
        steps = {stack: gathered(compiled(name, stack)) for stack in STACKS}
        assert steps["local"]
        assert all(found == steps["local"] for found in steps.values()), (name, steps)
        known |= steps["local"]
    # What the section `resources` takes for a step is one.
    assert set(get_args(StepName)) == known


def gathered(steps):
    """The steps, those of a search that is spread over pods as the one that they stand for."""
    names = set(steps)
    spread = {name for name in names if resources_of(name) == "search_candidates"} - {
        "search_candidates"
    }
    if not spread:
        return names
    # Every candidate has its step, and what comes after waits for all of them.
    assert spread == {candidate_step(each) for each in alone(USE_CASE.task, USE_CASE.training)}
    assert set(steps["rank_candidates"].spec.upstream_steps) >= spread
    return names - spread - {"rank_candidates"} | {"search_candidates"}


def placed(pipeline):
    view = SimpleNamespace(show=lambda _: None)
    return elsewhere.placed(pipeline, Client().active_stack, USE_CASE, view)


def image_and_resources(compiled):
    for stack in ("local", "docker"):
        for name, step in compiled("train", stack).items():
            docker: DockerSettings = step.config.docker_settings
            if stack == "local":
                assert docker.parent_image is None
                continue
            assert_in_image(docker)
            assert step.config.retry is None, name
    compiled("train", "kubernetes")
    for name, pipeline in IN_PODS.items():
        configuration = placed(pipeline).configuration
        assert_in_image(configuration.docker_settings)
        assert configuration.retry.max_retries == TRIES - 1, name
        pods = configuration.settings["orchestrator"].model_dump()
        for kind in ("pod_settings", "orchestrator_pod_settings"):
            assert pods[kind]["container_security_context"]["runAsNonRoot"] is True, name
            assert pods[kind]["resources"] == {"requests": {"memory": "1Gi"}}, name
    common, steps = pod_settings(USE_CASE.resources, Client().active_stack)
    assert "search_candidates" not in common
    search = steps["search_candidates"]["orchestrator"]["pod_settings"]
    assert search["container_security_context"]["runAsNonRoot"] is True
    assert search["resources"] == {"requests": {"cpu": "2", "memory": "1Gi"}}
    assert search["node_selectors"] == {"pool": "training"}


def assert_in_image(docker: DockerSettings) -> None:
    assert docker.skip_build
    assert docker.parent_image == IMAGE
    assert not docker.allow_download_from_artifact_store


def dynamic_pipelines(compiled):
    from pipelines.continuous import continuous

    # In a cluster each pipeline that has a fixed list of steps runs its own function, in pods.
    assert set(IN_PODS) == set(pipelines())
    for name, (plain, _) in pipelines().items():
        assert signature(IN_PODS[name].entrypoint) == signature(plain.entrypoint), name
    for stack in STACKS:
        compiled("batch", stack)
        assert all(each.is_dynamic for each in (continuous, *IN_PODS.values()))
        assert Client().active_stack.orchestrator.supports_dynamic_pipelines, stack
