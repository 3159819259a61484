"""``--pipeline deploy``, ``--undeploy`` and ``--status``: what surrounds a deployment."""

from __future__ import annotations

import argparse
import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from evergreen.config import UseCase
from evergreen.deployment.display import show_deployment, show_removal, show_status
from evergreen.deployment.outcome import DeploymentOutcome, ModelStatus, Removal
from evergreen.errors import ExitCode, InputError, RefusedError
from evergreen.paths import Home
from evergreen.terminal import LiveView, show_training
from evergreen.use_case import load_use_case
from pipelines import session
from pipelines.alerting import telling
from pipelines.elsewhere import carry_out

if TYPE_CHECKING:
    from evergreen.deployment.values import DeploymentReport
    from evergreen.outcome import TrainingOutcome


def run_deployment(options: argparse.Namespace) -> int:
    """Deploy the champion of one use case; train one before, where that is asked for."""
    use_case = load_use_case(Path(options.config), options.overrides)
    with session.running(options, f"deploy-{use_case.name}", use_case.name) as around:
        with around.view as view:
            stack_name = prepare(use_case, options, view)
            training = train_first(use_case, options, around)
            if training is None or training.champion is not None:
                with telling(use_case, "deployment_failed", "The deployment"):
                    report, zenml_run = execute(use_case, view, around.name)
        if training is not None and not options.json:
            show_training(training, around.out, quiet=options.quiet)
        if training is not None and training.champion is None:
            raise RefusedError(
                f"Nothing was deployed: {use_case.name!r} has no champion. {training.message}"
            )
        outcome = DeploymentOutcome.of(report, view.durations).model_copy(
            update={
                "stack": stack_name,
                "zenml_run": zenml_run,
                "config": str(options.config),
                "seconds": around.seconds,
                "log": str(around.log),
            }
        )
        if options.json:
            around.out.write(outcome.model_dump_json(indent=2) + "\n")
        else:
            show_deployment(outcome, around.out, quiet=options.quiet)
    return outcome.exit_code


def prepare(use_case: UseCase, options: argparse.Namespace, view: LiveView) -> str:
    """Start ZenML and make sure of stack and stores; return the stack's name."""
    view.show("Start ZenML")
    session.start_zenml()
    stack_name = session.ensure_stack(options.stack)
    session.prepare_tracking(use_case)
    session.mend_stale_runs(use_case)
    return stack_name


def train_first(
    use_case: UseCase, options: argparse.Namespace, around: session.Session
) -> TrainingOutcome | None:
    """Train where there is no champion and ``--train-if-needed`` asks for it, else return None."""
    from steps.promotion.champion import open_registry

    if not options.train_if_needed or open_registry().champion(use_case.name) is not None:
        return None
    from pipelines import training_run

    started = time.monotonic()
    run_name = f"train-{use_case.name}-{datetime.now(UTC):%Y%m%dT%H%M%S}"
    run, stack_name = training_run.execute(use_case, options, around.view, run_name)
    outcome = training_run.conclude(use_case, run, around)
    seconds = time.monotonic() - started
    return outcome.model_copy(update={"stack": stack_name, "seconds": seconds})


def execute(use_case: UseCase, view: LiveView, run_name: str) -> tuple[DeploymentReport, str]:
    """Run the pipeline to its end; return its report, and the name of the run."""
    from pipelines.in_pods import pipeline_called
    from steps.announcements import listening

    with listening(view.show):
        configured = pipeline_called("deploy").with_options(
            run_name=run_name, enable_cache=False, tags=[use_case.name]
        )
        run = carry_out(configured, run_name, view, use_case)
    report: DeploymentReport = run.steps["record_deployment"].regular_outputs["deployment"].load()
    return report, run.name


def run_undeploy(options: argparse.Namespace) -> int:
    """Stop what was deployed of one use case."""
    use_case = load_use_case(Path(options.config), options.overrides)
    with session.at_hand(options, lock=use_case.name) as (_, out, _):
        removal = remove(use_case.name)
        if options.json:
            out.write(removal.model_dump_json(indent=2) + "\n")
        else:
            show_removal(removal, out)
    return ExitCode.DONE


def remove(name: str) -> Removal:
    """Stop every server of a model on the active stack, and write that down."""
    from evergreen.deployment.deployment_log import DeploymentEntry
    from evergreen.provenance import current_user
    from steps.deployment.rollout import close_unfinished
    from steps.deployment.targets import find_targets, open_log

    log = open_log()
    close_unfinished(log, name)
    deployed = log.deployed(name)
    targets = find_targets(name)
    states = [target.status() for target in targets]
    stopped = [state for target, state in zip(targets, states, strict=True) if target.remove()]
    if stopped or deployed is not None:
        log.record(
            DeploymentEntry(
                who=current_user(),
                use_case=name,
                action="removed",
                version=deployed.version if deployed else None,
                servers=tuple(target.status() for target in targets),
            )
        )
    return Removal(use_case=name, stopped=tuple(stopped))


def run_status(options: argparse.Namespace) -> int:
    """Show what serves where: every model of the registry, and everything that was deployed."""
    with session.at_hand(options) as (home, out, stack_name):
        models = look(home)
        if options.json:
            content = [model.model_dump(mode="json") for model in models]
            out.write(json.dumps({"stack": stack_name, "models": content}, indent=2) + "\n")
        else:
            show_status(models, stack_name, out)
    return ExitCode.DONE


def look(home: Home) -> tuple[ModelStatus, ...]:
    """Return how things are with every model that is registered or deployed."""
    from steps.deployment.targets import find_targets, open_log
    from steps.promotion.champion import open_registry

    if session.tracking_uri() == home.mlflow_uri and not home.mlflow_database.exists():
        raise InputError(
            f"No model was trained in {home.root} yet, so nothing serves. "
            "Train and deploy one: make deploy"
        )
    registry, log = open_registry(), open_log()
    names = sorted({*registry.names(), *(row.use_case for row in log.entries())})
    models = []
    for name in names:
        champion = registry.champion(name)
        row = log.deployed(name)
        models.append(
            ModelStatus(
                use_case=name,
                champion=champion.version if champion else None,
                deployed=row.version if row else None,
                since=row.time if row else None,
                servers=tuple(target.status() for target in find_targets(name)),
            )
        )
    return tuple(models)
