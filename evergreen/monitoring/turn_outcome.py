"""What a turn of the loop tells at its end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from evergreen.deployment.values import ServingCheck
from evergreen.errors import ExitCode
from evergreen.monitoring.guard import GuardVerdict
from evergreen.monitoring.history import MonitoredWindow
from evergreen.monitoring.outcome import message as window_message
from evergreen.monitoring.turns import Guarded, Task, WayBack
from evergreen.outcome import TrainingOutcome
from evergreen.values import Value

Status = Literal[
    "none",  # nothing is to be done
    "watch",  # an alarm, and nothing is to be done yet
    "alert",  # a person has to look
    "waits",  # a retraining is due, and the one before waits for a person or a canary
    "promoted",
    "waiting",
    "ramping",
    "unchanged",
    "refused",
    "concluded",  # what the turn before left is finished
    "rolled_back",
    "failed",  # the new version failed in service, or there was no way back
]
GOOD: frozenset[Status] = frozenset(
    {"none", "watch", "waits", "promoted", "waiting", "ramping", "unchanged", "concluded"}
)


class TurnFacts(Value):
    """What the steps of a turn gave; None where a step was not taken.

    ``before`` is what the turn before had left, ``task`` what was to be done. ``ways_back`` are
    the rollbacks, the first one first.
    """

    guarded: Guarded
    before: Task
    task: Task
    window: MonitoredWindow | None = None
    training: TrainingOutcome | None = None
    serving: ServingCheck | None = None
    ways_back: tuple[WayBack, ...] = ()


class TurnOutcome(Value):
    """What the command line tells at the end: the object that ``--json`` prints."""

    pipeline: Literal["continuous"] = "continuous"
    use_case: str
    status: Status
    message: str
    exit_code: int
    taken_up: bool  # whether a turn was gone on with that an earlier run had left
    champion: str  # the version that answers now
    guard: GuardVerdict | None
    window: MonitoredWindow | None
    training: TrainingOutcome | None
    serving: ServingCheck | None
    ways_back: tuple[WayBack, ...]
    reports: Mapping[str, str]
    durations: Mapping[str, float]
    seconds: float
    stack: str
    zenml_run: str
    log: str


def status_of(facts: TurnFacts) -> Status:
    """Return what a turn came to."""
    task = facts.task
    if facts.ways_back:
        asked = task.kind == "roll_back" and len(facts.ways_back) == 1
        return "rolled_back" if asked and facts.ways_back[0].moved else "failed"
    if facts.guarded.rolled_back:
        return "rolled_back"
    if facts.training is not None:
        return facts.training.status
    if task.waits is not None and task.window is not None:
        return "waits"
    if task.settled is not None:
        return "concluded"
    action = "none" if facts.window is None else facts.window.action
    return action if action in ("none", "watch", "alert") else "failed"


def exit_code_of(status: Status, facts: TurnFacts) -> ExitCode:
    """Return 0 where nothing was to be done or all was well, else 1, so that cron tells."""
    failed = facts.serving is not None and facts.serving.status == "failed"
    settled = facts.task.settled
    failed |= status == "concluded" and settled is not None and settled.outcome != "promoted"
    return ExitCode.DONE if status in GOOD and not failed else ExitCode.REFUSED


def message_of(facts: TurnFacts) -> str:
    """Say what was found and done, in sentences."""
    said = []
    verdict = facts.guarded.verdict
    if verdict is not None and facts.guarded.rolled_back:
        said.append(f"Rolled back to version {verdict.former}. {verdict.reason}")
    if facts.before.kind != "observe":
        said.append("A turn that was cut short before is finished.")
    if facts.before.waits is not None:
        said.append(facts.before.waits)
    if facts.window is not None:
        said.append(window_message(facts.window))
    if facts.training is not None:
        said.append(facts.training.message)
    elif facts.task.settled is not None:
        settled = facts.task.settled
        said.append(settled.note or f"It is {settled.outcome}.")
    said += [way.message for way in facts.ways_back]
    if facts.serving is not None:
        said.append(facts.serving.message)
    return " ".join(said)
