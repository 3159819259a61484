"""Find the model that scores, and score a table with it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from zenml import log_metadata, step
from zenml.client import Client

from evergreen.batch.on_dask import run_batch_on_dask
from evergreen.batch.outcome import BatchResult
from evergreen.batch.parts import ScoredPart, join_parts, score_part
from evergreen.batch.run import BatchJob, batch_job, run_batch
from evergreen.config import UseCase
from evergreen.data.sources import describe_source
from evergreen.errors import InputError
from evergreen.paths import Home
from evergreen.serving.artifacts import bundle_folder
from evergreen.serving.registry_reader import Located, locate, open_registry
from evergreen.serving.runtime import load_runtime
from evergreen.values import Value
from steps.announcements import announce
from steps.materializers import PartMaterializer
from steps.workspace import scratch_file


class ScoringModel(Value):
    """The version that scores, and where its bundle lies."""

    name: str
    version: str
    source: str


def tracking_uri() -> str:
    """Return the address of the active stack's MLflow."""
    tracker = Client().active_stack.experiment_tracker
    if tracker is None:
        raise InputError("The active stack has no experiment tracker: zenml stack set local")
    return str(tracker.get_tracking_uri())  # type: ignore[attr-defined]


@step(enable_cache=False)
def find_model(use_case: UseCase) -> Annotated[ScoringModel, "scoring_model"]:
    """Look up which version an alias names, or the one that was asked for."""
    announce("Look up the model")
    batch = use_case.batch
    found = locate(
        open_registry(tracking_uri()), use_case.name, alias=batch.alias, version=batch.version
    )
    return ScoringModel(name=found.name, version=found.version, source=found.source)


@step(enable_cache=False, enable_artifact_visualization=False)
def score_table(model: ScoringModel, use_case: UseCase) -> Annotated[BatchResult, "batch_result"]:
    """Score the table, going on where an earlier run was broken off."""
    batch = use_case.batch
    told = f"Score {describe_source(batch.source or use_case.data.source)}"
    if batch.dask.chosen:
        announce(f"{told} on {batch.dask.title}")
        folder, home = bundle_of(model), Home.locate()
        return noted(run_batch_on_dask(use_case, folder, model.version, home, announce))
    job = job_of(model, use_case)
    announce(told)
    return noted(run_batch(job, announce))


@step(
    enable_cache=False,
    enable_artifact_visualization=False,
    output_materializers=PartMaterializer,
)
def score_partition(
    model: ScoringModel, use_case: UseCase, number: int
) -> Annotated[ScoredPart, "scored_part"]:
    """Score one part of the table, the first being 0."""
    job, of = job_of(model, use_case), use_case.batch.partitions
    announce(f"Score part {number + 1} of {of} of {describe_source(job.source)}")
    folder = scratch_file("part")
    folder.mkdir()
    return score_part(job, number, of, folder, announce)


@step(enable_cache=False, enable_artifact_visualization=False)
def join_partitions(
    parts: list[ScoredPart], model: ScoringModel, use_case: UseCase
) -> Annotated[BatchResult, "batch_result"]:
    """Put all parts into the output."""
    job = job_of(model, use_case)
    announce("Join the parts")
    return noted(join_parts(job, parts, announce))


def job_of(model: ScoringModel, use_case: UseCase) -> BatchJob:
    """Return what is to be scored, with the model loaded."""
    announce(f"Load version {model.version}")
    runtime = load_runtime(bundle_of(model), model.version)
    return batch_job(use_case, runtime, model.version, Home.locate())


def bundle_of(model: ScoringModel) -> Path:
    """Return a folder with the files of a model's bundle."""
    located = Located(model.name, model.version, model.source)
    cache = Home.locate().root / "serving" / "bundles"
    return bundle_folder(open_registry(tracking_uri()), located, cache)


def noted(result: BatchResult) -> BatchResult:
    """Show a result's figures in the dashboard."""
    log_metadata(
        {
            "rows": result.rows,
            "rejected": result.rejected,
            "flagged": result.flagged,
            "resumed_rows": result.resumed_rows,
            "seconds": result.seconds,
            "rows_per_second": result.rows_per_second,
            "model_version": result.version,
            "source": result.source,
            "output": result.output,
            "rejected_output": result.rejected_output or "",
        }
    )
    return result
