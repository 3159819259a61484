"""``--rollback``: the way back to a version that served before."""

from __future__ import annotations

import argparse
import json

from evergreen.errors import ExitCode
from evergreen.promotion.rollback import roll_back
from evergreen.provenance import current_user
from evergreen.terminal_decisions import show_rollback
from pipelines.decision_session import deciding


def run_rollback(options: argparse.Namespace) -> int:
    """Make the previous version (or ``--to``) champion again; running servers follow by themselves.

    Raises
    ------
    InputError
        If there is no previous version, no such one, or its bundle is damaged.
    RefusedError
        If the version never served, or the champion came by a rollback already.
    UnreachableError
        If registry, promotion log or bundle do not answer.
    """
    with deciding(options) as session:
        name = session.use_case.name
        outcome = roll_back(session.registry, name, current_user(), options.reason, options.to)
        if options.json:
            content = {
                "decision": "unchanged" if outcome.status == "unchanged" else "rolled_back",
                "use_case": name,
                **outcome.model_dump(mode="json"),
                "exit_code": int(ExitCode.DONE),
            }
            session.out.write(json.dumps(content, indent=2) + "\n")
        else:
            show_rollback(outcome, session.out)
    return ExitCode.DONE
