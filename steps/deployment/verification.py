"""Do the servers answer as the model did at training, and as one another?"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

from zenml import step

from evergreen.deployment.agreement import check, compare_servers
from evergreen.deployment.deployment_log import DeploymentEntry
from evergreen.deployment.servers import Columns, GoldenRows
from evergreen.deployment.values import Check, Release
from evergreen.errors import RefusedError
from evergreen.promotion.bundle import open_bundle
from evergreen.provenance import current_user
from evergreen.values import Value
from steps.announcements import announce
from steps.deployment.champion import fetch_bundle
from steps.deployment.rollout import Rollout, taking_back
from steps.deployment.targets import Target, find_targets, open_log


class SmokeTest(Value):
    """What every server answered, and how that compares with the answers at training."""

    checks: tuple[Check, ...]
    agreement: str  # of the servers with one another, in a sentence


def golden_rows(release: Release) -> GoldenRows:
    """Return the golden rows of a release, which another machine may have verified."""
    folder = Path(release.folder)
    if not folder.is_dir():
        folder = fetch_bundle(release)
    return GoldenRows.read(folder, open_bundle(folder).contract)


@contextmanager
def or_back(rollout: Rollout, release: Release) -> Iterator[list[Target]]:
    """Yield the targets; where the block fails, bring back what served before."""
    targets = find_targets(release.name)
    log = open_log()
    started = DeploymentEntry(
        id=rollout.started,
        who=current_user(),
        use_case=release.name,
        action="started",
        version=release.version,
        former=rollout.former,
    )
    before = [each.before for each in rollout.deployments]
    with taking_back(targets, before, rollout.deployments, log, started):
        yield targets


@step(enable_cache=False)
def smoke_test(rollout: Rollout, release: Release) -> Annotated[SmokeTest, "smoke_test"]:
    """Ask every server for the golden rows, over its own protocol.

    Raises
    ------
    RefusedError
        If one answers otherwise than the model did at training, with another version, or
        otherwise than another server. What served before serves again then.
    UnreachableError
        If one does not answer; likewise.
    """
    golden = golden_rows(release)
    checks: list[Check] = []
    answers: dict[str, Columns] = {}
    with or_back(rollout, release) as targets:
        for target in targets:
            state = rollout.of(target).after
            if state.condition == "rendered":  # nobody serves it, and the state says why
                continue
            announce(f"Ask {target.title} for the golden rows")
            found = target.ask(state, golden)
            answers[target.title] = found.columns
            known = state.version
            checks.append(
                check(target.title, str(state.url), golden, found, release.version, known)
            )
        require_passed(checks)
        agreement = require_agreement(answers, golden)
    return SmokeTest(checks=tuple(checks), agreement=agreement)


def require_passed(checks: list[Check]) -> None:
    """Raise `RefusedError` where a server did not answer as the model did at training."""
    failed = [f"{each.title} ({each.url}): {each.message}" for each in checks if not each.passed]
    if failed:
        raise RefusedError(f"The smoke test failed. {'; '.join(failed)}")


def require_agreement(answers: dict[str, Columns], golden: GoldenRows) -> str:
    """Say that the servers agree; raise `RefusedError` where two do not."""
    replays = compare_servers(answers, golden)
    for pair, replay in replays.items():
        if not replay.passed:
            raise RefusedError(f"{pair} do not agree: {replay.message}")
    rows = len(golden.rows)
    if not answers:
        return "no server answers yet, so none was asked"
    if not replays:
        return f"one server, {rows} golden rows"
    return f"{len(answers)} servers agree on {rows} golden rows"
