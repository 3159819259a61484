"""A model with columns of every type, and promises for the policies to judge."""

from __future__ import annotations

import pytest

from evergreen.serving.runtime import load_runtime
from tests.support.contract_api import PROMISES, promised
from tests.support.models import write_small_bundle


@pytest.fixture(scope="session")
def boats(tmp_path_factory):
    return write_small_bundle(tmp_path_factory.mktemp("boats") / "bundle").folder


@pytest.fixture
def runtime(boats):
    loaded = load_runtime(boats, "3")
    loaded.contract = promised(loaded.contract, PROMISES)
    return loaded
