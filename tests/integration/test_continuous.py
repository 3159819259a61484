"""The loop on a real local stack, with a real API: quiet, closed, refused, taken up, undone."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from evergreen.monitoring.decision import Decision
from evergreen.monitoring.history import MonitoringHistory, ObservedWindow
from evergreen.monitoring.verdict import WindowVerdict
from evergreen.paths import Home as State
from tests.support.command_line import Home
from tests.support.serving import serving
from tests.support.turns import NAME, ago, log_rows, table

pytestmark = pytest.mark.timeout(900)

# One window confirms itself, so that one turn shows the whole loop.
AT_ONCE = ("monitoring.alarms=1", "monitoring.of=1", "monitoring.retrain.min_rows=300")


def words(config, *more, port=1):
    """The command; nothing listens on the first port."""
    settings = [word for each in (*AT_ONCE, f"deploy.port={port}") for word in ("--set", each)]
    return ("--pipeline", "continuous", "--config", str(config), "--json", *settings, *more)


def history(home):
    return closing(MonitoringHistory(State(home.state).database_url))


def moves(home):
    """The moves of the champion in the promotion log, the oldest first."""
    with closing(sqlite3.connect(home.state / "evergreen.db")) as connection:
        query = """SELECT action, to_version FROM promotion_log
                   WHERE action IN ('promoted', 'rolled_back', 'refused') ORDER BY id"""
        return connection.execute(query).fetchall()


def runs(home):
    """Every run that ZenML knows, with its state and its steps."""
    [database] = home.folder.glob("zenml/**/zenml.db")
    with closing(sqlite3.connect(database)) as connection:
        query = """SELECT r.name, r.status, s.name FROM pipeline_run r
                   JOIN step_run s ON s.pipeline_run_id = r.id"""
        found: dict[tuple[str, str], set[str]] = {}
        for run, status, step in connection.execute(query):
            found.setdefault((run, status), set()).add(step)
        return found


@pytest.fixture
def home(orders_home, tmp_path) -> Home:
    return orders_home.copy(tmp_path / "home")


@pytest.fixture(scope="module")
def closed(orders_home, orders_config, tmp_path_factory):
    """One turn on a truth turned round, beside a running API: the home, and what it told."""
    home = orders_home.copy(tmp_path_factory.mktemp("closed") / "home")
    log_rows(home.state, table(400, 2, turned=True), ago(minutes=10), version="1", wrong=True)
    with serving(home.state, "--model", NAME) as server:
        port = int(server.url.rsplit(":", 1)[1])
        done = home.run(*words(orders_config, port=port)).check()
        served = httpx.get(f"{server.url}/health").json()["model_version"]
    return home, done.json, served


def test_one_turn_retrains_promotes_and_sees_the_api_swap(closed):
    home, told, served = closed
    assert (told["status"], told["champion"], told["taken_up"]) == ("promoted", "2", False)
    assert told["window"]["decision"]["action"] == "retrain"
    assert (told["training"]["train_rows"], told["training"]["holdout_rows"]) == (620, 100)
    assert (told["serving"]["status"], told["serving"]["version"]) == ("verified", "2")
    assert served == "2"
    assert moves(home) == [("promoted", "1"), ("promoted", "2")]
    with history(home) as windows:
        [window] = windows.windows(NAME)
    assert (window.turn, window.new_version) == ("promoted", "2")
    assert window.runs == (told["zenml_run"],)
    for page in told["reports"].values():
        assert Path(page).is_file()
    # All of it is one run.
    steps = runs(home)[told["zenml_run"], "completed"]
    assert {"decide_window", "fit_challenger", "publish_challenger", "verify_serving"} <= steps
    assert not any(name.startswith("retrain") for name, _ in runs(home))


def test_a_quiet_window_trains_nothing_and_two_at_once_are_refused(home, orders_config):
    with serving(home.state, "--model", NAME) as server:
        traffic = ("--simulate", "none", "--rows", "400", "--url", server.url)
        home.run(*traffic, "--config", str(orders_config)).check()
    with home.running(*words(orders_config)) as first:
        first.wait_for_log("Step `take_up_turn` has started")
        second = home.run(*words(orders_config)).check(3)
        assert "Another run of 'orders' is under way (process" in second.json["error"]
        told = first.finish().check().json
    assert (told["status"], told["training"], told["serving"]) == ("none", None, None)
    assert told["window"]["rows"] == 400
    assert moves(home) == [("promoted", "1")]
    assert not list((home.state / "locks").glob("*.txt"))


def ask_for_a_rollback(home):
    """Write a window into the history whose decision nobody carried out."""
    verdict = WindowVerdict(
        rows=300, labelled=300, alarm=True, families=("performance",), reasons=("worse",)
    )
    observed = ObservedWindow(
        use_case=NAME, version="2", source="log", place="log", rows=300, verdict=verdict
    )
    decision = Decision(action="rollback", reasons=("its loss rose", "it is under guard"))
    with history(home) as windows:
        windows.record(observed, decision)


def test_a_rollback_that_was_decided_is_carried_out(closed, orders_config, tmp_path):
    home = closed[0].copy(tmp_path / "home")
    ask_for_a_rollback(home)
    told = home.run(*words(orders_config)).check(1).json
    assert (told["status"], told["champion"], told["taken_up"]) == ("rolled_back", "1", True)
    assert told["serving"]["status"] == "nothing_serves"
    assert moves(home)[-1] == ("rolled_back", "1")
    with history(home) as windows:
        newest = windows.windows(NAME)[0]
    assert (newest.action, newest.turn, newest.new_version) == ("rollback", "promoted", "1")
    with closing(sqlite3.connect(home.state / "evergreen.db")) as connection:
        [(who, note)] = connection.execute(
            "SELECT who, note FROM promotion_log WHERE action = 'rolled_back'"
        )
    assert who.endswith("(loop)")
    assert note == "its loss rose; it is under guard"


def test_a_version_that_cannot_serve_gives_way_to_the_one_before(closed, orders_config, tmp_path):
    home = closed[0].copy(tmp_path / "home")
    with history(home) as windows:  # as if the turn had been cut short before it verified
        [window] = windows.windows(NAME)
        windows.record_turn(window.id, "started", note=window.runs[0])
    damaged = damage_newest_bundle(home)
    told = home.run(*words(orders_config)).check(1).json
    assert (told["status"], told["champion"], told["taken_up"]) == ("failed", "1", True)
    assert told["serving"]["status"] == "failed"
    assert damaged in told["serving"]["message"]
    assert moves(home)[-1] == ("rolled_back", "1")
    with history(home) as windows:
        assert windows.windows(NAME)[0].turn == "failed"


def damage_newest_bundle(home):
    """Cut the model of the newest bundle off, wherever it lies; return the file's name."""
    found = [(json.loads(m.read_text())["created"], m) for m in home.state.rglob("manifest.json")]
    newest = max(created for created, _ in found)
    for created, manifest in found:
        if created == newest:
            model = manifest.with_name("model.onnx")
            model.write_bytes(model.read_bytes()[:-1])
    return "model.onnx"
