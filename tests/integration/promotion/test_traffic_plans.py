"""Traffic plans over a real MLflow store."""

from __future__ import annotations

import threading

import pytest

from evergreen.errors import InputError, RefusedError
from evergreen.promotion.promotion_log import PromotionLog
from evergreen.promotion.registration import CHALLENGER
from evergreen.promotion.registry import Registry
from evergreen.promotion.traffic import end_traffic, make_plan, set_traffic
from evergreen.serving.traffic import TAG, TrafficConfig
from tests.support.stores import actions

CONFIG = TrafficConfig()


@pytest.fixture
def two(train, registry):
    """Version 1 is champion, version 2 waits."""
    train(1, "automatic")
    train(2)
    return registry


# --- plans ----------------------------------------------------------------------------------


def test_a_plan_is_set_changed_repeated_and_ended(two):
    assert two.traffic("boats") is None
    split = set_traffic(two, "boats", "split", CONFIG, "ada", percent=10, reason="try it")
    assert (split.status, split.plan) == ("changed", two.traffic("boats"))
    assert two.log.entries("boats")[0].plan == split.plan
    assert two.log.entries("boats")[0].note == "try it"
    rows = len(two.log.entries("boats"))
    again = set_traffic(two, "boats", "split", CONFIG, "bob", percent=10)
    assert (again.status, again.plan) == ("unchanged", split.plan)
    assert len(two.log.entries("boats")) == rows
    shadow = set_traffic(two, "boats", "shadow", CONFIG, "bob")
    assert two.traffic("boats") == shadow.plan
    assert end_traffic(two, "boats", "bob").status == "ended"
    assert two.traffic("boats") is None
    assert end_traffic(two, "boats", "bob").status == "unchanged"
    assert actions(two)[-3:] == ["traffic"] * 3
    assert two.aliased("boats", CHALLENGER).version == "2"  # waits on


def test_there_must_be_two_to_share(registry, train):
    with pytest.raises(InputError, match="No version of 'boats' is challenger"):
        set_traffic(registry, "boats", "shadow", CONFIG, "ada")
    train(1)
    with pytest.raises(InputError, match="no champion that traffic could be shared with"):
        set_traffic(registry, "boats", "shadow", CONFIG, "ada")


@pytest.mark.parametrize(
    "how",
    [
        lambda registry: registry.approve("boats", "ada"),
        lambda registry: registry.reject("boats", "ada", "no"),
        lambda registry: registry.roll_back("boats", "ada", to="1"),
    ],
    ids=["approved", "rejected", "champion moved"],
)
def test_a_plan_ends_with_what_it_was_made_for(two, how, store):
    set_traffic(two, "boats", "canary", CONFIG, "ada")
    how(two)
    assert two.traffic("boats") is None
    assert TAG not in store.client.get_registered_model("boats").tags


def test_another_challenger_ends_the_plan_of_the_one_before(two, train, store):
    set_traffic(two, "boats", "shadow", CONFIG, "ada")
    train(3)
    assert two.traffic("boats") is None
    assert TAG not in store.client.get_registered_model("boats").tags


def test_a_plan_of_a_version_that_is_no_challenger_is_void(two, store):
    set_traffic(two, "boats", "shadow", CONFIG, "ada")
    store.client.delete_registered_model_alias("boats", CHALLENGER)  # by hand
    assert two.traffic("boats") is None


def test_what_is_no_plan_is_said_and_removed(two, store):
    store.direct("{}")
    with pytest.raises(InputError, match=r"is no traffic plan .* --traffic off"):
        two.traffic("boats")
    assert end_traffic(two, "boats", "ada").status == "ended"
    assert two.traffic("boats") is None


def test_a_plan_that_was_changed_meanwhile_is_not_overwritten(two):
    former = two.traffic("boats")
    set_traffic(two, "boats", "split", CONFIG, "ada", percent=10)
    rows = len(two.log.entries("boats"))
    late = make_plan("split", CONFIG, "2", "bob", 50)
    with pytest.raises(RefusedError, match="changed meanwhile"):
        two.change_traffic("boats", late, "bob", expected=former)
    with pytest.raises(RefusedError, match="changed meanwhile"):
        two.approve("boats", "canary", plan=former)
    assert two.traffic("boats").percent == 10
    assert len(two.log.entries("boats")) == rows
    other = make_plan("split", CONFIG, "7", "bob", 50)
    with pytest.raises(RefusedError, match="version 2 is challenger now"):
        two.change_traffic("boats", other, "bob", expected=two.traffic("boats"))


def test_of_several_machines_one_wins(two, tmp_path, store):
    """Each with its own locks, so that only the promotion log keeps them apart."""
    former, done = two.traffic("boats"), []
    start = threading.Barrier(4)

    def attempt(number):
        log = PromotionLog(two.log.url)
        machine = Registry(two.tracking_uri, log, tmp_path / f"locks-{number}")
        plan = make_plan("split", CONFIG, "2", f"machine {number}", 10 + number)
        start.wait(30)
        try:
            machine.change_traffic("boats", plan, plan.who, expected=former)
            done.append(plan)
        except RefusedError:
            pass
        finally:
            log.close()

    threads = [threading.Thread(target=attempt, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(done) == 1
    assert two.traffic("boats") == done[0]
    assert two.log.open_intents("boats") == ()


def test_a_change_that_a_crash_cut_short_is_finished(two, monkeypatch):
    def die(*_):
        raise KeyboardInterrupt

    plan = make_plan("split", CONFIG, "2", "ada", 10)
    with monkeypatch.context() as patch:
        patch.setattr("evergreen.promotion.decisions.plan_tag.write", die)
        with pytest.raises(KeyboardInterrupt):
            two.change_traffic("boats", plan, "ada", expected=None)
    assert two.traffic("boats") is None
    with pytest.raises(RefusedError, match="is deciding on version 2"):
        two.change_traffic("boats", plan, "bob", expected=None)
    assert "Finished the decision of ada" in two.resume("boats")[0]
    assert two.traffic("boats") == plan
    assert two.resume("boats") == ()


# --- what a training does -------------------------------------------------------------------


def test_the_first_version_has_nothing_to_ramp_beside(train, registry):
    assert train(1, "canary").status == "promoted"
    assert registry.champion("boats").version == "1"


def test_a_version_that_passes_ramps(train, registry):
    train(1, "canary")
    outcome = train(2, "canary")
    assert outcome.status == "ramping"
    assert "ramps as a canary: 5 %, 25 %, 50 %, then champion" in outcome.message
    plan = registry.traffic("boats")
    assert (plan.challenger, plan.mode, plan.percent, plan.who) == ("2", "canary", 5, "ada")
    assert actions(registry) == ["promoted", "waiting"]
    again = train(2, "canary")  # the same training once more
    assert (again.status, again.version) == ("ramping", "2")
    assert registry.traffic("boats") == plan


def test_a_version_that_waits_gets_what_is_configured(train, registry):
    train(1, "automatic")
    train(2, "manual", TrafficConfig(challenger="shadow"))
    assert registry.traffic("boats").mode == "shadow"
    assert train(3, "manual", TrafficConfig(challenger="split", percent=30)).status == "waiting"
    assert (registry.traffic("boats").challenger, registry.traffic("boats").percent) == ("3", 30)
