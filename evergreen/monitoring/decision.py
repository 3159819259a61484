"""The decision: from a verdict, the policy and what happened before, to what is done now.

`decide` is a pure function; who calls it keeps the history and the clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Literal

from evergreen.monitoring.change_point import change_point
from evergreen.monitoring.counts import LossSums
from evergreen.monitoring.settings import MonitoringConfig
from evergreen.monitoring.verdict import Family, WindowVerdict
from evergreen.reporting.numbers import plural
from evergreen.values import Value

Action = Literal["none", "watch", "retrain", "rollback", "alert"]
Outcome = Literal["promoted", "refused", "failed"]


class WindowLoss(Value):
    """The labelled losses of one window, of the model that served it."""

    rows: int = 0
    total: float = 0.0
    squares: float = 0.0

    def sums(self) -> LossSums:
        """Return them as sums that merge."""
        return LossSums(self.rows, self.total, self.squares)


class TrainingRows(Value):
    """Which labelled rows a retraining takes: those of windows that ended after ``since``.

    ``rows`` of them were labelled when this was decided. ``follow_up`` marks the second turn on
    the same change, when there are many more.
    """

    since: datetime | None  # None: no change was found, the newest rows are taken
    rows: int | None
    max_rows: int
    follow_up: bool = False
    reason: str


class PastWindow(Value):
    """What is remembered of one window; labels that come late replace ``loss``."""

    at: datetime  # its end, UTC
    rows: int
    version: str  # of the champion that served it
    families: tuple[Family, ...] = ()  # that alarmed when it was the newest
    loss: WindowLoss = WindowLoss()
    action: Action = "none"
    training: TrainingRows | None = None  # of a retraining
    outcome: Outcome | None = None  # of a retraining, once known


class Decision(Value):
    """What is done about a window, and why.

    ``training`` is there for ``retrain``. ``accept_when_refused`` says what a refusal by the gate
    means: nothing better can be learnt, so the window becomes the data reference, and drift that
    was looked into stops alarming.
    """

    action: Action
    reasons: tuple[str, ...]
    training: TrainingRows | None = None
    accept_when_refused: bool = False


def decide(
    verdict: WindowVerdict,
    config: MonitoringConfig,
    history: Sequence[PastWindow],
    now: datetime,
) -> Decision:
    """Decide about the newest window.

    ``history`` holds the windows before this one and then this one itself (``history[-1]``), the
    oldest first. In this order: what cannot be measured calls a person; a promoted model that
    does surely worse within its guard period is rolled back; an alarm that is not
    confirmed, or that may not act (cool-down, daily cap, too few labels), is watched; a confirmed
    one retrains.

    Raises
    ------
    ValueError
        If the history is empty: it must end with this window.
    """
    if not history:
        raise ValueError("the history must end with the window that is decided about")
    if verdict.unmeasurable:
        return Decision(action="alert", reasons=verdict.unmeasurable)
    if verdict.too_few:
        return Decision(action="watch", reasons=verdict.reasons)
    guarded = _guard(verdict, config, history, now)
    if guarded is not None:
        return guarded
    again = _follow_up(config, history)
    if again is not None:
        held = _capped(config, history, now)
        action: Action = "retrain" if held is None else "watch"
        reasons = (again.reason,) if held is None else (again.reason, held)
        return Decision(action=action, reasons=reasons, training=None if held else again)
    if not verdict.alarm:
        return Decision(action="none", reasons=verdict.reasons)
    return _on_alarm(verdict, config, history, now)


def _on_alarm(
    verdict: WindowVerdict,
    config: MonitoringConfig,
    history: Sequence[PastWindow],
    now: datetime,
) -> Decision:
    """Retrain where nothing speaks against it; else say what does."""
    held = _unconfirmed(config, history) or _cooling(config, history)
    held = held or _capped(config, history, now)
    if held is not None:
        return Decision(action="watch", reasons=(*verdict.reasons, held))
    training = training_rows(config, history)
    if training.rows is not None and training.rows < config.retrain.min_rows:
        few = f"too few to train on: {config.retrain.min_rows} are needed"
        return Decision(action="watch", reasons=(*verdict.reasons, training.reason, few))
    performance = any("performance" in past.families for past in history[-config.of :])
    return Decision(
        action="retrain",
        reasons=(*verdict.reasons, training.reason),
        training=training,
        accept_when_refused=not performance,
    )


def training_rows(config: MonitoringConfig, history: Sequence[PastWindow]) -> TrainingRows:
    """Choose the rows to train on: those after the change, where the model became worse."""
    most = config.retrain.max_rows
    served = [past for past in history if past.version == history[-1].version]
    worse = any("performance" in past.families for past in served[-config.of :])
    found = change_point([past.loss.sums() for past in served]) if worse else None
    if found is None:
        return TrainingRows(
            since=None, rows=None, max_rows=most, reason=f"the newest labelled rows, {most} at most"
        )
    since = served[found.position - 1].at
    rows = _labelled(history, since)
    return TrainingRows(
        since=since,
        rows=rows,
        max_rows=most,
        reason=(
            f"the mean loss rose from {found.before:.4g} to {found.after:.4g}, "
            f"{plural(len(served) - found.position, 'window')} ago; {plural(rows, 'row')} labelled "
            "since then"
        ),
    )


def _guard(
    verdict: WindowVerdict,
    config: MonitoringConfig,
    history: Sequence[PastWindow],
    now: datetime,
) -> Decision | None:
    """Roll back where a new version does worse than it promised and than the one before it."""
    place = _last_retraining(history)
    if place is None or history[place].outcome != "promoted":
        return None
    promoted, version = history[place], history[-1].version
    found = verdict.measured
    if found is None or not found.alarm or found.rows < config.guard_rows:
        return None
    if now - promoted.at > config.guard or version == promoted.version:
        return None
    former = LossSums()
    for past in [p for p in history if p.version == promoted.version][-config.of :]:
        former = former.merge(past.loss.sums())
    if former.rows and former.mean >= found.value:
        return None
    text = f"version {version} took over at {promoted.at:%Y-%m-%d %H:%M} and is under guard"
    return Decision(action="rollback", reasons=(found.reason, text))


def _follow_up(config: MonitoringConfig, history: Sequence[PastWindow]) -> TrainingRows | None:
    """Return the rows of a second turn, where the first had few and there are many now."""
    place = _last_retraining(history)
    first = None if place is None else history[place].training
    if place is None or first is None or history[place].outcome != "promoted":
        return None
    if first.follow_up or first.since is None or not first.rows:
        return None
    rows = _labelled(history, first.since)
    if rows < config.retrain.growth * first.rows:
        return None
    return first.model_copy(
        update={
            "rows": rows,
            "follow_up": True,
            "reason": (
                f"the champion was trained on {first.rows} rows after a change; {rows} are "
                "labelled now"
            ),
        }
    )


def _unconfirmed(config: MonitoringConfig, history: Sequence[PastWindow]) -> str | None:
    """Say so where too few of the last windows alarmed; None: enough did.

    Windows up to the last retraining do not count: they had another model or reference.
    """
    place = _last_retraining(history)
    counted = history[0 if place is None else place + 1 :][-config.of :]
    alarms = sum(bool(past.families) for past in counted)
    if alarms >= config.alarms:
        return None
    return f"not confirmed: {alarms} of {config.alarms} alarms within {config.of} windows"


def _cooling(config: MonitoringConfig, history: Sequence[PastWindow]) -> str | None:
    place = _last_retraining(history)
    if place is None:
        return None
    passed = len(history) - 1 - place
    if passed > config.cool_down:
        return None
    ago = plural(passed, "window")
    return f"cooling down: the last retraining was {ago} ago; it takes {config.cool_down}"


def _capped(config: MonitoringConfig, history: Sequence[PastWindow], now: datetime) -> str | None:
    day = timedelta(hours=24)
    turns = sum(past.action == "retrain" and now - past.at < day for past in history[:-1])
    if turns < config.daily_cap:
        return None
    return f"the daily cap of {config.daily_cap} retrainings is reached"


def _last_retraining(history: Sequence[PastWindow]) -> int | None:
    """Return the position of the newest window before this one that led to a retraining."""
    for place in range(len(history) - 2, -1, -1):
        if history[place].action == "retrain":
            return place
    return None


def _labelled(history: Sequence[PastWindow], since: datetime) -> int:
    return sum(past.loss.rows for past in history if past.at > since)
