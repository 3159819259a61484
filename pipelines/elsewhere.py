"""Running a pipeline where the stack says, and bringing home what its steps leave.

Steps of the local orchestrator run in this process. Elsewhere they run in containers: with the
image of this code, followed by the ZenML server's records, and a step's failure is raised here as
the step raised it, so that messages and exit codes are the same.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from evergreen import errors
from evergreen.errors import EvergreenError, UnreachableError
from evergreen.paths import HOME_VARIABLE, Home
from evergreen.terminal import LiveView

if TYPE_CHECKING:
    from zenml.models import PipelineRunResponse, StepRunResponse
    from zenml.pipelines.pipeline_definition import Pipeline
    from zenml.stack import Stack

    from evergreen.config import UseCase
    from evergreen.resources import ResourcesConfig, StepName, StepResources

_CLIENTS = ("kubernetes.", "urllib3.", "docker.", "requests.", "botocore.", "httpx.")
DEPLOYER = "deployer"  # account of deploy/kubernetes, which may create what the API consists of
DEPLOYING: tuple[StepName, ...] = ("deploy_everywhere", "smoke_test", "record_deployment")
POLL = 1.0  # seconds between two looks at a run
_LAST_RAISED = re.compile(
    r"^evergreen\.errors\.(\w+): (.*?)(?=\n\n(?:The above exception|During handling)|\Z)",
    re.MULTILINE | re.DOTALL,
)


class StepError(RuntimeError):
    """A step failed on another machine, for a reason that is no `EvergreenError`."""


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

    stack = Client().active_stack
    if runs_here(stack):
        return _at_this_machine(pipeline, stack)(use_case, *arguments)
    elsewhere = placed(pipeline, stack, use_case, view)
    view.show("Start the steps")
    with followed(name, view):
        try:
            elsewhere(use_case, *arguments)
        except (KeyboardInterrupt, SystemExit):
            stop(name)
            raise
        except Exception as error:
            raise _at_home(_failure(_find(name), error), stack, use_case, name) from error
        run = _wait(name)
    if run.status.is_successful:
        return run
    raise _at_home(_failure(run, None), stack, use_case, name)


def runs_here(stack: Stack) -> bool:
    """Tell whether a stack's steps run in this process."""
    return stack.orchestrator.flavor == "local"


def _at_this_machine(pipeline: Pipeline, stack: Stack) -> Pipeline:
    """Return the pipeline so that no image is built: ZenML makes one for deployers' containers."""
    from zenml.config import DockerSettings

    if stack.deployer is None or stack.deployer.flavor == "local":
        return pipeline
    return pipeline.with_options(
        settings={"docker": DockerSettings(install_deployment_requirements=False)}
    )


def placed(pipeline: Pipeline, stack: Stack, use_case: UseCase, view: LiveView) -> Pipeline:
    """Return the pipeline with the image of its steps, and with what they get."""
    from zenml.config import DockerSettings

    from stacks.train_image import train_image

    docker = DockerSettings(
        parent_image=train_image(stack, view.show),
        skip_build=True,
        install_stack_requirements=False,
        # The code is in the image: none is to be uploaded, and to take its place.
        allow_download_from_artifact_store=False,
        allow_download_from_code_repository=False,
    )
    common, steps = pod_settings(use_case.resources, stack, all_deploy=pipeline.is_dynamic)
    # Of the steps of a dynamic pipeline ZenML hears only as they run.
    chosen = {} if pipeline.is_dynamic else steps
    return pipeline.with_options(
        settings={"docker": docker, **common},
        steps={name: {"settings": settings} for name, settings in chosen.items()} or None,
    )


def pod_settings(
    resources: ResourcesConfig, stack: Stack, *, all_deploy: bool = False
) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Return the settings that give steps their resources: of all, and of each by its name.

    Only Kubernetes' pods have settings of that kind; they come on top of the stack's own. Steps
    that deploy get an account that may: with ``all_deploy`` that is every step.
    """
    orchestrator = stack.orchestrator
    if orchestrator.flavor != "kubernetes":
        return {}, {}
    own = orchestrator.config.pod_settings
    base = own.model_dump(exclude_unset=True) if own is not None else {}
    deploys = _deploys_in_cluster(stack) and orchestrator.config.step_pod_service_account_name
    account = {"step_pod_service_account_name": DEPLOYER} if deploys else {}

    def settings(of: StepResources, more: dict[str, str]) -> dict[str, Any]:
        pod = of.pod_settings()
        chosen: dict[str, Any] = {"pod_settings": {**base, **pod}} if pod else {}
        return {"orchestrator": {**chosen, **more}} if chosen or more else {}

    names = dict.fromkeys([*resources.steps, *(DEPLOYING if account else ())])
    return settings(resources.default, account if all_deploy else {}), {
        name: settings(resources.of(name), account if name in DEPLOYING else {}) for name in names
    }


def _deploys_in_cluster(stack: Stack) -> bool:
    parts = (stack.deployer, stack.model_deployer)
    return any(part is not None and part.flavor in ("kubernetes", "seldon") for part in parts)


@contextmanager
def followed(name: str, view: LiveView) -> Iterator[None]:
    """Show the steps of a run as they begin, while the block waits for their end."""
    ended = threading.Event()

    def follow() -> None:
        seen: set[str] = set()
        while not ended.wait(POLL):
            with suppress(Exception):  # the next look may succeed; the run's end tells the truth
                for step in _running_steps(name):
                    if step not in seen:
                        seen.add(step)
                        view.show(title_of(step))

    thread = threading.Thread(target=follow, name="follow-run", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(timeout=5)


def title_of(step: str) -> str:
    """Return a step's name as a person writes it."""
    return step.replace("_", " ").capitalize()


def stop(name: str) -> None:
    """Stop a run's steps, so that none goes on alone; a second interruption ends this too."""
    from zenml.utils.run_utils import stop_run

    if (run := _find(name)) is not None and not run.status.is_finished:
        with suppress(Exception):  # the person is told of the interruption, and waits for nothing
            stop_run(run, graceful=False)


def _running_steps(name: str) -> list[str]:
    from zenml.client import Client

    run = _find(name)
    if run is None:
        return []
    steps = Client().list_run_steps(
        pipeline_run_id=run.id, sort_by="asc:created", size=100, hydrate=False
    )
    return [step.name for step in steps]


def _find(name: str) -> PipelineRunResponse | None:
    from zenml.client import Client

    found = Client().list_pipeline_runs(name=name, size=1)
    return Client().get_pipeline_run(found.items[0].id) if found.items else None


def _wait(name: str) -> PipelineRunResponse:
    """Return the run once it has ended; most orchestrators come back only then."""
    waiting = threading.Event()
    while True:
        run = _find(name)
        if run is None:
            raise UnreachableError(f"ZenML does not know the run {name!r} that was just started.")
        if run.status.is_finished:
            return run
        waiting.wait(POLL)


def _failure(run: PipelineRunResponse | None, error: Exception | None) -> Exception:
    """Return what to raise for a run that failed, or that could not be started."""
    failed = [step for step in _steps(run) if step.status.is_failed] if run is not None else []
    for step in failed:
        if (known := raised_by(step)) is not None:
            return known
    if run is None or (error is not None and not failed):
        return _as_known(error) if error is not None else UnreachableError("No run was started.")
    for step in failed:
        if step.exception_info is not None:
            return StepError(f"Step {step.name!r} failed:\n{step.exception_info.traceback}")
    names = ", ".join(repr(step.name) for step in failed) or "no step"
    return UnreachableError(
        f"The run {run.name!r} ended as {run.status.value}; {names} ended without a word of why: "
        "it was stopped, or its machine ran out of memory or went away. Look at it: "
        f"zenml pipeline runs list, or kubectl describe pods --selector run_id={run.id}"
    )


def raised_by(step: StepRunResponse) -> EvergreenError | None:
    """Return the product's own error behind a step's failure, if there is one."""
    told = step.exception_info
    if told is None:
        return None
    kind = (told.source or "").rpartition(".")[2]
    found = getattr(errors, kind, None)
    if isinstance(found, type) and issubclass(found, EvergreenError):
        return found(told.message or "")
    chain = list(_LAST_RAISED.finditer(told.traceback))
    if not chain:
        return None
    found = getattr(errors, chain[-1][1], None)
    if isinstance(found, type) and issubclass(found, EvergreenError):
        return found(chain[-1][2].strip())
    return None


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


def _steps(run: PipelineRunResponse) -> list[StepRunResponse]:
    from zenml.client import Client

    found = Client().list_run_steps(
        pipeline_run_id=run.id, sort_by="asc:created", size=100, hydrate=True
    )
    return list(found)


def _as_known(error: Exception) -> Exception:
    """Return an orchestrator's failure as what it is: something out of reach."""
    from zenml.orchestrators.exceptions import PipelineSubmissionError

    # Orchestrators tell theirs as RuntimeError, or let through what their clients raise.
    speaks = type(error).__module__.startswith(_CLIENTS)
    if not speaks and not isinstance(error, RuntimeError | PipelineSubmissionError):
        return error
    return UnreachableError(f"The steps could not be started or followed: {error}")
