"""The way back to an earlier version, over a real MLflow store."""

from __future__ import annotations

import shutil

import pytest

from evergreen.errors import InputError, RefusedError
from evergreen.promotion import rollback
from evergreen.promotion.registration import CHALLENGER
from tests.support.stores import corrupt


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
