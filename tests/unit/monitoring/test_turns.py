"""Turns: what a window asks for, and what the promotion log says of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from evergreen.monitoring.decision import Decision, TrainingRows
from evergreen.monitoring.history import MonitoringHistory, ObservedWindow
from evergreen.monitoring.turns import (
    Settled,
    Task,
    WayBack,
    failed_in_service,
    left_over,
    open_turn,
    request_of,
    settled,
    settled_by,
    settled_by_way_back,
    task_of,
    why_back,
)
from evergreen.monitoring.verdict import WindowVerdict
from evergreen.promotion.promotion_log import Entry
from evergreen.promotion.registration import Registration
from tests.support.use_cases import use_case

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
VERDICT = WindowVerdict(rows=500, labelled=0, alarm=True, families=("columns",), reasons=("x",))
NONE = Decision(action="none", reasons=())
ROLLBACK = Decision(action="rollback", reasons=("it is worse", "sure"))
CASE = use_case(monitoring={"retrain": {"max_rows": 70}})


def retrain(since=None):
    training = TrainingRows(since=since, rows=None, max_rows=9, reason="the newest")
    return Decision(action="retrain", reasons=("moved",), training=training)


@pytest.fixture
def history(tmp_path):
    history = MonitoringHistory(f"sqlite:///{tmp_path / 'evergreen.db'}")
    yield history
    history.close()


def record(history, decision):
    observed = ObservedWindow(
        use_case="shop", version="1", source="log", place="log", rows=500, verdict=VERDICT
    )
    return history.record(observed, decision)


def entry(action, run, to="2"):
    return Entry(who="ada", use_case="shop", action=action, to_version=to, zenml_run=run)


@pytest.fixture
def begun(history):
    """A window whose retraining two runs worked on."""
    asked = record(history, retrain())
    for run in ("run-1", "run-2"):
        history.record_turn(asked.id, "started", note=run)
    return history.window(asked.id)


def test_the_newest_window_that_asks_is_open(history):
    assert open_turn(history, "shop") is None
    asked = record(history, retrain())
    found = open_turn(history, "shop")
    assert found is not None
    assert found.id == asked.id
    record(history, NONE)  # decided anew since
    assert open_turn(history, "shop") is None


@pytest.mark.parametrize("end", ["promoted", "refused", "failed"])
def test_what_was_begun_is_open_until_it_is_concluded(history, end):
    asked = record(history, retrain())
    history.record_turn(asked.id, "started")
    record(history, NONE)
    found = open_turn(history, "shop")
    assert found is not None
    assert found.id == asked.id
    history.record_turn(asked.id, end)
    assert open_turn(history, "shop") is None


def test_a_window_asks_for_its_rows_and_always_the_same(history):
    since = NOW - timedelta(hours=3)
    window = record(history, retrain(since))
    request = request_of(window, CASE, NOW)
    assert (request.since, request.until, request.max_rows) == (since, window.time, 9)
    assert request.changed
    assert request.window == window.id
    assert request_of(window, CASE, NOW + timedelta(days=1)) == request
    assert not request_of(record(history, retrain()), CASE, NOW).changed


def test_without_a_window_the_newest_rows_are_asked_for():
    request = request_of(None, CASE, NOW)
    assert (request.since, request.until, request.max_rows) == (None, NOW, 70)
    assert not request.changed


@pytest.mark.parametrize(
    ("action", "outcome"),
    [
        ("promoted", "promoted"),
        ("approved", "promoted"),
        ("refused", "refused"),
        ("rejected", "refused"),
        ("waiting", "waiting"),
    ],
)
def test_the_promotion_log_tells_what_became_of_a_turn(begun, action, outcome):
    found = settled((entry(action, "run-2"),), begun)
    assert found is not None
    assert found.outcome == outcome
    assert found.version == "2"


def test_the_last_word_counts(begun):
    found = settled((entry("rejected", "run-1"), entry("waiting", "run-1")), begun)
    assert found is not None
    assert found.outcome == "refused"


def test_other_runs_and_mere_intents_say_nothing(begun):
    entries = (
        entry("promoted", "run-11"),
        entry("promoted", "train-shop-1"),
        entry("promoted", None),
        entry("intent", "run-1").model_copy(update={"intended": "promoted"}),
        entry("voided", "run-1"),
    )
    assert settled(entries, begun) is None


def left(history, *entries, champion="1"):
    return left_over(history, entries, champion, CASE, NOW)


def test_nothing_is_left_where_nothing_was_begun(history):
    assert left(history).kind == "observe"
    record(history, NONE)
    assert left(history).kind == "observe"


def test_a_retraining_that_was_cut_short_is_gone_on_with(history, begun):
    task = left(history)
    assert (task.kind, task.window, task.request) == (
        "retrain",
        begun,
        request_of(begun, CASE, NOW),
    )


@pytest.mark.parametrize(("action", "kind"), [("promoted", "verify"), ("refused", "nothing")])
def test_what_the_gate_decided_is_not_done_again(history, begun, action, kind):
    task = left(history, entry(action, "run-1"))
    assert (task.kind, task.window) == (kind, begun)
    assert task.settled is not None
    assert task.settled.version == "2"


def test_while_a_challenger_waits_windows_are_judged_and_nothing_is_retrained(history, begun):
    before = left(history, entry("waiting", "run-1"))
    assert before.kind == "observe"
    assert "--approve shop" in str(before.waits)
    task = task_of(record(history, retrain()), before, CASE, NOW)
    assert (task.kind, task.waits) == ("nothing", before.waits)


def test_a_decision_asks_for_what_it_says(history):
    before = Task(kind="observe")
    assert task_of(record(history, NONE), before, CASE, NOW).kind == "nothing"
    asked = record(history, retrain())
    task = task_of(asked, before, CASE, NOW)
    assert (task.kind, task.request) == ("retrain", request_of(asked, CASE, NOW))
    back = task_of(record(history, ROLLBACK), before, CASE, NOW)
    assert back.kind == "roll_back"
    assert why_back(back) == "it is worse; sure"


def test_a_rollback_is_carried_out_once(history):
    window = record(history, ROLLBACK)
    task = left(history, champion="1")
    assert (task.kind, task.window) == ("roll_back", window)
    history.record_turn(window.id, "started", note="run-1")
    assert left(history, champion="1").kind == "roll_back"  # the run was killed before it did
    done = left(history, champion="0")  # and here after it
    assert done.kind == "verify"
    assert done.settled is not None
    assert (done.settled.outcome, done.settled.version) == ("promoted", "0")
    history.record_turn(window.id, "promoted", version="0")
    assert left(history, champion="0").kind == "observe"


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        ("promoted", "promoted"),
        ("waiting", "waiting"),
        ("ramping", "waiting"),
        ("unchanged", "refused"),
        ("refused", "refused"),
    ],
)
def test_a_registration_settles_a_turn(status, outcome):
    registration = Registration(
        status=status, version="2", champion="1", previous=None, run_id=None, message="so"
    )
    assert settled_by(registration).outcome == outcome


def test_ways_back_settle_a_turn():
    there = WayBack(left="2", champion="1", moved=True, message="Version 1 is champion again.")
    none = WayBack(left="1", champion="1", moved=False, message="There is no other.")
    assert settled_by_way_back(there).outcome == "promoted"
    assert settled_by_way_back(none).outcome == "failed"
    promoted = Settled(outcome="promoted", version="2", note=None)
    failed = failed_in_service(promoted, there)
    assert (failed.outcome, failed.version) == ("failed", "2")
    assert str(failed.note).endswith("Version 1 is champion again.")
