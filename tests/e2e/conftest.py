"""Homes for the tests of the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.command_line import Home

QUICK = ("--set", "training.candidates=[decision_tree]", "--set", "training.trials=2")


@pytest.fixture(scope="session")
def trained_home(tmp_path_factory) -> Home:
    """A home in which one small model was trained: its stores exist, its champion is version 1."""
    home = Home(tmp_path_factory.mktemp("trained"))
    home.run("--pipeline", "train", "--config", "configs/iris.yaml", *QUICK, "--json").check()
    return home


@pytest.fixture
def home(trained_home: Home, tmp_path: Path) -> Home:
    """A copy of the trained home that a test may do anything with."""
    return trained_home.copy(tmp_path / "home")
