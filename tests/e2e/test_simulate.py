"""``--simulate`` as typed: what is wrong with it is said, and a missing API too."""

from __future__ import annotations

import socket
from contextlib import closing

import pytest

from tests.support.command_line import Home


@pytest.fixture
def empty(tmp_path) -> Home:
    return Home(tmp_path / "home")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--simulate", "earthquake"), "choose from none, covariate_shift"),
        (("--simulate", "none", "--rows", "0"), "--rows must be above 0"),
        (("--simulate", "none", "--rate", "nan"), "--rate must be above 0"),
        (("--list", "--rows", "5"), "--rows goes with --simulate"),
    ],
)
def test_a_mistake_is_named(words, message, empty):
    empty.run(*words).check(2, message)


def test_nobody_there_is_exit_code_3(empty):
    with closing(socket.create_server(("127.0.0.1", 0))) as probe:
        url = f"http://127.0.0.1:{probe.getsockname()[1]}"
    empty.run("--simulate", "none", "--rows", "5", "--url", url).check(3, "No API answers at", url)
