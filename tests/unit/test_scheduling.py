"""Turn after turn: failing ones, late ones, killed ones; and the end."""

from __future__ import annotations

import signal
import sys
import threading
from contextlib import contextmanager
from datetime import UTC

import pytest
from apscheduler.triggers.interval import IntervalTrigger

from pipelines.scheduling import Loop, stopping
from tests.support.receivers import webhook
from tests.support.use_cases import use_case

OFTEN = IntervalTrigger(seconds=1, timezone=UTC)


@contextmanager
def looping(tmp_path, code, **alerts):
    """Take turns of a Python program, whose ``note(text)`` writes a line; yield their reader."""
    notes = tmp_path / "notes.txt"
    notes.touch()
    head = (
        f"import os, signal, sys, time\ndef note(t): open({str(notes)!r}, 'a').write(t + '\\n')\n"
    )
    loop = Loop([sys.executable, "-c", head + code], use_case(**alerts))
    loop.start(OFTEN, at_once=True)
    try:
        yield lambda: notes.read_text().splitlines()
    finally:
        loop.stop()


def until(happens):
    """Wait for something; the test's own time limit ends it."""
    pause = threading.Event()
    while not happens():
        pause.wait(0.02)


def alerts_to(receiver):
    return {"alerts": {"targets": {"ops": {"type": "webhook", "url": receiver.url}}}}


def test_a_failing_turn_is_told_and_the_next_one_taken(tmp_path, capfd):
    with looping(tmp_path, "note('turn'); sys.exit(3)") as notes:
        until(lambda: len(notes()) >= 3)
    said = capfd.readouterr().err
    assert said.count("exit code 3, something needed does not answer") >= 2
    assert "The next one begins at 20" in said
    assert said.rstrip().endswith("Ended.")


def test_a_turn_that_is_due_during_another_is_left_out_and_told_once(tmp_path, capfd):
    code = f"""
note('turn')
while not os.path.exists({str(tmp_path / "go")!r}): time.sleep(0.02)
"""
    with webhook() as receiver:
        with looping(tmp_path, code, **alerts_to(receiver)) as notes:
            until(lambda: receiver.posts)
            assert len(notes()) == 1  # never two at once
            (tmp_path / "go").touch()
            until(lambda: len(notes()) >= 2)
        kinds = [post.content["kind"] for post in receiver.posts]
    assert kinds == ["pipeline_late"]
    assert "is left out: the one before is still under way" in capfd.readouterr().err


def test_a_killed_turn_is_told(tmp_path, capfd):
    with webhook() as receiver:
        code = "note('turn'); os.kill(os.getpid(), signal.SIGKILL)"
        with looping(tmp_path, code, **alerts_to(receiver)) as notes:
            until(lambda: len(notes()) >= 2 and receiver.posts)
        kinds = [post.content["kind"] for post in receiver.posts]
    assert kinds == ["pipeline_failed"]
    assert "killed by SIGKILL" in capfd.readouterr().err


def test_at_the_end_the_turn_under_way_is_interrupted_and_waited_for(tmp_path, capfd):
    code = """
try:
    note('begun')
    time.sleep(600)
except KeyboardInterrupt:
    note('interrupted')
    sys.exit(130)
"""
    with looping(tmp_path, code) as notes:
        until(notes)
    assert notes() == ["begun", "interrupted"]
    assert "exit code 130, interrupted" in capfd.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_ask_for_the_end_and_the_second_one_insists(number):
    insisted = []
    before = signal.getsignal(number)
    with stopping(lambda: insisted.append(True)) as stop:
        signal.raise_signal(number)
        stop.wait()
        assert (stop.by, insisted) == (number, [])
        signal.raise_signal(signal.SIGINT)
        assert (stop.by, insisted) == (number, [True])
    assert signal.getsignal(number) is before
