"""Turns: what a window's decision asks for, and what became of it.

The history knows which runs worked on a window's turn, and the promotion log which run made a
version. So what a killed process did is known, and is not done again.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from evergreen.config import UseCase
from evergreen.errors import UnreachableError
from evergreen.monitoring.decision import Action, Outcome
from evergreen.monitoring.guard import GuardVerdict
from evergreen.monitoring.history import MonitoredWindow, MonitoringHistory
from evergreen.promotion.promotion_log import Entry
from evergreen.promotion.registration import Registration
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


class Guarded(Value):
    """What the guard said of the newest promotion; no verdict where there is nothing to guard."""

    verdict: GuardVerdict | None

    @property
    def rolled_back(self) -> bool:
        """Whether the champion changed."""
        return self.verdict is not None and self.verdict.action == "roll_back"


class WayBack(Value):
    """What became of a rollback: ``champion`` answers now, in the place of ``left``."""

    left: str
    champion: str
    moved: bool
    message: str


class Task(Value):
    """What a turn of the loop has to do.

    ``retrain``: learn from ``request``. ``verify``: the retraining is ``settled``; whether what
    serves took the new version is to be seen. ``roll_back``: the champion of ``window`` goes.
    ``nothing``: what was left is concluded. ``observe``: nothing was left, or it ``waits`` for a
    person or a canary, and nothing else is retrained meanwhile.
    """

    kind: Literal["observe", "retrain", "verify", "roll_back", "nothing"]
    window: MonitoredWindow | None = None
    request: RetrainRequest | None = None
    settled: Settled | None = None
    waits: str | None = None  # why nothing is retrained


def open_turn(
    history: MonitoringHistory, use_case: str, actions: Sequence[Action] = ("retrain",)
) -> MonitoredWindow | None:
    """Return the window whose turn was begun and not concluded, or not begun at all.

    Of those not begun only the newest window counts: the ones before were decided on anew since.
    """
    begun = [window for window in history.open_turns(use_case) if window.action in actions]
    if begun:
        return begun[0]
    newest = history.windows(use_case, 1)
    if newest and newest[0].action in actions and newest[0].turn is None:
        return newest[0]
    return None


def next_turn(
    history: MonitoringHistory, entries: Sequence[Entry], use_case: str
) -> tuple[MonitoredWindow | None, Settled | None]:
    """Return the window to retrain for, and what was concluded because the promotion log knows it.

    ``entries`` are the promotion log's, with the newest first.

    Raises
    ------
    UnreachableError
        If the challenger of the turn before waits for a person or a canary still.
    """
    concluded = None
    while (window := open_turn(history, use_case)) is not None and window.id is not None:
        found = settled(entries, window)
        if found is None:
            return window, concluded
        if found.outcome == "waiting":
            raise UnreachableError(waits(found, use_case))
        history.record_turn(window.id, found.outcome, version=found.version, note=found.note)
        concluded = found
    return None, concluded


def left_over(
    history: MonitoringHistory,
    entries: Sequence[Entry],
    champion: str,
    use_case: UseCase,
    now: datetime,
) -> Task:
    """Return what the turn before left to do; ``champion`` is the version that answers now."""
    window = open_turn(history, use_case.name, ("retrain", "rollback"))
    if window is None:
        return Task(kind="observe")
    if window.action == "rollback":
        if window.version == champion:
            return Task(kind="roll_back", window=window)
        back = Settled(outcome="promoted", version=champion, note=None)
        return Task(kind="verify", window=window, settled=back)
    found = settled(entries, window)
    if found is None:
        return Task(kind="retrain", window=window, request=request_of(window, use_case, now))
    if found.outcome == "waiting":
        return Task(kind="observe", waits=waits(found, use_case.name))
    kind: Literal["verify", "nothing"] = "verify" if found.outcome == "promoted" else "nothing"
    return Task(kind=kind, window=window, settled=found)


def task_of(window: MonitoredWindow, before: Task, use_case: UseCase, now: datetime) -> Task:
    """Return what the decision about a new window asks for, where ``before`` does not forbid it."""
    if window.action == "rollback":
        return Task(kind="roll_back", window=window)
    if window.action != "retrain":
        return Task(kind="nothing", window=window)
    if before.waits is not None:
        return Task(kind="nothing", window=window, waits=before.waits)
    return Task(kind="retrain", window=window, request=request_of(window, use_case, now))


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


def settled(entries: Sequence[Entry], window: MonitoredWindow) -> Settled | None:
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
    for entry in entries:
        if entry.action in outcomes and entry.zenml_run in window.runs:
            return Settled(
                outcome=outcomes[entry.action], version=entry.to_version, note=entry.note
            )
    return None


def settled_by(registration: Registration) -> Settled:
    """Return what a registration means for the turn; `unchanged` counts as refused."""
    waiting = registration.status in ("waiting", "ramping")
    promoted = registration.status == "promoted"
    return Settled(
        outcome="waiting" if waiting else "promoted" if promoted else "refused",
        version=registration.version,
        note=registration.message,
    )


def settled_by_way_back(way: WayBack) -> Settled:
    """Return what a rollback means for the turn that asked for it."""
    outcome: Outcome = "promoted" if way.moved else "failed"
    return Settled(outcome=outcome, version=way.champion, note=way.message)


def failed_in_service(settled: Settled, way: WayBack) -> Settled:
    """Return what a turn comes to whose version what serves did not take."""
    note = f"Version {settled.version} failed in service. {way.message}"
    return Settled(outcome="failed", version=settled.version, note=note)


def waits(found: Settled, use_case: str) -> str:
    """Say that nothing is retrained before somebody decides on the challenger."""
    return (
        f"Version {found.version} of {use_case!r}, from the retraining before, waits. Decide "
        f"on it first (python run.py --approve {use_case}, or --reject), or let its canary end."
    )


def why_back(task: Task) -> str:
    """Return the reasons for which a window's decision asks for a rollback."""
    return "; ".join(task.window.decision.reasons) if task.window is not None else ""
