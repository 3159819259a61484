"""Deploying to every target of the stack, and taking it back where something is wrong."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated

from zenml import step
from zenml.client import Client

from evergreen.config import UseCase
from evergreen.deployment.deployment_log import DeploymentEntry, DeploymentLog
from evergreen.deployment.values import Deployment, Release, ServerState
from evergreen.deployment.wording import now_serving
from evergreen.errors import EvergreenError
from evergreen.provenance import current_user
from evergreen.values import Value
from steps.announcements import announce
from steps.deployment.targets import Target, find_targets, open_log
from steps.workspace import run_name


class Rollout(Value):
    """What became of every target, in the order of the stack's components."""

    deployments: tuple[Deployment, ...]
    started: int | None  # the row of the deployment log that says so; None where nothing changed
    former: str | None  # the version that was deployed before
    notes: tuple[str, ...] = ()

    def of(self, target: Target) -> Deployment:
        """Return what became of one target."""
        return next(each for each in self.deployments if each.after.title == target.title)


@step(enable_cache=False)
def deploy_everywhere(release: Release, use_case: UseCase) -> Annotated[Rollout, "rollout"]:
    """Let every serving component of the active stack serve the release.

    Where one fails, those before it are taken back.

    Raises
    ------
    InputError
        If the stack has no serving component, or one that we cannot deploy to.
    UnreachableError
        If a port is taken, or a server does not come up.
    """
    targets = find_targets(release.name)
    log = open_log()
    notes = close_unfinished(log, release.name)
    former = log.deployed(release.name)
    announce("Look at the servers")
    reasons = [target.prepare(release, use_case) for target in targets]
    states = [target.status() for target in targets]
    started = DeploymentEntry(
        who=current_user(),
        use_case=release.name,
        action="started",
        version=release.version,
        former=former.version if former else None,
        stack=Client().active_stack.name,
        servers=tuple(states),
        zenml_run=run_name(),
    )
    # A killed deployment may have left every server right, and the log behind.
    if any(reasons) or started.former != release.version:
        started = log.record(started)
    done: list[Deployment] = []
    with taking_back(targets, states, done, log, started):
        for target, reason, state in zip(targets, reasons, states, strict=True):
            if reason is None:
                done.append(Deployment(before=state, after=state, changed=False))
                continue
            announce(f"Deploy to {target.title}")
            deployment = target.deploy(release, use_case)
            done.append(deployment.model_copy(update={"note": reason}))
    return Rollout(deployments=tuple(done), started=started.id, former=started.former, notes=notes)


def close_unfinished(log: DeploymentLog, name: str) -> tuple[str, ...]:
    """Write into the log that earlier deployments were cut short, and say so.

    What they left is found by looking at the servers. The caller holds the use case's lock.
    """
    notes = []
    for row in reversed(log.unfinished(name)):
        since = row.time.isoformat(timespec="seconds") if row.time else "some time"
        why = f"cut short; begun {since} by {row.who} on {row.host}"
        log.record(row.model_copy(update={"action": "failed", "closes": row.id, "note": why}))
        notes.append(f"A deployment of version {row.version} was {why}. This one mends it.")
    return tuple(notes)


@contextmanager
def taking_back(
    targets: Sequence[Target],
    before: Sequence[ServerState],
    deployments: Sequence[Deployment],
    log: DeploymentLog,
    started: DeploymentEntry,
) -> Iterator[None]:
    """Bring back what served before where the block fails; messages end with what serves then.

    ``deployments`` may grow inside the block.
    """
    try:
        yield
    except BaseException as error:
        states = [_restored(target, deployments) for target in targets]
        summary = now_serving(before, states)
        _note_failure(log, started, error, states)
        if isinstance(error, EvergreenError):
            raise type(error)(f"{error}\n{summary}") from error
        error.add_note(summary)
        raise


def _restored(target: Target, deployments: Sequence[Deployment]) -> ServerState:
    """Take a target's deployment back, if there was one, and return what serves then."""
    for deployment in deployments:
        if deployment.after.title == target.title:
            try:
                return target.restore(deployment)
            except EvergreenError as problem:
                announce(f"{target.title} could not be brought back: {problem}")
                return _found(target, deployment.after)
    return _found(target, None)


def _found(target: Target, last: ServerState | None) -> ServerState:
    """Return what a target serves; where that cannot be learnt, that nothing is known to serve."""
    try:
        return target.status()
    except EvergreenError as problem:
        announce(f"{target.title} cannot be looked at: {problem}")
        unknown = last or ServerState(
            kind="deployer", flavor="", component="", title=target.title, condition="stale"
        )
        return unknown.model_copy(update={"condition": "stale", "detail": str(problem)})


def _note_failure(
    log: DeploymentLog,
    started: DeploymentEntry,
    error: BaseException,
    states: Sequence[ServerState],
) -> None:
    reason = str(error) or type(error).__name__
    entry = started.model_copy(
        update={
            "action": "failed",
            "closes": started.id,
            "servers": tuple(states),
            "note": reason[:2000],
        }
    )
    try:
        log.record(entry)
    except EvergreenError:
        announce("The deployment log could not be written; the next deployment will")
