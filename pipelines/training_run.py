"""``--pipeline train``: everything around one run of the training pipeline."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from evergreen.config import UseCase
from evergreen.dask.own_cluster import kept_clusters
from evergreen.errors import ExitCode
from evergreen.outcome import CandidateSummary, TrainingOutcome
from evergreen.paths import Home
from evergreen.terminal import LiveView, show_training
from evergreen.use_case import load_use_case
from pipelines import session
from pipelines.alerting import telling
from pipelines.elsewhere import carry_out, runs_here

if TYPE_CHECKING:
    from zenml.models import PipelineRunResponse

    from evergreen.promotion.registry import Registration
    from evergreen.reporting.facts import TrainingFacts


def run_training(options: argparse.Namespace) -> int:
    """Train one use case and return the exit code that its verdict calls for."""
    use_case = load_use_case(Path(options.config), options.overrides)
    with session.running(options, f"train-{use_case.name}", use_case.name) as around:
        with around.view as view:
            run, stack_name = execute(use_case, options, view, around.name)
            outcome = conclude(use_case, run, around)
        outcome = outcome.model_copy(update={"stack": stack_name, "seconds": around.seconds})
        if options.json:
            around.out.write(outcome.model_dump_json(indent=2) + "\n")
        else:
            show_training(outcome, around.out, quiet=options.quiet)
    return outcome.exit_code


def execute(
    use_case: UseCase, options: argparse.Namespace, view: LiveView, run_name: str
) -> tuple[PipelineRunResponse, str]:
    """Prepare the stack and the stores, and run the pipeline to its end."""
    view.show("Start ZenML")
    session.start_zenml()
    stack_name = session.ensure_stack(options.stack)
    session.prepare_tracking(use_case)

    from pipelines.in_pods import pipeline_called
    from steps.announcements import listening

    watched = telling(use_case, "pipeline_failed", "The training", refusals=False)
    with alone(use_case), listening(view.show), watched, kept_clusters():
        session.mend_stale_runs(use_case)
        configured = session.configured(pipeline_called("train"), use_case, options, run_name)
        run = carry_out(configured, run_name, view, use_case, reproduction(options))
    return run, stack_name


@contextmanager
def alone(use_case: UseCase) -> Iterator[None]:
    """Keep other machines away where several may train; on one, the lock file does."""
    from zenml.client import Client

    if runs_here(Client().active_stack):
        yield
    else:
        with session.leased(Home.locate(), use_case):
            yield


def reproduction(options: argparse.Namespace, pipeline: str = "train") -> str:
    """Return the command that trains the same model again."""
    words = ["python", "run.py", "--pipeline", pipeline, "--config", str(options.config)]
    for override in options.overrides:
        words += ["--set", override]
    return shlex.join(words)


def conclude(
    use_case: UseCase, run: PipelineRunResponse, around: session.Session
) -> TrainingOutcome:
    """Gather what the run ended with from its artifacts."""
    from zenml.utils.dashboard_utils import get_run_url

    from steps.workspace import fetch_reports

    outputs = {
        name: artifact
        for step in run.steps.values()
        for name, artifact in step.regular_outputs.items()
    }
    facts: TrainingFacts = outputs["facts"].load()
    registration: Registration = outputs["registration"].load()
    folder = around.home.run_reports(use_case.name, run.name)
    fetch_reports(folder)
    reports = {path.stem: str(path) for path in sorted(folder.glob("*"))}
    steps = list(run.steps.values())
    return TrainingOutcome(
        use_case=use_case.name,
        task=use_case.task,
        status=registration.status,
        message=registration.message,
        exit_code=ExitCode.DONE if facts.verdict.passed else ExitCode.REFUSED,
        version=registration.version,
        champion=registration.champion,
        verdict=facts.verdict,
        metric=facts.search.metric,
        metrics=facts.challenger.metrics,
        candidates=candidate_summaries(facts),
        rows=facts.data.rows,
        train_rows=facts.data.train_rows,
        holdout_rows=facts.data.holdout_rows,
        data_fingerprint=facts.data.fingerprint,
        reports=reports,
        artifacts={name: artifact.uri for name, artifact in sorted(outputs.items())},
        durations=around.view.durations,
        seconds=0.0,
        steps=len(steps),
        cached_steps=sum(step.status.value == "cached" for step in steps),
        stack="",
        zenml_run=run.name,
        mlflow_run=registration.run_id,
        mlflow_uri=session.tracking_uri(),
        dashboard=get_run_url(run),
        log=str(around.log),
    )


def candidate_summaries(facts: TrainingFacts) -> tuple[CandidateSummary, ...]:
    """Return the lines of the final table, best candidate first."""
    return tuple(
        CandidateSummary(
            name=candidate.name,
            title=candidate.title,
            score=candidate.score,
            score_std=candidate.score_std,
            trials=len(candidate.trials),
            taken_over=candidate.taken_over,
            seconds=candidate.seconds,
            params=candidate.params,
            chosen=candidate.name == facts.search.best,
            error=candidate.error,
        )
        for candidate in facts.search.candidates
    )
