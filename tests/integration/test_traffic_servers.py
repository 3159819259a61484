"""Traffic plans and swaps on real servers: what callers see, from outside."""

from __future__ import annotations

import math
import re
import shutil
import sqlite3
import time
from urllib.parse import urlsplit

import httpx
import pytest

from evergreen.deployment.servers import GoldenRows, ask_api
from evergreen.paths import Home
from evergreen.promotion.store import prepare_store
from tests.support.arms import plan_of
from tests.support.models import write_small_bundle
from tests.support.serving import BOAT, serving
from tests.support.stores import Store, corrupt
from tests.support.swaps import Rehearsal, asking, wrk


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    root = tmp_path_factory.mktemp("bundles")
    return {
        "first": write_small_bundle(root / "first", seed=1, training_key="key-1"),
        "second": write_small_bundle(
            root / "second", candidate="logistic_regression", training_key="key-2"
        ),
        "regression": write_small_bundle(root / "regression", "regression"),
    }


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    home = Home(tmp_path_factory.mktemp("store"))
    return home, prepare_store(home, "boats")


@pytest.fixture
def store(template, tmp_path, bundles):
    """A registry with a champion, version 1, and a challenger, version 2."""
    home, experiment = template
    copy = tmp_path / "mlflow.db"
    shutil.copy(home.root / "mlflow" / "mlflow.db", copy)
    own = Home(tmp_path / "home")
    own.root.mkdir()
    log = own.database_url.removeprefix("sqlite:///")
    store = Store(f"sqlite:///{copy}", experiment, log, own.locks)
    store.add(bundles["first"])
    store.add(bundles["second"], alias="challenger")
    yield store
    store.registry.log.close()


@pytest.fixture
def serve(store, tmp_path):
    def start(*arguments):
        arguments = ("--model", "boats", "--registry", store.uri, *arguments)
        return serving(tmp_path / "home", *arguments)

    return start


def plan(**changed):
    return plan_of(**{"challenger": "2", **changed})


def versions_of(server, callers):
    with httpx.Client(base_url=server.url, timeout=30) as client:
        found = {}
        for caller in callers:
            answer = client.post("/predict", json=BOAT, headers={"x-client-id": f"c{caller}"})
            assert answer.status_code == 200
            assert answer.headers["x-model-version"] == answer.json()["model_version"]
            found[caller] = answer.json()["model_version"]
        return found


def awaited(server, reached):
    end = time.monotonic() + 30
    while not reached(info := httpx.get(f"{server.url}/model/info", timeout=30).json()):
        assert time.monotonic() < end, info
        time.sleep(0.1)


def logged(tmp_path, count):
    """Return arm, version and flags of what was logged, by request id, once it is there."""
    end = time.monotonic() + 30
    while True:
        with sqlite3.connect(tmp_path / "home" / "predictions.db") as connection:
            rows = connection.execute("SELECT request_id, arm, version, flags FROM predictions")
            if len(found := rows.fetchall()) >= count:
                return found
        assert time.monotonic() < end, len(found)
        time.sleep(0.1)


def test_a_tenth_of_the_callers_stays_with_the_challenger(store, serve, tmp_path):
    callers = range(600)
    store.direct(plan(percent=10))
    with serve("--workers", "2") as server:
        versions = versions_of(server, callers)
        share = list(versions.values()).count("2")
        # Five standard deviations of a binomial distribution.
        assert abs(share - 60) <= 5 * math.sqrt(600 * 0.1 * 0.9)
        again = {}
        for caller in range(40):  # a connection each, so that both workers are asked
            again |= versions_of(server, [caller])
        assert again == {caller: versions[caller] for caller in range(40)}
        rows = logged(tmp_path, 640)
        arms = {(arm, version) for _, arm, version, _ in rows}
        assert arms == {("champion", "1"), ("challenger", "2")}
        store.direct(plan(percent=30))
        time.sleep(5)  # longer than any worker waits between two looks
        raised = versions_of(server, callers)
        assert {caller for caller in callers if versions[caller] == "2"} < {
            caller for caller in callers if raised[caller] == "2"
        }
        store.direct(None)
        time.sleep(5)
        assert set(versions_of(server, range(50)).values()) == {"1"}
        assert server.stop() == 0


def test_a_shadow_is_logged_and_never_seen(store, serve, tmp_path):
    def ask(server):
        found = []
        for crew in range(1, 9):
            answer = httpx.post(f"{server.url}/predict", json={**BOAT, "crew": crew})
            head = [pair for pair in answer.headers.raw if pair[0] != b"x-request-id"]
            found.append((head, re.sub(rb"[0-9a-f]{20}", b"ID", answer.content)))
        return found

    with serve() as server:
        before = ask(server)
        store.direct(plan(mode="shadow"))
        awaited(server, lambda info: len(info["arms"]) == 2)
        assert ask(server) == before
        rows = logged(tmp_path, 24)
        assert server.stop() == 0
    arms = {}
    for request_id, arm, version, _ in rows:
        arms.setdefault(request_id, []).append((arm, version))
    assert sorted(map(sorted, arms.values())) == 8 * [[("champion", "1")]] + 8 * [
        [("champion", "1"), ("shadow", "2")]
    ]


def test_a_corrupt_challenger_gets_no_traffic(store, serve, bundles):
    corrupt(store.files("2"))
    store.direct(plan(percent=100))
    with serve() as server:
        assert set(versions_of(server, range(20)).values()) == {"1"}
        golden = GoldenRows.read(bundles["first"].folder, bundles["first"].contract)
        assert ask_api(server.url, golden).version == "1"
        health = httpx.get(f"{server.url}/health").json()
        assert (health["status"], health["model_version"]) == ("degraded", "1")
        assert "the challenger 2 gets no traffic" in health["problems"][0]
        assert server.stop() == 0
    assert server.errors.read_text().count("The challenger gets no traffic: ") == 1


def test_swaps_rollbacks_and_broken_versions_under_load(store, serve, bundles, tmp_path):
    with serve() as server:
        rehearsal = Rehearsal(store, server.url, bundles)
        port = urlsplit(server.url).port
        broken = rehearsal.broken()
        others = [rehearsal.register(which) for which in ("second", "first")]
        with (
            wrk(port, BOAT, tmp_path / "load.lua") as hammered,
            asking(port, BOAT) as answers,
        ):
            for version in others:
                rehearsal.swap(version)
            rehearsal.roll_back()
            for how, version in broken.items():
                rehearsal.refuse(how, version)
        counts = rehearsal.check(answers, hammered)
        assert server.stop() == 0
    assert set(counts) >= {"1", *others}
    said = {
        "a corrupt file": "damaged: contract.json",
        "a wrong checksum": "damaged: card.md",
        "other answers": "does not give the answers that it gave at training",
        "a missing file": "profile.json is missing",
        "another contract": "does regression",
    }
    for how, message in said.items():
        assert message in rehearsal.refused[how]
