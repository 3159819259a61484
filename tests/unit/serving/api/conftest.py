"""Bundles that are made once, and APIs of them."""

from __future__ import annotations

import pytest

from tests.support.contract_api import make_api
from tests.support.models import write_small_bundle


@pytest.fixture(scope="session")
def class_bundle(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundles") / "classes"
    write_small_bundle(folder)
    return folder


@pytest.fixture(scope="session")
def number_bundle(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundles") / "numbers"
    write_small_bundle(folder, "regression")
    return folder


@pytest.fixture
def api_of(tmp_path):
    """Return what makes APIs that are closed after the test."""
    made = []

    def make(folder, settings=None, **arguments):
        home = tmp_path / f"api{len(made)}"
        home.mkdir()
        made.append(make_api(folder, home, settings, **arguments))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def api(api_of, class_bundle):
    return api_of(class_bundle)


@pytest.fixture
def number_api(api_of, number_bundle):
    return api_of(number_bundle)
