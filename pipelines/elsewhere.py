"""Running a pipeline where the stack says, and bringing home what its steps leave.

Steps of the local orchestrator run in this process. Elsewhere they run in containers: with the
image of this code, followed by the ZenML server's records, and a step's failure is raised here as
the step raised it, so that messages and exit codes are the same.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from evergreen.errors import EvergreenError, UnreachableError
from evergreen.paths import HOME_VARIABLE, Home
from evergreen.terminal import LiveView
from pipelines.interruption import interrupted_at_once
from pipelines.placement import PAUSE, again, own_pod, runs_here
from pipelines.pods import forget_token, in_cluster, remove_pods
from pipelines.run_records import POLL, StepError, find_run, has_failed, raised_by, steps_of
from pipelines.watching import Watch

if TYPE_CHECKING:
    from zenml.models import PipelineRunResponse, StepRunResponse
    from zenml.pipelines.pipeline_definition import Pipeline
    from zenml.stack import Stack

    from evergreen.config import UseCase

_CLIENTS = ("kubernetes.", "urllib3.", "docker.", "requests.", "botocore.", "httpx.")


def carry_out(
    pipeline: Pipeline, name: str, view: LiveView, use_case: UseCase, *arguments: Any
) -> PipelineRunResponse:
    """Run a configured pipeline on the active stack, and return the finished run.

    ``name`` is the run's, and the use case the pipeline's first argument.

    Raises
    ------
    EvergreenError
        What a step raised, wherever it ran.
    UnreachableError
        If the image cannot be built or started, or a step's machine went away.
    StepError
        If a step on another machine failed otherwise.
    """
    from zenml.client import Client

    from steps.kept_artifacts import keep_published

    gc.freeze()  # what is imported stays; no collection need look through it
    gc.enable()
    stack = Client().active_stack
    if runs_here(stack):
        keep_published()
        with interrupted_at_once():
            return _at_this_machine(pipeline, stack)(use_case, *arguments)
    elsewhere = placed(pipeline, stack, use_case, view)
    view.show("Start the steps")
    with following(name, stack, view) as watch:
        try:
            elsewhere(use_case, *arguments)
            run = _wait(name)
        except (KeyboardInterrupt, SystemExit):
            stop(name, stack)
            raise
        except Exception as error:
            after = _after(error, name, watch)
            if after is None or not after.status.is_successful:
                failure = watch.verdict or _not_pulled(error, elsewhere)
                failure = failure or _failure(after, error, watch.last_words)
                stop(name, stack)
                raise _at_home(failure, stack, use_case, name) from error
            run = after
    if run.status.is_successful:
        forget_token(stack, run)
        return run
    failure = watch.verdict or _failure(run, None, watch.last_words)
    remove_pods(stack, run)
    raise _at_home(failure, stack, use_case, name)


def _at_this_machine(pipeline: Pipeline, stack: Stack) -> Pipeline:
    """Return the pipeline so that no image is built: ZenML makes one for deployers' containers."""
    from zenml.config import DockerSettings

    if stack.deployer is None or stack.deployer.flavor == "local":
        return pipeline
    return pipeline.with_options(
        settings={"docker": DockerSettings(install_deployment_requirements=False)}
    )


def placed(pipeline: Pipeline, stack: Stack, use_case: UseCase, view: LiveView) -> Pipeline:
    """Return the pipeline with the image of its steps, and with what its own pod gets."""
    from pipelines.in_pods import IN_PODS  # with ZenML, which reads its environment only once
    from stacks.train_image import settings_of, train_image

    docker = settings_of(train_image(stack, view.show))
    return pipeline.with_options(
        # A turn of the loop that was broken off is taken up by the next one.
        retry=again(delay=PAUSE) if pipeline.name in IN_PODS and in_cluster(stack) else None,
        settings={"docker": docker, **own_pod(use_case.resources, stack)},
    )


@contextmanager
def following(name: str, stack: Stack, view: LiveView) -> Iterator[Watch]:
    """Watch a run while the block waits for its end."""
    watch = Watch(name, stack, view, stop)
    watch.start()
    try:
        yield watch
    finally:
        watch.end()


def stop(name: str, stack: Stack) -> None:
    """Stop a run's steps, so that none goes on alone; a second interruption ends this too."""
    from zenml.enums import ExecutionStatus
    from zenml.orchestrators.publish_utils import publish_pipeline_run_status_update
    from zenml.utils.run_utils import stop_run

    if (run := find_run(name)) is None:
        return
    if not run.status.is_finished:
        # The person is told of what went wrong before, and waits for nothing. A run whose own pod
        # never began cannot be stopped by ZenML.
        with suppress(Exception):
            stop_run(run, graceful=False)
    remove_pods(stack, run)
    with suppress(Exception):
        if (run := find_run(name)) is not None and not run.status.is_finished:
            publish_pipeline_run_status_update(run.id, ExecutionStatus.STOPPED)


def _wait(name: str) -> PipelineRunResponse:
    """Return the run once it has ended; most orchestrators come back only then."""
    while True:
        run = find_run(name)
        if run is None:
            raise UnreachableError(f"ZenML does not know the run {name!r} that was just started.")
        if run.status.is_finished:
            return run
        time.sleep(POLL)


def _after(error: Exception, name: str, watch: Watch) -> PipelineRunResponse | None:
    """Return the run that could not be followed to its end; that it goes on is no failure."""
    with suppress(Exception):
        run = find_run(name)
        lost = type(error).__module__.startswith("urllib3.")
        if lost and watch.verdict is None and run is not None and not run.status.is_finished:
            return _wait(name)
        return run
    return None


def _not_pulled(error: Exception, pipeline: Pipeline) -> Exception | None:
    """Return that the cluster cannot pull the image of the steps, where that is the failure."""
    if "ImagePull" not in str(error):
        return None
    image = pipeline.configuration.docker_settings.parent_image
    return UnreachableError(
        f"The cluster cannot pull the image of the steps, {image}: {error}. See that its nodes "
        "reach the registry and may read it, and give the same command again."
    )


def _failure(
    run: PipelineRunResponse | None,
    error: Exception | None,
    last_words: Callable[[str], str] = lambda _: "",
) -> Exception:
    """Return what to raise for a run that failed, or that could not be started.

    ``last_words`` gives the last lines of a step's log.
    """
    failed = [step for step in steps_of(run) if has_failed(step)] if run is not None else []
    for step in failed:
        if (known := raised_by(step)) is not None:
            return known
    if run is None or (error is not None and not failed):
        return _as_known(error) if error is not None else UnreachableError("No run was started.")
    for step in failed:
        if step.exception_info is not None:
            trace = step.exception_info.traceback
            return StepError(f"Step {step.name!r} failed:\n{trace}{_quoted(step, last_words)}")
    names = ", ".join(repr(step.name) for step in failed) or "no step"
    return UnreachableError(
        f"The run {run.name!r} ended as {run.status.value}; {names} ended without a word of why: "
        "it was stopped, or its machine ran out of memory or went away. What the steps before it "
        "made is kept, and the same command takes it from there. Look at it: "
        f"zenml pipeline runs list, or kubectl describe pods --selector run_id={run.id}"
        + "".join(_quoted(step, last_words) for step in failed)
    )


def _quoted(step: StepRunResponse, last_words: Callable[[str], str]) -> str:
    """Return the last lines of a step's log as the end of a message."""
    said = last_words(step.name)
    return f"\nThe last lines of the log of {step.name!r}:\n{said}" if said else ""


def _at_home(error: Exception, stack: Stack, use_case: UseCase, name: str) -> Exception:
    """Bring the reports home that a message speaks of, and let it name them where they are now."""
    from zenml.client import Client

    from steps.workspace import fetch_reports

    there = Client().get_stack(stack.id).environment.get(HOME_VARIABLE)
    home = Home.locate()
    if there is None or not isinstance(error, EvergreenError) or there not in str(error):
        return error
    with suppress(Exception):  # the message is what counts
        fetch_reports(home.run_reports(use_case.name, name))
    return type(error)(str(error).replace(there.rstrip("/"), str(home.root)))


def _as_known(error: Exception) -> Exception:
    """Return an orchestrator's failure as what it is: something out of reach."""
    from zenml.orchestrators.exceptions import PipelineSubmissionError

    # Orchestrators tell theirs as RuntimeError, or let through what their clients raise.
    speaks = type(error).__module__.startswith(_CLIENTS)
    if not speaks and not isinstance(error, RuntimeError | PipelineSubmissionError):
        return error
    return UnreachableError(f"The steps could not be started or followed: {error}")
