"""``--guard``: a version that was just promoted and does worse in service goes back."""

from __future__ import annotations

import argparse
import json

from evergreen.errors import ExitCode
from evergreen.monitoring.guard import GuardVerdict
from pipelines.decision_session import deciding


def run_guard(options: argparse.Namespace) -> int:
    """Judge the newest promotion; exit code 1 where it was rolled back, so that cron tells."""
    with deciding(options) as session:
        from steps.monitoring.turn import guard

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


def message(verdict: GuardVerdict) -> str:
    """Say what the guard did, and why."""
    said = {
        "roll_back": f"Rolled back to version {verdict.former}.",
        "keep": f"Version {verdict.version} stays.",
        "wait": f"Version {verdict.version} is under guard until {verdict.until:%H:%M} UTC.",
    }
    return f"{said[verdict.action]} {verdict.reason}"
