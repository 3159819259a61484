"""Canaries over a real MLflow store and real logs."""

from __future__ import annotations

import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from evergreen.errors import RefusedError, UnreachableError
from evergreen.promotion.canary_control import CanaryController
from evergreen.promotion.promotion_log import PromotionLog
from evergreen.promotion.registration import CHALLENGER, CHAMPION
from evergreen.promotion.registry import Registry
from tests.support.logged_arms import answered, write_log
from tests.support.stores import actions

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def log_url(tmp_path):
    return f"sqlite:///{tmp_path / 'predictions.db'}"


@pytest.fixture
def ramp(train, registry, log_url, tmp_path):
    """Version 2 ramps; what is written counts from the beginning of the present step."""
    train(1, "automatic")
    train(2, "canary")
    controller = CanaryController(registry, "boats", log_url)

    def write(challenger=300, champion=1000, seed=0, **truth):
        since = registry.traffic("boats").since
        rows = answered("champion", champion, since, seed=seed)
        rows += answered("challenger", challenger, since, seed=seed + 1, **truth)
        write_log(log_url, tmp_path / "spool", rows)

    def look(minutes=15.0, by=controller):
        plan = registry.traffic("boats")
        since = datetime.now(UTC) if plan is None else plan.since
        return by.look(since + timedelta(minutes=minutes))

    yield write, look
    controller.close()


def test_a_canary_climbs_to_champion(ramp, registry):
    write, look = ramp
    for number, percent in enumerate((5, 25, 50)):
        assert registry.traffic("boats").percent == percent
        write(seed=10 * number)
        assert look(1).action == "hold"
        found = look()
    assert found.action == "promote"
    assert "failures: the challenger failed 0 of 300" in found.message
    assert registry.champion("boats").version == "2"
    assert registry.traffic("boats") is None
    assert actions(registry)[-3:] == ["stepped", "stepped", "approved"]
    newest = registry.log.entries("boats")[0]
    assert newest.who == "canary"
    assert "latency" in newest.note
    assert look().action == "none"


@pytest.mark.parametrize(
    ("truth", "word"),
    [({"fail": 0.3}, "failures"), ({"slow": 20.0}, "latency"), ({"labels": (0, 0, 1)}, "predict")],
    ids=["fails", "slow", "shifted"],
)
def test_a_bad_canary_is_sent_back(ramp, registry, truth, word):
    write, look = ramp
    write(**truth)
    found = look(1)
    assert found.action == "roll_back"
    assert word in found.message
    assert registry.champion("boats").version == "1"
    assert registry.aliased("boats", CHALLENGER) is None
    assert registry.traffic("boats") is None
    newest = registry.log.entries("boats")[0]
    assert (newest.action, newest.who) == ("rejected", "canary")
    assert word in newest.note


def test_a_canary_without_requests_holds_forever(ramp, registry):
    _, look = ramp
    found = look(minutes=60 * 24 * 30)
    assert (found.action, found.ended) == ("hold", False)
    assert "the challenger had 0 requests" in found.message
    assert registry.traffic("boats").step == 0


def test_a_log_that_does_not_answer_moves_nothing(ramp, registry, tmp_path):
    (tmp_path / "predictions.db").write_text("this is no database, and long enough to be seen")
    _, look = ramp
    with pytest.raises(UnreachableError, match="cannot be read"):
        look()
    assert registry.traffic("boats").step == 0


def test_a_canary_judged_against_another_champion_goes_back(ramp, registry, store, template):
    _, look = ramp
    store.add(template[2][2], alias=CHAMPION)  # by hand
    found = look()
    assert found.action == "roll_back"
    assert "judged against champion 1, but version 3 is champion now" in found.message
    assert registry.champion("boats").version == "3"


def test_two_controllers_take_one_step(ramp, registry, log_url, tmp_path):
    write, _ = ramp
    write()
    plan = registry.traffic("boats")
    log = PromotionLog(registry.log.url)
    other = Registry(registry.tracking_uri, log, tmp_path / "other-locks")
    rival = CanaryController(other, "boats", log_url)
    start, found = threading.Barrier(2), []

    def run(controller):
        start.wait(30)
        try:
            found.append(controller.look(plan.since + timedelta(minutes=15)).action)
        except RefusedError:
            found.append("late")

    mine = CanaryController(registry, "boats", log_url)
    threads = [threading.Thread(target=run, args=(each,)) for each in (mine, rival)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found.count("step") == 1
    assert registry.traffic("boats").step == 1
    assert actions(registry).count("stepped") == 1
    rival.close()
    mine.close()
    log.close()


def test_the_controller_as_typed(ramp, registry, home, log_url):
    write, _ = ramp
    command = [sys.executable, "-m", "evergreen.promotion.canary", "--model", "boats", "--once"]

    def run(*more):
        return subprocess.run(
            [*command, *more],
            cwd=ROOT,
            env={
                "PATH": "/usr/bin:/bin",
                "EVERGREEN_HOME": str(home.root),
                "MLFLOW_TRACKING_URI": home.mlflow_uri,
                "EVERGREEN_PREDICTION_LOG": log_url,
            },
            capture_output=True,
            text=True,
            check=False,
        )

    held = run()
    assert (held.returncode, held.stderr) == (0, "")
    assert "holds at 5 % of the traffic" in held.stdout
    write(fail=0.5)
    back = run()
    assert back.returncode == 1
    assert "was sent back at 5 % of the traffic: failures" in back.stderr
    assert "was sent back" in (home.logs / "canary-boats.log").read_text()
    ended = run()
    assert (ended.returncode, ended.stdout) == (0, "No canary of 'boats' is in force.\n")
    away = run("--registry", "http://127.0.0.1:9")
    assert away.returncode == 3
    assert "Traceback" not in away.stderr
