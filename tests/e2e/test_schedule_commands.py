"""``--every`` and ``--schedule`` as typed: survive a failing turn, end cleanly, refuse nonsense."""

from __future__ import annotations

import signal

import pytest

from tests.support.command_line import Home

LOOP = ("--pipeline", "continuous", "--config", "configs/iris.yaml")


@pytest.fixture
def empty(tmp_path):
    """A home in which nothing was ever trained: a turn ends with exit code 2."""
    return Home(tmp_path / "home")


def read_until(stream, text):
    """Read lines until one holds a text; return them all."""
    said = ""
    for line in stream:
        said += line
        if text in line:
            return said
    raise AssertionError(f"ended without {text!r}:\n{said}")


def test_a_failing_turn_is_survived_and_ctrl_c_ends_it(empty):
    with empty.running(*LOOP, "--every", "1h") as running:
        said = read_until(running.process.stderr, "The turn ended")
        assert "No model was trained" in said
        assert "exit code 2, bad input or configuration. The next one begins at" in said
        running.process.send_signal(signal.SIGINT)
        done = running.finish()
    assert (done.code, done.err.split()[-1]) == (130, "Ended.")


def test_sigterm_interrupts_the_turn_under_way(empty):
    with empty.running(*LOOP, "--every", "1h", "--json") as running:
        running.wait_until(lambda: list(empty.state.glob("logs/continuous-*.log")))
        running.process.send_signal(signal.SIGTERM)
        done = running.finish()
    assert done.code == 0, done.err
    assert "Ending the turn under way; the next one takes it up." in done.err
    assert done.json["exit_code"] == 130  # what the turn itself told
    assert not list(empty.state.glob("locks/*.txt"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--every", "15"), "--every '15' is no time span"),
        (("--schedule", "0 25 * * *"), "--schedule '0 25 * * *' is no cron expression"),
        (("--schedule", "@daily"), "it has 1 fields, not five"),
    ],
)
def test_nonsense_gets_one_message(empty, words, message):
    done = empty.run(*LOOP, *words).check(2, message)
    assert len(done.err.strip().splitlines()) == 1
    assert not (empty.state / "logs").exists()
