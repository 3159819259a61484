"""What the command line ends with: the objects that ``--json`` prints."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Literal

from evergreen.deployment.values import Check, Condition, DeploymentReport, ServerState
from evergreen.errors import ExitCode
from evergreen.values import Value


class DeployedServer(Value):
    """One line of the final table."""

    title: str
    url: str | None
    component: str
    flavor: str
    condition: Condition
    detail: str | None  # what is wrong with it
    version: str | None
    changed: bool
    why: str | None  # it was changed
    check: Check | None  # none where nobody acts on what was written down
    log: str | None


class DeploymentOutcome(Value):
    """A finished deployment."""

    pipeline: Literal["deploy"] = "deploy"
    use_case: str
    status: Literal["deployed", "unchanged"]
    message: str
    exit_code: int
    version: str
    former: str | None  # the version that was deployed before
    runtime: str
    servers: tuple[DeployedServer, ...]
    rows: int
    agreement: str
    notes: tuple[str, ...]
    durations: Mapping[str, float]  # stage: seconds
    seconds: float = 0.0
    stack: str = ""
    zenml_run: str = ""
    config: str = ""  # the use case's file
    log: str = ""

    @classmethod
    def of(cls, report: DeploymentReport, durations: Mapping[str, float]) -> DeploymentOutcome:
        """Return what a report comes to."""
        release = report.release
        checks = {check.title: check for check in report.checks}
        servers = tuple(
            DeployedServer(
                title=each.after.title,
                url=each.after.url,
                component=each.after.component,
                flavor=each.after.flavor,
                condition=each.after.condition,
                detail=each.after.detail,
                version=check.version if check is not None else None,
                changed=each.changed,
                why=each.note,
                check=check,
                log=each.after.log,
            )
            for each in report.deployments
            for check in [checks.get(each.after.title)]
        )
        what = f"version {release.version} of {release.name!r}"
        message = f"Every server answers with {what} already; nothing was changed."
        if report.changed:
            after = f", after version {report.former}" if report.former else ""
            message = f"{what.capitalize()} is deployed{after}."
            if report.former == release.version:
                message = f"{what.capitalize()} is deployed on every server again."
        return cls(
            use_case=release.name,
            status="deployed" if report.changed else "unchanged",
            message=message,
            exit_code=ExitCode.DONE,
            version=release.version,
            former=report.former,
            runtime=release.runtime,
            servers=servers,
            rows=release.replay.rows,
            agreement=report.agreement,
            notes=(*report.notes, *_not_served(report)),
            durations=durations,
        )


def _not_served(report: DeploymentReport) -> list[str]:
    """Return why what was written down is not served."""
    states = [each.after for each in report.deployments]
    return [f"{one.title}: {one.detail}." for one in states if one.condition == "rendered"]


class ModelStatus(Value):
    """What serves a model, and what should."""

    use_case: str
    champion: str | None
    deployed: str | None  # by the deployment log
    since: datetime | None
    servers: tuple[ServerState, ...]


class Removal(Value):
    """What was stopped."""

    use_case: str
    stopped: tuple[ServerState, ...]
    exit_code: int = ExitCode.DONE
