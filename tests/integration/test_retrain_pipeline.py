"""Retraining from the prediction log on a real local stack: promoted, refused, taken up, undone.

Where a version is refused or goes back, a running API tells which one answers.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import timedelta

import httpx
import pandas as pd
import pytest

from evergreen.monitoring.decision import Decision, TrainingRows, WindowLoss
from evergreen.monitoring.history import MonitoringHistory, ObservedWindow
from evergreen.monitoring.lease import Leases
from evergreen.monitoring.verdict import WindowVerdict
from evergreen.paths import Home as State
from tests.support.command_line import Home
from tests.support.serving import serving
from tests.support.turns import NAME, ago, log_rows, send, table, wait_until

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def config(orders_config):
    return orders_config


@pytest.fixture(scope="module")
def trained(orders_home, tmp_path_factory) -> Home:
    """A home whose champion is version 1; the log holds 400 rows of a truth turned round."""
    home = orders_home.copy(tmp_path_factory.mktemp("trained") / "home")
    log_rows(home.state, table(400, 2, turned=True), ago(minutes=40), version="1", wrong=True)
    return home


@pytest.fixture
def home(trained, tmp_path) -> Home:
    return trained.copy(tmp_path / "home")


def retrain(home, config, *more):
    return home.run("--pipeline", "retrain", "--config", str(config), "--json", *more)


def ask(home, since, rows=400):
    """Write a window into the history that asks for a retraining; return its number."""
    verdict = WindowVerdict(
        rows=rows, labelled=rows, alarm=True, families=("performance",), reasons=("worse",)
    )
    observed = ObservedWindow(
        use_case=NAME,
        version="1",
        source="log",
        place="log",
        last=ago(minutes=30),
        rows=rows,
        loss=WindowLoss(rows=rows),
        verdict=verdict,
    )
    training = TrainingRows(since=since, rows=rows, max_rows=50_000, reason="a change")
    decision = Decision(action="retrain", reasons=("worse",), training=training)
    with closing(MonitoringHistory(State(home.state).database_url)) as history:
        window = history.record(observed, decision)
    assert window.id is not None
    return window.id


def window(home, number):
    with closing(MonitoringHistory(State(home.state).database_url)) as history:
        return history.window(number)


def answering(server):
    """The version that an API answers with."""
    return httpx.get(f"{server.url}/health").json()["model_version"]


def champions(home):
    """The moves in the promotion log, the oldest first."""
    with closing(sqlite3.connect(home.state / "evergreen.db")) as connection:
        query = "SELECT action, to_version FROM promotion_log WHERE action != 'intent' ORDER BY id"
        return connection.execute(query).fetchall()


def test_a_change_is_learnt_and_the_new_model_promoted(home, config):
    number = ask(home, since=ago(hours=2))
    done = retrain(home, config).check().json
    assert (done["pipeline"], done["status"], done["version"]) == ("retrain", "promoted", "2")
    assert (done["train_rows"], done["holdout_rows"]) == (300, 100)
    assert done["metrics"]["accuracy"]["estimate"] > 0.8
    rule = next(rule for rule in done["verdict"]["rules"] if rule["rule"] == "champion")
    assert rule["low"] > 0.5  # log loss: the champion is wrong about nearly all of them
    found = window(home, number)
    assert (found.turn, found.new_version) == ("promoted", "2")
    assert champions(home) == [("promoted", "1"), ("promoted", "2")]


def test_a_model_that_is_worse_on_the_newest_rows_is_refused(home, config):
    start = ago(minutes=20)
    rows = pd.concat([table(300, 3, noise=True), table(100, 4)])
    log_rows(home.state, rows, start, version="1")
    number = ask(home, since=start - timedelta(seconds=1))
    with serving(home.state, "--model", NAME) as server:
        done = retrain(home, config).check(1).json
        assert (done["status"], done["champion"]) == ("refused", "1")
        assert send(server.url, home.state, table(5, 6)) == {"1"}
    assert window(home, number).turn == "refused"
    assert champions(home) == [("promoted", "1"), ("refused", None)]


def test_without_a_window_the_newest_rows_and_the_table_are_taken(home, config):
    done = retrain(home, config).json
    assert done["train_rows"] == 300 + 320
    assert done["holdout_rows"] == 100


def test_a_turn_that_was_killed_is_concluded_and_not_done_twice(home, config):
    number = ask(home, since=ago(hours=2))
    arguments = ("--pipeline", "retrain", "--config", str(config), "--json")
    with home.running(*arguments) as running:
        running.wait_until(lambda: ("promoted", "2") in champions(home), timeout=400)
        running.kill()
    found = window(home, number)
    if found.turn == "started":  # else it was quicker than the kill
        retrain(home, config).check(0, "nothing was trained")
        found = window(home, number)
    assert (found.turn, found.new_version) == ("promoted", "2")
    turns = [move for move in champions(home) if move[1] == "2"]
    assert turns == [("promoted", "2")]


def test_too_few_labels_are_refused_in_one_sentence(home, config):
    number = ask(home, since=ago(minutes=35))
    assert ask(home, since=ago(seconds=1), rows=60) > number
    retrain(home, config).check(1, "too few to retrain on")
    assert window(home, number + 1).turn == "failed"


def test_two_at_once_are_refused_with_the_reason(home, config):
    with closing(Leases(State(home.state).database_url)) as leases:
        leases.acquire(f"retrain-{NAME}", "A retraining by somebody")
        retrain(home, config).check(3, "A retraining by somebody is under way")
    # The process that held it is gone: nobody has to wait for the term.


def test_what_passed_the_gate_and_fails_in_service_goes_back(home, config):
    ask(home, since=ago(hours=2))
    guard = ("--guard", "--config", str(config))
    with serving(home.state, "--model", NAME) as server:
        retrain(home, config).check()
        wait_until(lambda: answering(server) == "2")
        # The truth turns back: version 2 is wrong about what version 1 would have known.
        assert send(server.url, home.state, table(250, 5)) == {"2"}
        home.run(*guard).check(1, "Rolled back to version 1", "surely worse")
        wait_until(lambda: answering(server) == "1")
        assert send(server.url, home.state, table(5, 6)) == {"1"}
    assert champions(home)[-1] == ("rolled_back", "1")
    assert home.run(*guard, "--json").check().json["guard"] is None  # it happens once
