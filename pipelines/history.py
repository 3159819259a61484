"""``--history``: the promotion log of a use case."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from sqlalchemy import make_url

from evergreen.errors import ExitCode
from evergreen.paths import Home
from evergreen.promotion.promotion_log import Entry, PromotionLog
from evergreen.terminal_decisions import show_history
from evergreen.use_case import load_use_case
from pipelines import session


def run_history(options: argparse.Namespace) -> int:
    """Print every decision on the use case, the newest first.

    Raises
    ------
    InputError
        If the use case cannot be read.
    UnreachableError
        If the promotion log cannot be read.
    """
    name = load_use_case(Path(options.config), options.overrides).name
    with session.at_hand(options) as (home, out, _):
        entries = read_history(home, name)
        if options.json:
            decisions = [as_content(entry) for entry in entries]
            content = {"use_case": name, "decisions": decisions, "exit_code": 0}
            out.write(json.dumps(content, indent=2) + "\n")
        else:
            show_history(name, entries, out)
    return ExitCode.DONE


def read_history(home: Home, name: str) -> tuple[Entry, ...]:
    """Return the decisions on a use case, the newest first; of intents, those that are open."""
    url = make_url(home.database_url)
    if url.get_backend_name() == "sqlite" and not Path(str(url.database)).exists():
        return ()  # asking makes no log
    log = PromotionLog(home.database_url)
    try:
        entries = log.entries(name)
    finally:
        log.close()
    closed = {entry.closes for entry in entries}
    return tuple(each for each in entries if each.action != "intent" or each.id not in closed)


def as_content(entry: Entry) -> dict[str, Any]:
    """Return a decision for JSON."""
    content: dict[str, Any] = entry.model_dump(mode="json", exclude={"closes", "intended"})
    return content
