"""``--traffic``: which traffic the challenger of a use case gets."""

from __future__ import annotations

import argparse
import json
import re
from typing import NamedTuple

from evergreen.errors import ExitCode, InputError
from evergreen.promotion.traffic import Mode, TrafficChange, end_traffic, set_traffic
from evergreen.provenance import current_user
from evergreen.terminal_decisions import show_traffic
from pipelines.decision_session import deciding

WISHES = "challenger=PERCENT, shadow, canary or off"


class Wish(NamedTuple):
    """What ``--traffic`` asks for; no mode ends the plan in force."""

    mode: Mode | None
    percent: float | None = None


def change(options: argparse.Namespace) -> int:
    """Change the traffic plan of the use case, and print what is in force.

    Raises
    ------
    InputError
        If the wish cannot be read, or no version is challenger.
    RefusedError
        If somebody else changed the plan at the same moment.
    UnreachableError
        If the registry or the promotion log do not answer.
    """
    wish = read_wish(options.traffic)
    with deciding(options) as session:
        name, who = session.use_case.name, current_user()
        if wish.mode is None:
            changed = end_traffic(session.registry, name, who, options.reason)
        else:
            changed = set_traffic(
                session.registry,
                name,
                wish.mode,
                session.use_case.serving.traffic,
                who,
                percent=wish.percent,
                reason=options.reason,
            )
        if options.json:
            session.out.write(as_json(name, changed) + "\n")
        else:
            show_traffic(changed, session.out)
    return ExitCode.DONE


def read_wish(text: str) -> Wish:
    """Read what stands after ``--traffic``.

    Raises
    ------
    InputError
        If it is none of `WISHES`.
    """
    if text in ("shadow", "canary"):
        return Wish("shadow" if text == "shadow" else "canary")
    if text == "off":
        return Wish(None)
    share = re.fullmatch(r"challenger=([0-9]+(?:\.[0-9]+)?)\s*%?", text)
    if share is None:
        raise InputError(f"--traffic {text}: needs {WISHES}, such as challenger=10")
    percent = float(share[1])
    if percent > 100:
        raise InputError(f"--traffic {text}: a share is at most 100 percent")
    return Wish("split", percent)


def as_json(name: str, changed: TrafficChange) -> str:
    """Return the change as one JSON object."""
    content = {"use_case": name, **changed.model_dump(mode="json"), "exit_code": int(ExitCode.DONE)}
    return json.dumps(content, indent=2)
