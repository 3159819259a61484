"""What a turn of the loop came to: its word, its exit code, its message, and the terminal."""

from __future__ import annotations

import io

import pytest

from evergreen.deployment.values import ServingCheck
from evergreen.monitoring.decision import Decision
from evergreen.monitoring.guard import GuardVerdict
from evergreen.monitoring.history import MonitoredWindow
from evergreen.monitoring.turn_display import show_turn
from evergreen.monitoring.turn_outcome import (
    TurnFacts,
    TurnOutcome,
    exit_code_of,
    message_of,
    status_of,
)
from evergreen.monitoring.turns import Guarded, Settled, Task, WayBack
from evergreen.monitoring.verdict import WindowVerdict
from evergreen.training.results import Interval

VERDICT = WindowVerdict(rows=500, labelled=0, alarm=False, families=(), reasons=("all is quiet",))
QUIET = Guarded(verdict=None)
OBSERVE = Task(kind="observe")
BACK = WayBack(left="2", champion="1", moved=True, message="Version 1 of 'shop' is champion again.")
STUCK = WayBack(left="1", champion="1", moved=False, message="There is nothing to go back to.")


def window(action):
    return MonitoredWindow(
        use_case="shop",
        version="1",
        source="log",
        place="log",
        rows=500,
        verdict=VERDICT,
        decision=Decision(action=action, reasons=("so it is",)),
    )


def facts(task, **more):
    return TurnFacts(**{"guarded": QUIET, "before": OBSERVE, "task": task, **more})


def judged(action, kind="nothing", **more):
    found = window(action)
    return facts(Task(kind=kind, window=found, **more), window=found)


def settled(outcome):
    left = Task(kind="nothing", settled=Settled(outcome=outcome, version="2", note="It was so."))
    return facts(left, before=left)


def serving(status):
    return ServingCheck(status=status, version="2", message="The API did not take version 2.")


def guarded():
    worse = Interval(estimate=-0.2, low=-0.3, high=-0.1)
    until = "2026-03-01T12:00:00Z"
    verdict = {"action": "roll_back", "version": "2", "former": "1", "metric": "accuracy"}
    verdict |= {"gain": worse, "rows": 300, "until": until, "reason": "Surely worse."}
    return Guarded(verdict=GuardVerdict.model_validate(verdict))


CASES = {
    "quiet": (judged("none"), "none", 0),
    "an alarm to be confirmed": (judged("watch"), "watch", 0),
    "a person has to look": (judged("alert"), "alert", 1),
    "the one before waits": (judged("retrain", waits="Version 2 waits."), "waits", 0),
    "an old promotion is concluded": (settled("promoted"), "concluded", 0),
    "an old refusal is concluded": (settled("refused"), "concluded", 1),
    "the decision's rollback": (
        judged("rollback", "roll_back").model_copy(update={"ways_back": (BACK,)}),
        "rolled_back",
        1,
    ),
    "a rollback without a way": (
        judged("rollback", "roll_back").model_copy(update={"ways_back": (STUCK,)}),
        "failed",
        1,
    ),
    "a rollback that fails in service": (
        judged("rollback", "roll_back").model_copy(update={"ways_back": (BACK, STUCK)}),
        "failed",
        1,
    ),
    "the guard's rollback": (facts(OBSERVE, guarded=guarded()), "rolled_back", 1),
    "a promotion that fails in service": (
        judged("retrain", "retrain").model_copy(
            update={"ways_back": (BACK,), "serving": serving("failed")}
        ),
        "failed",
        1,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_turn_ends_with_a_word_and_an_exit_code(case):
    found, status, code = CASES[case]
    assert status_of(found) == status
    assert exit_code_of(status, found) == code


def test_the_message_tells_all_of_it_in_order():
    found = judged("retrain", "retrain").model_copy(
        update={"guarded": guarded(), "ways_back": (BACK,), "serving": serving("failed")}
    )
    said = message_of(found)
    parts = ("Rolled back to version 1. Surely worse.", "So it is.", "champion again", "not take")
    places = [said.lower().index(part.lower()) for part in parts]
    assert places == sorted(places)


@pytest.mark.parametrize("quiet", [True, False])
def test_the_terminal_shows_word_and_message(quiet):
    found, status, code = CASES["a person has to look"]
    outcome = TurnOutcome(
        use_case="shop",
        status=status,
        message=message_of(found),
        exit_code=code,
        taken_up=False,
        champion="1",
        guard=None,
        window=found.window,
        training=None,
        serving=None,
        ways_back=(),
        reports={"window": "/reports/window.html"},
        durations={},
        seconds=2.0,
        stack="local",
        zenml_run="continuous-shop-1",
        log="/logs/x.log",
    )
    stream = io.StringIO()
    show_turn(outcome, stream, quiet=quiet)
    said = " ".join(stream.getvalue().split())
    assert f"ALERT {outcome.message}" in said
    assert ("/reports/window.html" in said) is not quiet
