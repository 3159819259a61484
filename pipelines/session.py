"""What surrounds a pipeline run: the stack, the stores, the lock, and the tidying up."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from filelock import FileLock, Timeout

from evergreen.config import UseCase
from evergreen.errors import InputError, UnreachableError
from evergreen.monitoring.lease import Held, Leases
from evergreen.paths import HOME_VARIABLE, Home
from evergreen.scratch import sweep_scratch
from evergreen.terminal import LiveView, redirected_output
from pipelines.pods import goes_on

if TYPE_CHECKING:
    from zenml.models import StackResponse
    from zenml.pipelines.pipeline_definition import Pipeline

ROOT = Path(__file__).resolve().parents[1]
LOCAL_STACK = ROOT / "stacks" / "local.yaml"
COMPETING = "two at once would compete for the same champion."


@dataclass(frozen=True)
class Session:
    """What a run of a pipeline has around it; ``out`` is the real standard output."""

    home: Home
    name: str  # of the run, and of its log
    log: Path
    out: TextIO
    view: LiveView
    started: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        """How long it has been under way."""
        return time.monotonic() - self.started


@contextmanager
def running(
    options: argparse.Namespace, name: str, lock: str, why: str = COMPETING
) -> Iterator[Session]:
    """Prepare the state folder, hold a lock, and send what libraries print to the run's log.

    ``name`` is the run's, to which the moment is added. The view is the caller's to enter.

    Raises
    ------
    UnreachableError
        If the state folder cannot be written to, or another run holds the lock.
    """
    started = time.monotonic()
    home = Home.locate()
    prepare_environment()
    prepare_home(home)
    name = f"{name}-{datetime.now(UTC):%Y%m%dT%H%M%S%f}"
    log = home.logs / f"{name}.log"
    with ExitStack() as stack:
        stack.enter_context(exclusive(home, lock, why))
        stack.callback(sweep_scratch, home)
        out, err = stack.enter_context(redirected_output(None if options.verbose else log))
        view = LiveView(err, enabled=not (options.quiet or options.json or options.verbose))
        yield Session(home, name, log, out, view, started)


@contextmanager
def at_hand(
    options: argparse.Namespace, lock: str | None = None
) -> Iterator[tuple[Home, TextIO, str]]:
    """Prepare the state folder and ZenML for a command that runs no pipeline.

    What libraries print goes to the log of decisions. A lock, of a use case, is held to the end.

    Yields
    ------
    The state folder, the real standard output, and the name of the stack.

    Raises
    ------
    InputError
        As `ensure_stack` does.
    UnreachableError
        If the state folder cannot be written to, or a run holds the lock.
    """
    home = Home.locate()
    prepare_environment()
    prepare_home(home)
    log = None if options.verbose else home.logs / "decisions.log"
    with (
        exclusive(home, lock) if lock is not None else nullcontext(),
        redirected_output(log) as (out, _),
    ):
        start_zenml()
        yield home, out, ensure_stack(options.stack)  # which knows the database


def prepare_environment() -> None:
    """Set what ZenML and MLflow read at import. What the user has set stays."""
    os.environ.setdefault("ZENML_ANALYTICS_OPT_IN", "false")
    os.environ.setdefault("ZENML_LOGGING_COLORS_DISABLED", "true")  # it goes to a file
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    # ZenML lists the installed packages in every run: uv does that fifty times faster than pip.
    programs = str(Path(sys.executable).parent)
    if programs not in os.environ.get("PATH", "").split(os.pathsep):
        os.environ["PATH"] = os.pathsep.join([programs, os.environ.get("PATH", "")])


def prepare_home(home: Home) -> None:
    """Create the state folder and prove that it can be written to.

    Raises
    ------
    UnreachableError
        If it cannot: read-only, not allowed, or full.
    """
    try:
        for folder in (home.root, home.logs, home.locks, home.reports, home.scratch):
            folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=home.scratch) as file:
            file.write(b"\0" * 4096)
            file.flush()
    except OSError as error:
        raise UnreachableError(
            f"The state folder {home.root} cannot be written to ({error.strerror}). "
            "Mend that, or name another one: export EVERGREEN_HOME=/a/folder/of/yours"
        ) from None


@contextmanager
def exclusive(home: Home, name: str, why: str = COMPETING) -> Iterator[None]:
    """Hold the lock ``name`` (of a use case); the operating system frees it when the process dies.

    Raises
    ------
    UnreachableError
        If another run of the same use case holds it.
    """
    note = home.locks / f"{name}.txt"
    lock = FileLock(home.locks / f"{name}.lock")
    try:
        lock.acquire(blocking=False)
    except Timeout:
        holder = note.read_text(encoding="utf-8").strip() if note.exists() else "another process"
        raise UnreachableError(
            f"Another run of {name!r} is under way ({holder}). Wait for it, or end it; {why}"
        ) from None
    try:
        since = datetime.now(UTC).isoformat(timespec="seconds")
        note.write_text(f"process {os.getpid()} since {since}", encoding="utf-8")
        yield
    finally:
        note.unlink(missing_ok=True)
        lock.release()


def start_zenml() -> None:
    """Import ZenML and tell it where the source code is."""
    from steps.pod_entrypoint import know_packages

    know_packages()
    # skops looks through every module that is loaded when it is imported: 0.3 s now, 1.5 s later.
    import skops.io  # noqa: F401
    from zenml.utils import source_utils

    source_utils.set_custom_source_root(str(ROOT))


def ensure_stack(name: str | None) -> str:
    """Return the name of the stack to run on, after making sure that it is there.

    The first run registers the local stack and activates it where only ZenML's own default is
    active. A stack that the user set is never overridden.

    Raises
    ------
    InputError
        If ``name`` is not registered, or the stack lacks what training needs.
    """
    from zenml.client import Client
    from zenml.enums import StoreType

    from stacks.apply import apply
    from stacks.spec import read_stack

    client = Client()
    registered = {stack.name for stack in client.list_stacks(size=1000)}
    spec = read_stack(LOCAL_STACK)
    wanted = name or client.active_stack_model.name
    shared = client.zen_store.type == StoreType.REST
    if shared and wanted in registered - {"default", spec.name}:
        pass  # a server that others share learns nothing of this machine's folders
    elif spec.name not in registered:
        apply(spec)
        registered.add(spec.name)
        if client.active_stack_model.name == "default":
            client.activate_stack(spec.name)
    elif wanted == spec.name:
        apply(spec)  # the state folder may have moved
    if name is not None:
        if name not in registered:
            raise InputError(
                f"--stack {name}: no such stack. Registered: {', '.join(sorted(registered))}. "
                f"Register one: python -m stacks apply stacks/{name}.yaml"
            )
        # For this process only; `zenml stack set` is how a user changes it for good.
        os.environ["ZENML_ACTIVE_STACK_ID"] = str(client.get_stack(name).id)
    stack = client.active_stack_model
    missing = [
        kind
        for kind in ("experiment_tracker", "model_registry")
        if kind not in {member.value for member in stack.components}
    ]
    if missing:
        if spec.name in registered:
            remedy = f"zenml stack set {spec.name}"
        else:
            remedy = "python -m stacks apply stacks/local.yaml --set"
        raise InputError(
            f"The active stack {stack.name!r} has no {' and no '.join(missing)}. "
            f"Use one that has: {remedy}"
        )
    adopt_variables(stack)
    return stack.name


def adopt_variables(stack: StackResponse) -> None:
    """Give this process what the stack's steps know of Evergreen's and MLflow's servers.

    What the user has set stays: a server may have other addresses outside the cluster.
    """
    from zenml.client import Client

    values = dict(stack.environment)
    for secret in stack.secrets:
        values |= Client().get_secret(secret).secret_values
    for name, value in values.items():
        # The state folder is this machine's own.
        if name.startswith(("EVERGREEN_", "MLFLOW_")) and name != HOME_VARIABLE:
            os.environ.setdefault(name, value)


@contextmanager
def leased(home: Home, use_case: UseCase) -> Iterator[Held]:
    """Hold the lease of a use case's training, which also keeps other machines away.

    Raises
    ------
    UnreachableError
        If another run holds it.
    """
    with closing(Leases(home.database_url)) as leases:
        name = f"retrain-{use_case.name}"
        with leases.held(name, f"A training of {use_case.name!r}") as held:
            yield held


@contextmanager
def started(view: LiveView, stack: str | None) -> Iterator[str]:
    """Start ZenML, and yield the name of the stack, which says where the database is."""
    view.show("Start ZenML")
    start_zenml()
    yield ensure_stack(stack)


def tracking_uri() -> str:
    """Return the address of the active stack's MLflow."""
    from zenml.client import Client

    tracker = Client().active_stack.experiment_tracker
    if tracker is None:
        raise InputError("The active stack has no experiment tracker: zenml stack set local")
    return str(tracker.get_tracking_uri())


def configured(
    pipeline: Pipeline, use_case: UseCase, options: argparse.Namespace, run_name: str
) -> Pipeline:
    """Return a pipeline that trains, with its run's name, tag, cache and MLflow experiment."""
    return pipeline.with_options(
        run_name=run_name,
        enable_cache=False if options.no_cache else None,
        settings={"experiment_tracker.mlflow": {"experiment_name": use_case.name}},
        tags=[use_case.name],
    )


def prepare_tracking(use_case: UseCase) -> None:
    """Make MLflow's store and the use case's experiment, with a place of its own for artifacts."""
    from evergreen.promotion.store import prepare_store

    home = Home.locate()
    if tracking_uri() == home.mlflow_uri:
        prepare_store(home, use_case.name)


def mend_stale_runs(use_case: UseCase, tag: str | None = None) -> None:
    """Mark runs as failed that a killed process left `running`: those with ``tag``.

    By default that is the use case's name. The caller holds the lock of the same name, so no such
    run can be alive on this machine.

    Raises
    ------
    UnreachableError
        If one goes on in the cluster: another machine's, or one that outlived its command.
    """
    from zenml.client import Client
    from zenml.enums import ExecutionStatus
    from zenml.models import PipelineRunUpdate

    client = Client()
    for status in (ExecutionStatus.RUNNING, ExecutionStatus.INITIALIZING):
        for run in client.list_pipeline_runs(
            status=status.value, tags=[tag or use_case.name], size=100
        ):
            if goes_on(client.active_stack, run):
                raise UnreachableError(
                    f"Another run of {use_case.name!r} is under way in the cluster ({run.name}). "
                    f"Wait for it, or end it: zenml pipeline runs stop {run.id}; {COMPETING}"
                )
            client.zen_store.update_run(
                run.id,
                PipelineRunUpdate(
                    status=ExecutionStatus.FAILED,
                    status_reason="The process that ran it ended without a word.",
                ),
            )
