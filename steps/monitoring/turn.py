"""A turn of the loop: what it has to do, and what became of it."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime
from typing import Annotated

from zenml import step

from evergreen.alerts.alert import Alert
from evergreen.config import UseCase
from evergreen.deployment.values import ServingCheck
from evergreen.errors import InputError, RefusedError
from evergreen.monitoring.guard import GuardVerdict
from evergreen.monitoring.guarded_rows import guard_champion
from evergreen.monitoring.history import MonitoredWindow, MonitoringHistory
from evergreen.monitoring.turns import Guarded, Settled, Task, WayBack, left_over, task_of
from evergreen.paths import Home
from evergreen.promotion.registry import Registry
from evergreen.promotion.rollback import roll_back
from evergreen.provenance import current_user
from evergreen.reporting.monitoring.files import write_pages
from evergreen.serving.options import ServerOptions
from steps.alerting import tell
from steps.announcements import announce
from steps.promotion.champion import open_registry
from steps.workspace import run_name


def guard(registry: Registry, use_case: UseCase, home: Home) -> GuardVerdict | None:
    """Judge the newest promotion, roll it back where it is surely worse, and tell of it."""
    url = ServerOptions(settings=use_case.serving, home=home).log_url
    verdict = guard_champion(registry, use_case, url, datetime.now(UTC))
    if verdict is None or verdict.action != "roll_back":
        return verdict
    who = f"{current_user()} (guard)"
    roll_back(registry, use_case.name, who, verdict.reason, to=verdict.former)
    title = f"Version {verdict.version} was rolled back to {verdict.former}"
    tell(Alert.of("rolled_back", use_case.name, title, verdict.reason), use_case)
    return verdict


@step(enable_cache=False)
def guard_promotion(use_case: UseCase) -> Annotated[Guarded, "guarded"]:
    """Finish what was cut short in the registry; roll the newest promotion back if it is worse.

    Raises
    ------
    InputError
        If there is no champion yet.
    UnreachableError
        If registry or prediction log do not answer.
    """
    announce("Guard the newest promotion")
    registry = open_registry()
    for note in registry.reconcile(use_case.name):
        announce(note)
    _champion(registry, use_case)
    return Guarded(verdict=guard(registry, use_case, Home.locate()))


@step(enable_cache=False)
def take_up_turn(guarded: Guarded, use_case: UseCase) -> Annotated[Task, "left_over"]:
    """Find what the turn before left, because it was killed or something was unreachable."""
    announce("Look for an open turn")
    registry = open_registry()
    champion = _champion(registry, use_case)
    entries = registry.log.entries(use_case.name)
    with closing(MonitoringHistory(Home.locate().database_url)) as history:
        task = left_over(history, entries, champion, use_case, datetime.now(UTC))
        _begin(history, task)
    return task


@step(enable_cache=False)
def begin_turn(window: MonitoredWindow, before: Task, use_case: UseCase) -> Annotated[Task, "task"]:
    """Turn the decision into what is to be done, and write down that it is begun."""
    task = task_of(window, before, use_case, datetime.now(UTC))
    if task.waits is not None:
        announce(task.waits)
    with closing(MonitoringHistory(Home.locate().database_url)) as history:
        _begin(history, task)
    return task


@step(enable_cache=False)
def roll_back_champion(use_case: UseCase, reason: str) -> Annotated[WayBack, "way_back"]:
    """Make the version before champion again, and tell of it; where there is none, tell of that.

    Raises
    ------
    UnreachableError
        If registry or bundle do not answer.
    """
    announce("Roll back")
    registry = open_registry()
    version = _champion(registry, use_case)
    try:
        moved = roll_back(registry, use_case.name, f"{current_user()} (loop)", reason)
    except (InputError, RefusedError) as error:
        way = WayBack(left=version, champion=version, moved=False, message=str(error))
        title = f"Version {version} is to be rolled back, but cannot be"
    else:
        champion = str(moved.champion)
        way = WayBack(left=version, champion=champion, moved=True, message=moved.message)
        title = f"Version {version} was rolled back to {champion}"
    tell(Alert.of("rolled_back", use_case.name, title, f"{reason}\n{way.message}"), use_case)
    return way


@step(enable_cache=False)
def conclude_turn(
    task: Task, settled: Settled, serving: ServingCheck | None, use_case: UseCase
) -> None:
    """Write down what became of the turn; what waits for a person stays open."""
    if task.window is None or task.window.id is None or settled.outcome == "waiting":
        return
    announce("Conclude the turn")
    home = Home.locate()
    note = " ".join(filter(None, (settled.note, serving.message if serving else None)))
    with closing(MonitoringHistory(home.database_url)) as history:
        history.record_turn(task.window.id, settled.outcome, version=settled.version, note=note)
    write_pages(home, use_case.name)


def _begin(history: MonitoringHistory, task: Task) -> None:
    """Note which run works on the turn: by its name the promotion log tells what it did."""
    if task.kind in ("retrain", "roll_back") and task.window is not None and task.window.id:
        history.record_turn(task.window.id, "started", note=run_name())


def _champion(registry: Registry, use_case: UseCase) -> str:
    champion = registry.champion(use_case.name)
    if champion is None:
        raise InputError(
            f"{use_case.name!r} has no champion yet. Train one first: python run.py --pipeline "
            "train"
        )
    return champion.version
