"""Whether what serves took a new champion, and answers as it did at training."""

from __future__ import annotations

import os
import time
from typing import Annotated, Final

from zenml import step
from zenml.client import Client

from evergreen.config import UseCase
from evergreen.deployment.agreement import check
from evergreen.deployment.servers import (
    Health,
    KeyRefusedError,
    api_health,
    ask_api,
    swap_failure,
)
from evergreen.deployment.values import Check, Release, ServingCheck
from evergreen.errors import InputError, RefusedError, UnreachableError
from steps.announcements import announce
from steps.deployment.champion import resolve_champion, verify_bundle
from steps.deployment.record import record_deployment
from steps.deployment.rollout import deploy_everywhere
from steps.deployment.targets import open_log
from steps.deployment.targets.hosted_api import LOOKING, OTHER_ARMS, SWAPPING
from steps.deployment.verification import golden_rows, smoke_test

KEY_VARIABLE: Final = "EVERGREEN_API_KEY"


@step(enable_cache=False)
def verify_serving(use_case: UseCase) -> Annotated[ServingCheck, "serving"]:
    """See that everything that serves the use case on this machine answers as the champion does.

    What was deployed is deployed again where it does not follow by itself; the API at
    ``deploy.port`` is asked, whoever started it. ``failed`` means that a server answers otherwise,
    or does not take the version: that is the version's fault.

    Raises
    ------
    UnreachableError
        If a server ended or does not come up: that is not the version's fault.
    """
    champion = resolve_champion.entrypoint(use_case.name)
    try:
        release: Release = verify_bundle.entrypoint(champion)
        checks = deployed_checks(release, use_case)
        if checks is None:
            checks = api_checks(release, use_case)
    except (InputError, RefusedError) as error:
        return ServingCheck(status="failed", version=champion.version, message=str(error))
    if not checks:
        return ServingCheck(
            status="nothing_serves",
            version=release.version,
            message=f"Nothing serves {use_case.name!r} on this machine, so no server was asked.",
        )
    named = " and ".join(f"{each.title} ({each.url})" for each in checks)
    return ServingCheck(
        status="verified",
        version=release.version,
        checks=checks,
        message=f"{named} answered {checks[0].rows} golden rows as version {release.version} did.",
    )


def deployed_checks(release: Release, use_case: UseCase) -> tuple[Check, ...] | None:
    """Bring the release to what was deployed by this stack; None where nothing was."""
    stack = Client().active_stack
    if stack.model_deployer is None and stack.deployer is None:
        return None
    if open_log().deployed(release.name) is None:
        return None
    rollout = deploy_everywhere.entrypoint(release, use_case)
    smoke = smoke_test.entrypoint(rollout, release)
    record_deployment.entrypoint(rollout, smoke, release)
    checks: tuple[Check, ...] = smoke.checks
    return checks


def api_checks(release: Release, use_case: UseCase) -> tuple[Check, ...]:
    """Wait until the API at ``deploy.port`` serves the release, and ask it; nothing if none does.

    Raises
    ------
    RefusedError
        If it does not take the version, or answers otherwise.
    UnreachableError
        If it ended meanwhile, or asks for a key that we do not have.
    """
    url = f"http://127.0.0.1:{use_case.deploy.port}"
    health = api_health(url)
    if health is None or health.model != release.name:
        return ()
    announce("Wait for the API to swap")
    health = await_version(url, release.version)
    announce("Ask the API for the golden rows")
    golden = golden_rows(release)
    key = os.environ.get(KEY_VARIABLE)
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        answers = ask_api(url, golden, headers)
        for _ in range(OTHER_ARMS):
            if answers.version == release.version:
                break
            answers = ask_api(url, golden, headers)
    except KeyRefusedError as error:
        raise UnreachableError(f"{error} Set {KEY_VARIABLE} to one that may predict.") from error
    found = check("Contract API", url, golden, answers, release.version, health.version)
    if not found.passed:
        raise RefusedError(f"The API at {url}: {found.message}")
    return (found,)


def await_version(url: str, version: str) -> Health:
    """Wait until an API serves a version, and return what it says of itself then.

    Raises
    ------
    RefusedError
        If it does not take the version, with its reason.
    UnreachableError
        If it ended meanwhile.
    """
    start = time.monotonic()
    while (waited := time.monotonic() - start) < SWAPPING:
        health = api_health(url)
        if health is not None and health.version == version:
            return health
        if waited > LOOKING and swap_failure(url) is not None:
            break
        time.sleep(0.5)
    if api_health(url) is None:
        raise UnreachableError(f"The API at {url} does not answer any more.")
    why = swap_failure(url) or f"it gave no reason within {SWAPPING:.0f} s"
    raise RefusedError(f"The API at {url} did not take version {version}: {why}")
