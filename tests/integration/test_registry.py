"""Versions, aliases and the promotion log over a real MLflow store."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from threading import Event, Thread

import numpy as np
import pytest
from filelock import FileLock

from evergreen.data.conform import model_frame
from evergreen.errors import InputError, RefusedError, UnreachableError
from evergreen.paths import Home
from evergreen.promotion import decision_lock
from evergreen.promotion.promotion_log import Entry, PromotionLog
from evergreen.promotion.registration import CHALLENGER, CHAMPION
from evergreen.promotion.settlement import settle
from evergreen.promotion.store import prepare_store
from tests.support.models import small_contract, small_model, small_table, write_small_bundle
from tests.support.registries import Place
from tests.support.verdicts import verdict


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """A store whose making takes a while, and two bundles of different trainings."""
    root = tmp_path_factory.mktemp("registry")
    experiment = prepare_store(Home(root), "boats")
    place = Place(root, experiment, "")
    run = place.registry().client.create_run(experiment).info.run_id
    bundles = [
        write_small_bundle(root / "bundles" / "1", training_key="key-1", seed=1),
        write_small_bundle(root / "bundles" / "2", training_key="key-2", seed=2),
    ]
    return Place(root, experiment, run), bundles


@pytest.fixture
def name(request):
    """A model of this test's own: the store is shared."""
    return "m_" + "".join(c if c.isalnum() else "_" for c in request.node.name)[:40]


@pytest.fixture
def registry(template):
    registry = template[0].registry()
    yield registry
    registry.log.close()


@pytest.fixture
def add(template, registry, name):
    """Register bundle 1 or 2 and return the version."""

    def register(number):
        place, bundles = template
        return registry.register(name, bundles[number - 1], place.run, {"evergreen.zenml_run": "z"})

    return register


def _actions(registry, name):
    return [entry.action for entry in reversed(registry.log.entries(name))]


def test_nothing_is_champion_at_first(registry, name):
    assert registry.champion(name) is None
    assert registry.reconcile(name) == ()


def test_a_registered_version_has_no_alias_and_knows_where_it_comes_from(registry, name, add):
    version = registry.version(name, add(1))
    assert version.version == "1"
    assert version.aliases == ()
    assert version.training_key == "key-1"
    assert version.candidate == "decision_tree"
    assert version.metrics == {"accuracy": 0.9}
    assert version.zenml_run == "z"
    assert version.decision is None


def test_promotion_moves_the_aliases_and_is_logged(registry, name, add):
    first = registry.promote(name, add(1), verdict(), "ada")
    second = registry.promote(name, add(2), verdict("1"), "ada")
    assert (first.status, first.champion, first.previous) == ("promoted", "1", None)
    assert (second.champion, second.previous) == ("2", "1")
    assert registry.champion(name).judged_against == "1"
    assert registry.champion(name).decision == "promoted"
    assert _actions(registry, name) == ["intent", "promoted", "intent", "promoted"]
    newest = registry.log.entries(name)[0]
    assert (newest.from_version, newest.to_version) == ("1", "2")
    assert newest.verdict == verdict("1")
    assert newest.figures == {"accuracy": 0.9}
    assert newest.zenml_run == "z"
    assert newest.mlflow_run == registry.champion(name).run_id


def test_a_refused_verdict_cannot_be_promoted(registry, name, add):
    version = add(1)
    with pytest.raises(RefusedError, match="did not pass the gate"):
        registry.promote(name, version, verdict(passed=False), "ada")
    assert registry.champion(name) is None
    assert _actions(registry, name) == []


def test_a_champion_that_came_meanwhile_stops_the_promotion(registry, name, add):
    registry.promote(name, add(1), verdict(), "ada")
    version = add(2)
    with pytest.raises(RefusedError, match=r"judged against no champion, but version 1 is"):
        registry.promote(name, version, verdict(), "bob")
    assert registry.champion(name).version == "1"
    assert registry.log.open_intents(name) == ()


def test_an_alias_moved_by_hand_in_the_middle_is_noticed(registry, name, add, monkeypatch):
    registry.promote(name, add(1), verdict(), "ada")
    add(2)
    third = add(1)
    record = PromotionLog.record

    def record_and_interfere(log, entry, **named):
        recorded = record(log, entry, **named)
        if entry.action == "intent":
            registry.client.set_registered_model_alias(name, CHAMPION, "2")
        return recorded

    monkeypatch.setattr(PromotionLog, "record", record_and_interfere)
    with pytest.raises(RefusedError, match="moved by somebody else"):
        registry.promote(name, third, verdict("1"), "bob")
    assert registry.champion(name).version == "2"
    assert _actions(registry, name)[-2:] == ["intent", "voided"]


def test_waiting_then_approval(registry, name, add):
    registry.promote(name, add(1), verdict(), "ada")
    waiting = registry.wait_for_approval(name, add(2), verdict("1", manual=True), "ada")
    assert waiting.status == "waiting"
    assert (waiting.version, waiting.champion) == ("2", "1")
    assert f"--approve {name}" in waiting.message
    assert registry.aliased(name, CHALLENGER).version == "2"

    approved = registry.approve(name, "bob")

    assert (approved.status, approved.champion, approved.previous) == ("promoted", "2", "1")
    assert registry.aliased(name, CHALLENGER) is None
    assert registry.log.entries(name)[0].action == "approved"
    assert registry.log.entries(name)[0].who == "bob"
    assert registry.log.entries(name)[0].verdict == verdict("1", manual=True)


def test_waiting_then_rejection(registry, name, add):
    registry.promote(name, add(1), verdict(), "ada")
    registry.wait_for_approval(name, add(2), verdict("1", manual=True), "ada")
    rejected = registry.reject(name, "bob", "too odd")
    assert (rejected.status, rejected.version, rejected.champion) == ("refused", "2", "1")
    assert registry.aliased(name, CHALLENGER) is None
    newest = registry.log.entries(name)[0]
    assert (newest.action, newest.note) == ("rejected", "too odd")
    assert registry.version(name, "2").decision == "rejected"
    assert registry.reconcile(name) == ()


def test_approval_of_what_was_judged_against_another_champion(registry, name, add):
    registry.promote(name, add(1), verdict(), "ada")
    registry.wait_for_approval(name, add(2), verdict("1", manual=True), "ada")
    registry.promote(name, add(1), verdict("1"), "ada")
    with pytest.raises(RefusedError, match="judged against champion 1, but version 3 is champion"):
        registry.approve(name, "bob")
    assert registry.champion(name).version == "3"


def test_nothing_waits(registry, name, add):
    registry.promote(name, add(1), verdict(), "ada")
    with pytest.raises(InputError, match="waits for approval"):
        registry.approve(name, "bob")
    with pytest.raises(InputError, match="waits for approval"):
        registry.reject(name, "bob")


def test_rolling_back_and_forth(registry, name, add):
    registry.promote(name, add(1), verdict(), "ada")
    with pytest.raises(InputError, match="no previous version"):
        registry.roll_back(name, "bob")
    registry.promote(name, add(2), verdict("1"), "ada")
    back = registry.roll_back(name, "bob", "worse in service")
    assert (back.champion, back.previous) == ("1", "2")
    assert registry.log.entries(name)[0].note == "worse in service"
    assert registry.roll_back(name, "bob").champion == "2"


def test_an_unknown_version(registry, name, add):
    add(1)
    with pytest.raises(InputError, match=r"no version or alias '7' .* there are: 1\."):
        registry.version(name, "7")
    with pytest.raises(InputError, match="no version or alias 'champoin'"):
        registry.fetch_bundle(name, "champoin", "/nowhere")


def test_a_fetched_bundle_is_the_one_that_was_registered(registry, name, add, tmp_path):
    registry.promote(name, add(1), verdict(), "ada")
    bundle = registry.fetch_bundle(name, "champion", tmp_path / "bundle")
    assert bundle.training_key == "key-1"
    assert bundle.replay().passed
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]
    with pytest.raises(InputError, match="exists already"):
        registry.fetch_bundle(name, "1", tmp_path / "bundle")


def test_a_damaged_bundle_is_not_fetched(registry, name, add, tmp_path):
    version = registry.version(name, add(1))
    stored = version.bundle_uri.removeprefix("file://")
    with Path(stored, "model.skops").open("ab") as file:
        file.write(b"x")
    with pytest.raises(InputError, match=r"of version 1 of .* is damaged: model\.skops"):
        registry.fetch_bundle(name, "1", tmp_path / "bundle")
    assert list(tmp_path.iterdir()) == []


def test_a_vanished_bundle_is_unreachable(registry, name, add, tmp_path):
    version = registry.version(name, add(1))
    shutil.rmtree(version.bundle_uri.removeprefix("file://"))
    with pytest.raises(UnreachableError, match="cannot be fetched from"):
        registry.fetch_bundle(name, "1", tmp_path / "bundle")


def test_mlflow_loads_the_champion_by_its_alias(registry, name, add):
    """As any user of MLflow would, in a process of its own: MLflow's address is global there."""
    registry.promote(name, add(1), verdict(), "ada")
    frame = model_frame(small_table(seed=1), small_contract())
    expected = small_model(seed=1).predict(frame)
    script = (
        "import mlflow, pandas\n"
        f"mlflow.set_tracking_uri({registry.tracking_uri!r})\n"
        "from tests.support.models import *\n"
        "frame = model_frame(small_table(seed=1), small_contract())\n"
        f"model = mlflow.pyfunc.load_model('models:/{name}@champion')\n"
        "print('\\n'.join(model.predict(frame)))\n"
    )
    done = _python(script)
    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(done.stdout.split(), expected)


def _python(script, cwd=None, **environment):
    return subprocess.run(
        [sys.executable, "-c", script],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_run_shows_the_model_and_its_figures(registry, name, add, template):
    add(1)
    run = registry.client.get_run(template[0].run)
    assert run.data.metrics["holdout_accuracy"] == 0.9
    assert run.outputs.model_outputs


def test_decisions_on_one_model_wait_for_each_other(registry, name, add, monkeypatch):
    version = add(1)
    monkeypatch.setattr(decision_lock, "PATIENCE", 0.2)
    held, release = Event(), Event()

    def hold():
        with FileLock(registry.locks / f"registry-{name}.lock"):
            held.set()
            release.wait(30)

    thread = Thread(target=hold)
    thread.start()
    held.wait(30)
    try:
        with pytest.raises(UnreachableError, match="Another process has been deciding"):
            registry.promote(name, version, verdict(), "ada")
    finally:
        release.set()
        thread.join()
    assert registry.promote(name, version, verdict(), "ada").champion == version


def test_a_decision_under_way_elsewhere_is_left_alone(registry, name, add, monkeypatch):
    version = add(1)
    monkeypatch.setattr("socket.gethostname", lambda: "elsewhere")
    registry.log.record(
        Entry(who="eve", use_case=name, action="intent", intended="promoted", to_version=version)
    )
    monkeypatch.undo()
    registry.reconcile(name)
    assert len(registry.log.open_intents(name)) == 1
    with pytest.raises(RefusedError, match="eve on elsewhere is deciding"):
        registry.promote(name, version, verdict(), "ada")
    assert registry.version(name, version).decision is None


# --- settle: what becomes of a challenger ------------------------------------------------------


@pytest.fixture
def settled(template, registry, tmp_path):
    """Settle a bundle of a use case of this test's own."""

    def settle_one(use_case, key, judged, **changes):
        bundle = write_small_bundle(
            tmp_path / f"{key}-{time.monotonic_ns()}", training_key=key, use_case=use_case
        )
        return settle(
            registry,
            bundle,
            verdict(judged, **changes),
            run_id=template[0].run,
            who="ada",
            zenml_run="train-1",
        )

    return settle_one


def test_a_passing_challenger_is_promoted(settled, registry):
    outcome = settled("settle_pass", "a", None)
    assert (outcome.status, outcome.version, outcome.champion) == ("promoted", "1", "1")
    assert registry.champion("settle_pass").zenml_run == "train-1"


def test_the_same_training_changes_nothing(settled, registry):
    settled("settle_same", "a", None)
    outcome = settled("settle_same", "a", "1")
    assert (outcome.status, outcome.version) == ("unchanged", "1")
    assert [each.version for each in [registry.champion("settle_same")]] == ["1"]
    assert _actions(registry, "settle_same") == ["intent", "promoted"]


def test_a_failing_challenger_is_not_registered_but_logged(settled, registry):
    settled("settle_fail", "a", None)
    outcome = settled("settle_fail", "b", "1", passed=False)
    assert (outcome.status, outcome.version, outcome.champion) == ("refused", None, "1")
    assert outcome.run_id
    assert "below 0.8" in outcome.message
    newest = registry.log.entries("settle_fail")[0]
    assert newest.action == "refused"
    assert newest.figures == {"accuracy": 0.9}
    with pytest.raises(InputError):
        registry.version("settle_fail", "2")


def test_a_stricter_gate_refuses_the_champions_own_training(settled, registry):
    settled("settle_strict", "a", None)
    outcome = settled("settle_strict", "a", None, passed=False)
    assert (outcome.status, outcome.version, outcome.champion) == ("refused", None, "1")
    assert "Version 1 stays champion" in outcome.message
    assert _actions(registry, "settle_strict") == ["intent", "promoted", "refused"]


def test_a_first_challenger_that_fails_leaves_no_champion(settled, registry):
    outcome = settled("settle_none", "a", None, passed=False)
    assert (outcome.status, outcome.champion) == ("refused", None)


def test_a_waiting_challenger_is_not_registered_twice(settled, registry):
    first = settled("settle_wait", "a", None, manual=True)
    second = settled("settle_wait", "a", None, manual=True)
    other = settled("settle_wait", "b", None, manual=True)
    assert (first.status, first.version) == ("waiting", "1")
    assert (second.status, second.version) == ("waiting", "1")
    assert (other.status, other.version) == ("waiting", "2")
    assert registry.aliased("settle_wait", CHALLENGER).version == "2"
