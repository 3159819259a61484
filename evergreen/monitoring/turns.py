"""Turns: what the retraining that a window led to asks for, and what became of it.

A run carries its window's number in its name, and the promotion log carries the run's name. So
what a killed process did is known, and is not done again.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from evergreen.config import UseCase
from evergreen.monitoring.decision import Outcome
from evergreen.monitoring.history import MonitoredWindow, MonitoringHistory
from evergreen.promotion.promotion_log import Entry
from evergreen.values import Value


class RetrainRequest(Value):
    """Which labelled rows of the log a retraining takes: after ``since``, before ``until`` (UTC).

    ``changed``: a change of what is right was found, and ``since`` is its moment. ``window`` is
    the window of the monitoring history that asked for it.
    """

    since: datetime | None
    until: datetime
    max_rows: int
    changed: bool
    window: int | None = None


class Settled(Value):
    """What the promotion log says of a turn. ``waiting``: a person or a canary decides."""

    outcome: Outcome | Literal["waiting"]
    version: str | None
    note: str | None


def open_turn(history: MonitoringHistory, use_case: str) -> MonitoredWindow | None:
    """Return the window whose retraining was begun and not concluded, or not begun at all.

    Of those not begun only the newest window counts: the ones before were decided on anew since.
    """
    begun = history.open_turns(use_case)
    if begun:
        return begun[0]
    newest = history.windows(use_case, 1)
    if newest and newest[0].action == "retrain" and newest[0].turn is None:
        return newest[0]
    return None


def request_of(window: MonitoredWindow | None, use_case: UseCase, now: datetime) -> RetrainRequest:
    """Return what a window asks for; without one, the newest labelled rows of all."""
    config = use_case.monitoring.retrain
    if window is None or window.decision.training is None or window.time is None:
        return RetrainRequest(since=None, until=now, max_rows=config.max_rows, changed=False)
    training = window.decision.training
    return RetrainRequest(
        since=training.since,
        until=window.time,
        max_rows=training.max_rows,
        changed=training.since is not None,
        window=window.id,
    )


def run_name(use_case: str, window: int | None, now: datetime) -> str:
    """Return the name of a retraining's run."""
    return f"{_prefix(use_case, window)}{now:%Y%m%dT%H%M%S%f}"


def settled(entries: Sequence[Entry], use_case: str, window: int) -> Settled | None:
    """Return what became of a window's retraining, from the log with the newest entry first.

    None: the gate has not had its say.
    """
    outcomes: dict[str, Outcome | Literal["waiting"]] = {
        "promoted": "promoted",
        "approved": "promoted",
        "refused": "refused",
        "rejected": "refused",
        "waiting": "waiting",
    }
    prefix = _prefix(use_case, window)
    for entry in entries:
        if entry.action in outcomes and (entry.zenml_run or "").startswith(prefix):
            return Settled(
                outcome=outcomes[entry.action], version=entry.to_version, note=entry.note
            )
    return None


def _prefix(use_case: str, window: int | None) -> str:
    return f"retrain-{use_case}-" + ("" if window is None else f"w{window}-")
