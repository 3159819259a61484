"""What every test shares: a temporary home, so that no test sees or touches the user's state."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest
from hypothesis import settings

# A shell's background job ignores Ctrl-C, and so would every process that a test interrupts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A busy machine needs longer for an example than Hypothesis allows.
settings.register_profile("evergreen", settings.default, deadline=None)
settings.load_profile("evergreen")

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))


@pytest.fixture(scope="session")
def orders_config(tmp_path_factory):
    """The file of a small use case whose truth can be turned round."""
    from tests.support.turns import write_use_case

    return write_use_case(tmp_path_factory.mktemp("orders"))


@pytest.fixture(scope="session")
def orders_home(orders_config, tmp_path_factory):
    """A home in which it was trained: its champion is version 1. To be copied, not changed."""
    from tests.support.command_line import Home

    home = Home(tmp_path_factory.mktemp("orders-home") / "home")
    home.run("--pipeline", "train", "--config", str(orders_config), "--json").check()
    return home


@pytest.fixture(autouse=True)
def temporary_home(tmp_path_factory, monkeypatch):
    """Point every kind of state at a folder of this test's own."""
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("EVERGREEN_HOME", str(home / "evergreen"))
    monkeypatch.setenv("ZENML_CONFIG_PATH", str(home / "zenml"))
    monkeypatch.setenv("ZENML_REPOSITORY_PATH", str(home / "repository"))
    monkeypatch.setenv("ZENML_ANALYTICS_OPT_IN", "false")
    return home
