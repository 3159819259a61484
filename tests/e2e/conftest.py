"""Homes for the tests of the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.command_line import Home

IRIS = ("--pipeline", "train", "--config", "configs/iris.yaml")
QUICK = ("--set", "training.candidates=[logistic_regression]", "--set", "training.trials=1")


def pytest_collection_modifyitems(items) -> None:
    """Give tests that set no limit of their own time: each runs whole processes, some ten."""
    for item in items:
        here = item.path.parent == Path(__file__).parent
        if here and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(900))


@pytest.fixture(scope="session")
def trained_home(tmp_path_factory) -> Home:
    """A home in which one small model was trained: its stores exist, its champion is version 1."""
    home = Home(tmp_path_factory.mktemp("trained"))
    home.run(*IRIS, *QUICK, "--json").check()
    return home


@pytest.fixture
def home(trained_home: Home, tmp_path: Path) -> Home:
    """A copy of the trained home that a test may do anything with."""
    return trained_home.copy(tmp_path / "home")


@pytest.fixture(scope="module")
def shared_home(trained_home: Home, tmp_path_factory) -> Home:
    """A copy of the trained home that a module's tests share: for runs that leave nothing."""
    return trained_home.copy(tmp_path_factory.mktemp("shared") / "home")
