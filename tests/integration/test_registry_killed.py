"""Killed after any change of store or log, the next run finds, or makes, a consistent state."""

from __future__ import annotations

import pytest

from evergreen.paths import Home
from evergreen.promotion.bundle import open_bundle
from evergreen.promotion.promotion_log import PromotionLog
from evergreen.promotion.registration import CHALLENGER, CHAMPION, PREVIOUS
from evergreen.promotion.settlement import settle
from evergreen.promotion.store import prepare_store
from tests.support.models import write_small_bundle
from tests.support.registries import Place, approve, kill_during, observed, settle_bundle
from tests.support.verdicts import verdict

SETTLING = (
    "create_logged_model",
    "log_model_artifacts",
    "finalize_logged_model",
    "log_outputs",
    "log_batch",
    "create_model_version",
    "record",
    "set_registered_model_alias",
    "set_registered_model_alias",
    "set_model_version_tag",
    "set_model_version_tag",
    "record",
)
WAITING = (*SETTLING[:7], *SETTLING[8:])
APPROVING = (
    "record",
    "set_registered_model_alias",
    "set_registered_model_alias",
    "delete_registered_model_alias",
    "set_model_version_tag",
    "record",
)
ENDS = {"promoted", "approved", "rolled_back"}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    root = tmp_path_factory.mktemp("killed")
    experiment = prepare_store(Home(root), "boats")
    opened = Place(root, experiment, "").registry()
    return Place(root, experiment, opened.client.create_run(experiment).info.run_id)


@pytest.fixture
def registry(place):
    registry = place.registry()
    yield registry
    registry.log.close()


@pytest.fixture
def bundles(place, tmp_path, request):
    """Two bundles of a use case of this test's own; the first is champion."""
    name = "k_" + "".join(c if c.isalnum() else "_" for c in request.node.name)
    first, second = (
        write_small_bundle(tmp_path / key, training_key=key, use_case=name)
        for key in ("key-1", "key-2")
    )
    settle_bundle(place, first.folder, None, False)
    return name, second.folder


def _changes(work, *arguments):
    seen: list[str] = []
    with observed(seen.append):
        work(*arguments)
    return tuple(seen)


def _require_consistency(registry, name):
    """Assert that log, aliases, versions and uploads agree."""
    entries = registry.log.entries(name)
    closed = [entry.closes for entry in entries if entry.closes is not None]
    intents = [entry.id for entry in entries if entry.action == "intent"]
    assert sorted(closed) == sorted(intents)

    ends = [entry for entry in entries if entry.action in ENDS]
    champion = registry.champion(name)
    assert champion.version == ends[0].to_version
    previous = registry.aliased(name, PREVIOUS)
    assert (previous.version if previous else None) == ends[0].from_version
    waiting = registry.aliased(name, CHALLENGER)
    if waiting is not None:
        assert entries[0].action == "waiting"
        assert entries[0].to_version == waiting.version

    client = registry.client
    versions = client.search_model_versions(f"name = '{name}'")
    known = {entry.to_version for entry in entries}
    for version in versions:
        assert str(version.version) in known
        assert version.tags["evergreen.decision"] in {"promoted", "waiting", "approved"}
    uploads = client.search_logged_models(
        [each.experiment_id for each in client.search_experiments()],
        f"tags.`evergreen.meant_for` = '{name}'",
    )
    linked = {version.tags["evergreen.logged_model"] for version in versions}
    assert {upload.model_id for upload in uploads} == linked
    assert {str(upload.status) for upload in uploads} == {"READY"}


def _require_whole_champion(registry, name, folder):
    bundle = registry.fetch_bundle(name, CHAMPION, folder)
    assert open_bundle(bundle.folder).replay().passed


def test_the_changes_are_the_ones_that_are_cut_below(place, registry, bundles):
    _, folder = bundles
    assert _changes(settle_bundle, place, folder, "1", False) == SETTLING


def test_the_changes_of_waiting_and_approving_too(place, registry, bundles):
    name, folder = bundles
    assert _changes(settle_bundle, place, folder, "1", True) == WAITING
    assert _changes(approve, place, name) == APPROVING


@pytest.mark.parametrize("number", range(len(SETTLING)))
def test_killed_while_settling(place, registry, bundles, tmp_path, number):
    name, folder = bundles
    kill_during(number, settle_bundle, place, folder, "1", False)

    registry.reconcile(name)
    _require_consistency(registry, name)
    before = registry.champion(name)
    assert before.training_key == ("key-2" if number >= SETTLING.index("record") else "key-1")

    outcome = _settle_again(registry, place, folder, before.version)
    assert outcome.status == ("unchanged" if before.training_key == "key-2" else "promoted")
    _require_consistency(registry, name)
    assert registry.champion(name).training_key == "key-2"
    assert registry.aliased(name, PREVIOUS).training_key == "key-1"
    promotions = [entry for entry in registry.log.entries(name) if entry.action == "promoted"]
    assert len(promotions) == 2
    _require_whole_champion(registry, name, tmp_path / "fetched")


@pytest.mark.parametrize("number", [0, 2, 6, 8, 9])
def test_killed_while_settling_the_first_version_ever(place, registry, tmp_path, request, number):
    name = f"first_{number}"
    bundle = write_small_bundle(tmp_path / "bundle", training_key="key-1", use_case=name)
    kill_during(number, settle_bundle, place, bundle.folder, None, False)

    registry.reconcile(name)
    before = registry.champion(name)
    _settle_again(registry, place, bundle.folder, before.version if before else None)

    _require_consistency(registry, name)
    assert registry.champion(name).training_key == "key-1"
    assert registry.aliased(name, PREVIOUS) is None
    _require_whole_champion(registry, name, tmp_path / "fetched")


@pytest.mark.parametrize("number", range(6, len(WAITING)))
def test_killed_while_beginning_to_wait(place, registry, bundles, number):
    name, folder = bundles
    kill_during(number, settle_bundle, place, folder, "1", True)

    registry.reconcile(name)
    _require_consistency(registry, name)
    assert registry.champion(name).training_key == "key-1"
    assert registry.aliased(name, CHALLENGER).training_key == "key-2"
    assert registry.approve(name, "bob").champion == registry.champion(name).version
    _require_consistency(registry, name)


@pytest.mark.parametrize("number", range(len(APPROVING)))
def test_killed_while_approving(place, registry, bundles, number):
    name, folder = bundles
    settle_bundle(place, folder, "1", True)
    kill_during(number, approve, place, name)

    registry.reconcile(name)

    _require_consistency(registry, name)
    assert registry.champion(name).training_key == "key-2"
    assert registry.aliased(name, CHALLENGER) is None
    assert [entry.action for entry in registry.log.entries(name)].count("approved") == 1


def test_killed_and_overtaken_by_a_hand_made_alias(place, registry, bundles):
    """An intent whose champion is gone must not be carried out later."""
    name, folder = bundles
    kill_during(SETTLING.index("record"), settle_bundle, place, folder, "1", False)
    third = registry.register(name, open_bundle(folder), place.run)
    registry.client.set_registered_model_alias(name, CHAMPION, third)

    (said,) = [text for text in registry.reconcile(name) if "Voided" in text]

    assert "another champion had come meanwhile" in said
    assert registry.champion(name).version == third
    assert registry.log.entries(name)[0].action == "voided"
    assert registry.log.open_intents(name) == ()


def _settle_again(registry, place, folder, against):
    return settle(registry, open_bundle(folder), verdict(against), run_id=place.run, who="ada")


def test_the_log_of_a_killed_process_can_be_written_on(place, registry, bundles):
    name, folder = bundles
    kill_during(SETTLING.index("record"), settle_bundle, place, folder, "1", False)
    other = PromotionLog(registry.log.url)
    assert len(other.open_intents(name)) == 1
    other.close()
