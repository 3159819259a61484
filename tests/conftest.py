"""What every test shares: a temporary home, so that no test sees or touches the user's state."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

# A shell's background job ignores Ctrl-C, and so would every process that a test interrupts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))


@pytest.fixture(autouse=True)
def temporary_home(tmp_path_factory, monkeypatch):
    """Point every kind of state at a folder of this test's own."""
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("EVERGREEN_HOME", str(home / "evergreen"))
    monkeypatch.setenv("ZENML_CONFIG_PATH", str(home / "zenml"))
    monkeypatch.setenv("ZENML_REPOSITORY_PATH", str(home / "repository"))
    monkeypatch.setenv("ZENML_ANALYTICS_OPT_IN", "false")
    return home
