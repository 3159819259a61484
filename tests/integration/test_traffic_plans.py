"""Traffic plans, canaries and rollbacks over a real MLflow store and real logs."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from evergreen.errors import InputError, RefusedError, UnreachableError
from evergreen.paths import Home
from evergreen.promotion import rollback
from evergreen.promotion.canary_control import CanaryController
from evergreen.promotion.promotion_log import PromotionLog
from evergreen.promotion.registration import CHALLENGER, CHAMPION
from evergreen.promotion.registry import Registry
from evergreen.promotion.settlement import settle
from evergreen.promotion.store import prepare_store
from evergreen.promotion.traffic import end_traffic, make_plan, set_traffic
from evergreen.serving.traffic import TAG, TrafficConfig
from tests.support.logged_arms import answered, write_log
from tests.support.models import write_small_bundle
from tests.support.stores import Store, corrupt
from tests.support.verdicts import verdict

CONFIG = TrafficConfig()
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    home = Home(tmp_path_factory.mktemp("store"))
    experiment = prepare_store(home, "boats")
    folder = tmp_path_factory.mktemp("bundles")
    bundles = [
        write_small_bundle(folder / str(seed), seed=seed, training_key=f"key-{seed}")
        for seed in (1, 2, 3)
    ]
    return home, experiment, bundles


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path / "home")


@pytest.fixture
def store(template, home):
    original, experiment, _ = template
    home.mlflow_database.parent.mkdir(parents=True)
    shutil.copy(original.mlflow_database, home.mlflow_database)
    store = Store(home.mlflow_uri, experiment, home.root / "evergreen.db", home.locks)
    yield store
    store.registry.log.close()


@pytest.fixture
def registry(store):
    return store.registry


@pytest.fixture
def train(store, template):
    """Do what the end of a training does: settle bundle 1, 2 or 3."""

    def settled(number, approval="manual", traffic=CONFIG):
        champion = store.registry.champion("boats")
        judged = verdict(None if champion is None else champion.version)
        judged = judged.model_copy(update={"approval": approval})
        return settle(
            store.registry,
            template[2][number - 1],
            judged,
            run_id=store.run,
            who="ada",
            traffic=traffic,
        )

    return settled


@pytest.fixture
def two(train, registry):
    """Version 1 is champion, version 2 waits."""
    train(1, "automatic")
    train(2)
    return registry


def actions(registry):
    found = [entry.action for entry in reversed(registry.log.entries("boats"))]
    return [action for action in found if action != "intent"]


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


# --- canaries -------------------------------------------------------------------------------


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


# --- the way back ---------------------------------------------------------------------------


@pytest.fixture
def served(train, registry):
    """Versions 1, 2 and 3 were champion in turn."""
    for number in (1, 2, 3):
        train(number, "automatic")
    return registry


def test_back_to_the_version_before_and_not_forth_again(served):
    back = rollback.roll_back(served, "boats", "bob", "worse in service")
    assert (back.status, back.champion, back.previous) == ("promoted", "2", "3")
    assert served.log.entries("boats")[0].note == "worse in service"
    with pytest.raises(RefusedError, match=r"to version 2 already, by bob.* --rollback --to 3"):
        rollback.roll_back(served, "boats", "ada")
    assert served.champion("boats").version == "2"


def test_back_to_a_version_twice_is_once(served):
    assert rollback.roll_back(served, "boats", "bob", to="1").champion == "1"
    rows = len(served.log.entries("boats"))
    again = rollback.roll_back(served, "boats", "bob", to="1")
    assert (again.status, again.champion) == ("unchanged", "1")
    assert "is champion already" in again.message
    assert len(served.log.entries("boats")) == rows


def test_no_way_back_to_what_never_served(served, store, template):
    store.add(template[2][0], alias=CHALLENGER)
    with pytest.raises(RefusedError, match="Version 4 of 'boats' never served"):
        rollback.roll_back(served, "boats", "bob", to="4")
    with pytest.raises(InputError, match=r"no version or alias '9'.*there are: 1, 2, 3, 4"):
        rollback.roll_back(served, "boats", "bob", to="9")


def test_no_way_back_without_a_version_before(registry, train):
    with pytest.raises(InputError, match="has no champion"):
        rollback.roll_back(registry, "boats", "bob")
    train(1, "automatic")
    with pytest.raises(InputError, match="no previous version"):
        rollback.roll_back(registry, "boats", "bob")


def test_no_way_back_to_a_damaged_bundle(served, store):
    stored = store.files("2")
    copy = stored.with_name("kept")
    shutil.copytree(stored, copy)
    corrupt(stored)
    with pytest.raises(InputError, match=r"damaged: contract\.json"):
        rollback.roll_back(served, "boats", "bob")
    shutil.rmtree(stored)
    copy.rename(stored)
    assert served.champion("boats").version == "3"
    assert served.log.entries("boats")[0].action == "promoted"
