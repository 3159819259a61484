"""``--guard``: a version that was just promoted and does worse in service goes back."""

from __future__ import annotations

import argparse
import json
from datetime import UTC, datetime

from evergreen.alerts.alert import Alert
from evergreen.config import UseCase
from evergreen.errors import ExitCode
from evergreen.monitoring.guard import GuardVerdict
from evergreen.monitoring.guarded_rows import guard_champion
from evergreen.paths import Home
from evergreen.promotion.registry import Registry
from evergreen.promotion.rollback import roll_back
from evergreen.provenance import current_user
from evergreen.serving.options import ServerOptions
from pipelines.decision_session import deciding


def run_guard(options: argparse.Namespace) -> int:
    """Judge the newest promotion; exit code 1 where it was rolled back, so that cron tells."""
    with deciding(options) as session:
        verdict = guard(session.registry, session.use_case, session.home)
        rolled_back = verdict is not None and verdict.action == "roll_back"
        code = ExitCode.REFUSED if rolled_back else ExitCode.DONE
        if options.json:
            content = {
                "guard": None if verdict is None else verdict.model_dump(mode="json"),
                "exit_code": int(code),
            }
            session.out.write(json.dumps(content, indent=2) + "\n")
        else:
            text = "No promotion is under guard." if verdict is None else message(verdict)
            session.out.write(f"{text}\n")
    return code


def guard(registry: Registry, use_case: UseCase, home: Home) -> GuardVerdict | None:
    """Judge the newest promotion, roll it back where it is surely worse, and tell of it."""
    url = ServerOptions(settings=use_case.serving, home=home).log_url
    verdict = guard_champion(registry, use_case, url, datetime.now(UTC))
    if verdict is None or verdict.action != "roll_back":
        return verdict
    who = f"{current_user()} (guard)"
    roll_back(registry, use_case.name, who, verdict.reason, to=verdict.former)

    from steps.alerting import tell

    title = f"Version {verdict.version} was rolled back to {verdict.former}"
    tell(Alert.of("rolled_back", use_case.name, title, verdict.reason), use_case)
    return verdict


def message(verdict: GuardVerdict) -> str:
    """Say what the guard did, and why."""
    said = {
        "roll_back": f"Rolled back to version {verdict.former}.",
        "keep": f"Version {verdict.version} stays.",
        "wait": f"Version {verdict.version} is under guard until {verdict.until:%H:%M} UTC.",
    }
    return f"{said[verdict.action]} {verdict.reason}"
