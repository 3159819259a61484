"""``--approve`` and ``--reject``: a person's word on the version that waits."""

from __future__ import annotations

import argparse
import json
import re

from evergreen.config import NAME
from evergreen.errors import ExitCode, InputError
from evergreen.promotion.registration import Registration
from evergreen.provenance import current_user
from evergreen.terminal import show_decision
from pipelines import session
from pipelines.decision_session import open_registry


def decide(options: argparse.Namespace) -> int:
    """Approve or reject the waiting challenger, and print what became of it.

    Raises
    ------
    InputError
        If none waits, or there is no such model.
    RefusedError
        If another version became champion since the one that waits was judged.
    UnreachableError
        If a training of the same use case is under way, or the registry does not answer.
    """
    name = valid_name(options.approve or options.reject)
    with session.at_hand(options, lock=name) as (home, out, _):
        registry = open_registry(home)
        notes = registry.reconcile(name)
        if options.approve:
            outcome = registry.approve(name, current_user())
        else:
            outcome = registry.reject(name, current_user(), options.reason)
        if options.json:
            out.write(as_json(options, outcome) + "\n")
        else:
            show_decision(outcome, notes, out)
    return ExitCode.DONE


def valid_name(name: str) -> str:
    """Return a use case's name as it is; raise `InputError` where it cannot be one."""
    if not re.fullmatch(NAME, name):
        raise InputError(f"{name!r} is no name of a use case; give the name that its YAML states.")
    return name


def as_json(options: argparse.Namespace, outcome: Registration) -> str:
    """Return the decision as one JSON object."""
    decision = {
        "decision": "approved" if options.approve else "rejected",
        "use_case": options.approve or options.reject,
        **outcome.model_dump(mode="json"),
        "exit_code": int(ExitCode.DONE),
    }
    return json.dumps(decision, indent=2)
