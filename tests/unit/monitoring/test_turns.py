"""Turns: what a window asks for, and what the promotion log says of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from evergreen.monitoring.decision import Decision, TrainingRows
from evergreen.monitoring.history import MonitoringHistory, ObservedWindow
from evergreen.monitoring.turns import open_turn, request_of, run_name, settled
from evergreen.monitoring.verdict import WindowVerdict
from evergreen.promotion.promotion_log import Entry
from tests.support.use_cases import use_case

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
VERDICT = WindowVerdict(rows=500, labelled=0, alarm=True, families=("columns",), reasons=("x",))
NONE = Decision(action="none", reasons=())
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
def test_the_promotion_log_tells_what_became_of_a_turn(action, outcome):
    name = run_name("shop", 7, NOW)
    found = settled((entry(action, name),), "shop", 7)
    assert found is not None
    assert found.outcome == outcome
    assert found.version == "2"


def test_the_last_word_counts():
    name = run_name("shop", 7, NOW)
    found = settled((entry("rejected", name), entry("waiting", name)), "shop", 7)
    assert found is not None
    assert found.outcome == "refused"


def test_other_runs_and_mere_intents_say_nothing():
    entries = (
        entry("promoted", run_name("shop", 77, NOW)),
        entry("promoted", run_name("shop", None, NOW)),
        entry("promoted", "train-shop-1"),
        entry("promoted", None),
        entry("intent", run_name("shop", 7, NOW)).model_copy(update={"intended": "promoted"}),
        entry("voided", run_name("shop", 7, NOW)),
    )
    assert settled(entries, "shop", 7) is None
