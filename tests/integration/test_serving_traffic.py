"""Following a traffic plan in a real registry: who gets traffic, and who never does."""

from __future__ import annotations

import shutil
import time
from contextlib import closing
from pathlib import Path

import pytest

from evergreen.paths import Home
from evergreen.promotion.store import prepare_store
from evergreen.serving.canary_guard import CanaryGuard
from evergreen.serving.holder import ModelHolder
from evergreen.serving.options import ServerOptions
from evergreen.serving.registry_reader import ModelState, open_registry
from evergreen.serving.runtime import load_runtime
from evergreen.serving.watcher import Watcher
from tests.support.arms import plan_of
from tests.support.models import write_small_bundle
from tests.support.stores import BROKEN, Store


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    root = tmp_path_factory.mktemp("bundles")
    return {
        "first": write_small_bundle(root / "first", seed=1, training_key="key-1"),
        "second": write_small_bundle(root / "second", seed=2, training_key="key-2"),
        "ships": write_small_bundle(root / "ships", use_case="ships"),
        "regression": write_small_bundle(root / "regression", "regression"),
    }


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    home = Home(tmp_path_factory.mktemp("store"))
    return home, prepare_store(home, "boats")


@pytest.fixture
def store(template, tmp_path):
    home, experiment = template
    copy = tmp_path / "mlflow.db"
    shutil.copy(home.root / "mlflow" / "mlflow.db", copy)
    store = Store(f"sqlite:///{copy}", experiment, tmp_path / "log.db", tmp_path / "locks")
    yield store
    store.registry.log.close()


@pytest.fixture
def follow(store, tmp_path):
    def start(**settings):
        registry, cache = open_registry(store.uri), tmp_path / "cache"
        watcher = Watcher(ModelHolder(), registry, "boats", load_runtime, cache=cache, **settings)
        watcher.load_first()
        return watcher

    return start


@pytest.fixture
def two(store, bundles):
    """A registry with a champion, version 1, and a challenger, version 2."""
    store.add(bundles["first"])
    store.add(bundles["second"], alias="challenger")
    return store


def plan(**changed):
    return plan_of(**{"challenger": "2", **changed})


def shares(watcher):
    arms = watcher.holder.arms
    challenger = None if arms.challenger is None else arms.challenger.version
    return arms.champion.version, challenger, arms.percent


def test_aliases_and_plan_are_read_at_once(two):
    reader = open_registry(two.uri)
    aliases = {"champion": "1", "challenger": "2"}
    assert reader.state("boats") == ModelState(aliases)
    two.client.set_registered_model_tag("boats", "another", "tag")
    two.direct(plan(percent=5))
    found = reader.state("boats")
    assert (found.aliases, found.traffic) == (aliases, plan(percent=5).model_dump_json())
    assert reader.state("ships") is None


def test_a_plan_takes_effect_changes_and_goes(two, follow, caplog):
    watcher = follow()
    assert shares(watcher) == ("1", None, 0)
    two.direct(plan(percent=5))
    assert watcher.check() is False  # the champion is the same
    assert shares(watcher) == ("1", "2", 5)
    loaded = watcher.holder.arms.challenger
    assert loaded.runtime.manifest.origin.training_key == "key-2"
    two.direct(plan(percent=25, mode="canary"))
    watcher.check()
    assert shares(watcher) == ("1", "2", 25)
    assert watcher.holder.arms.challenger is loaded
    watcher.check()
    assert caplog.text.count("Version 2 of 'boats' answers 25 % of the requests (canary)") == 1
    two.direct(plan(mode="shadow"))
    watcher.check()
    assert watcher.holder.arms.shadowing
    two.direct(None)
    watcher.check()
    assert shares(watcher) == ("1", None, 0)
    assert watcher.holder.challenger_failure is None
    assert "The champion of 'boats' answers everything again" in caplog.text


def test_a_plan_is_in_force_from_the_first_request_on(two, follow):
    two.direct(plan())
    assert shares(follow()) == ("1", "2", 50)


def test_several_processes_decide_alike(two, follow):
    two.direct(plan(percent=30))
    watchers = [follow(), follow()]
    for number in range(300):
        headers = {b"x-client-id": b"%d" % number}
        versions = {
            watcher.holder.arms.choose(headers, {}, f"r{position}-{number}").version
            for position, watcher in enumerate(watchers)
        }
        assert len(versions) == 1


def test_a_promoted_challenger_is_champion_alone(two, follow):
    two.direct(plan())
    watcher = follow()
    two.client.set_registered_model_alias("boats", "champion", "2")
    two.client.delete_registered_model_alias("boats", "challenger")
    watcher.check()  # the plan still stands there, and is void
    assert shares(watcher) == ("2", None, 0)
    two.direct(None)
    watcher.check()
    assert (shares(watcher), watcher.holder.challenger_failure) == (("2", None, 0), None)


def test_another_champion_comes_beside_the_challenger(two, follow, bundles):
    two.direct(plan())
    watcher = follow()
    two.add(bundles["first"])
    assert watcher.check() is True
    assert shares(watcher) == ("3", "2", 50)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "cannot be read"),
        ('{"challenger": "2"}', "cannot be read: mode: Field required"),
        (plan(challenger="1"), "is for version 1, but version 2 is challenger"),
        (plan(challenger="7"), "is for version 7, but version 2 is challenger"),
        (plan(sticky="field:cerw"), "sticks to the field 'cerw', which the model does not have"),
    ],
)
def test_a_void_plan_is_said_once_and_changes_nothing(two, follow, text, message, caplog):
    watcher = follow()
    two.direct(text)
    for _ in range(3):
        assert watcher.check() is False
    assert shares(watcher) == ("1", None, 0)
    assert message in watcher.holder.challenger_failure.reason
    assert caplog.text.count("The challenger gets no traffic") == 1
    two.direct(plan())
    watcher.check()
    assert (shares(watcher)[1], watcher.holder.challenger_failure) == ("2", None)
    two.direct(text)
    watcher.check()
    assert shares(watcher) == ("1", None, 0)  # also where one was in force before


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_challenger_gets_no_traffic(two, follow, how, tmp_path, caplog):
    watcher = follow()
    folder = two.files("2")
    sound = shutil.copytree(folder, tmp_path / "sound")
    breaking, message = BROKEN[how]
    breaking(folder)
    two.direct(plan(percent=100))
    for _ in range(3):
        assert watcher.check() is False
        assert shares(watcher) == ("1", None, 0)
    failure = watcher.holder.challenger_failure
    assert (failure.version, message in failure.reason) == ("2", True)
    assert watcher.holder.failure is None  # the champion is well
    assert caplog.text.count("The challenger gets no traffic") == 1
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(sound, folder)
    if watcher._challenger._refused is not None:
        version, reason, moment = watcher._challenger._refused
        watcher._challenger._refused = (version, reason, moment - 3600)
    watcher.check()
    assert (shares(watcher), watcher.holder.challenger_failure) == (("1", "2", 100), None)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("ships", "holds a model of 'ships': it was registered under the wrong name"),
        ("regression", "does regression; the one that is served, classification"),
    ],
)
def test_a_challenger_of_another_contract_gets_no_traffic(store, bundles, follow, kind, message):
    store.add(bundles["first"])
    store.add(bundles[kind], alias="challenger")
    store.direct(plan(percent=100))
    watcher = follow()
    assert shares(watcher) == ("1", None, 0)
    assert message in watcher.holder.challenger_failure.reason


def test_what_is_in_force_stays_while_the_registry_is_away(two, follow):
    two.direct(plan())
    watcher = follow()
    path = Path(two.uri.removeprefix("sqlite:///"))
    path.rename(path.with_suffix(".away"))
    watcher.check()
    assert shares(watcher) == ("1", "2", 50)
    assert "no such file" in watcher.holder.failure.reason
    path.with_suffix(".away").rename(path)
    watcher.check()
    assert (shares(watcher), watcher.holder.failure) == (("1", "2", 50), None)


@pytest.mark.parametrize("settings", [{"version": "1"}, {"alias": "challenger"}])
def test_who_does_not_follow_the_champion_follows_no_plan(two, follow, settings):
    two.direct(plan())
    watcher = follow(**settings)
    watcher.check()
    assert watcher.holder.arms.challenger is None


@pytest.fixture
def guard(two, tmp_path):
    home = Home(tmp_path / "home")
    options = ServerOptions(model="boats", registry=two.uri, home=home)
    with closing(CanaryGuard(options)) as guard:
        yield guard


def test_a_canary_gets_a_controller_and_nothing_else_does(two, guard):
    for text in (None, plan(), plan(mode="shadow"), "{", plan(challenger="7", mode="canary")):
        if text is not None:
            two.direct(text)
        guard.check()
        assert guard._process is None
    two.direct(plan(mode="canary"))
    guard.check()
    process = guard._process
    guard.check()
    assert guard._process is process
    shown = Path(f"/proc/{process.pid}/cmdline")
    end = time.monotonic() + 60
    while not (line := shown.read_bytes().decode().split("\0"))[1:]:  # it is being started
        assert time.monotonic() < end
    assert line[1:-1] == ["-m", "evergreen.promotion.canary", "--model", "boats"]  # no addresses
    guard.close()
    assert process.returncode is not None


def test_a_controller_that_ends_too_early_is_said_and_started_again(
    two, guard, monkeypatch, caplog
):
    monkeypatch.setattr("evergreen.serving.canary_guard._CONTROLLER", ("-c", "exit(2)"))
    two.direct(plan(mode="canary"))
    guard.check()
    first = guard._process
    first.wait(30)
    guard.check()
    guard.check()
    assert guard._process is None  # not at once
    assert caplog.text.count("The controller of the canary of 'boats' ended with code 2") == 1
    guard._not_before = 0.0
    guard.check()
    assert guard._process not in (None, first)


def test_a_controller_that_ended_its_canary_is_not_missed(two, guard, monkeypatch, caplog):
    monkeypatch.setattr("evergreen.serving.canary_guard._CONTROLLER", ("-c", "exit(1)"))
    two.direct(plan(mode="canary"))
    guard.check()
    guard._process.wait(30)
    two.direct(None)
    guard.check()
    assert (guard._process, caplog.text) == (None, "")
