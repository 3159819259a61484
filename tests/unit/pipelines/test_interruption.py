"""Ctrl-C gets through where it was dropped, and leaves alone who tidies up after it."""

from __future__ import annotations

import signal
import threading
import time
from contextlib import suppress

import pytest

from pipelines import interruption
from pipelines.interruption import persistent_ctrl_c

LONG = 20.0  # seconds, which no test takes


@pytest.fixture(autouse=True)
def often(monkeypatch):
    monkeypatch.setattr(interruption, "AGAIN", 0.05)


def press() -> None:
    signal.raise_signal(signal.SIGINT)


def test_it_is_raised_at_once():
    with pytest.raises(KeyboardInterrupt), persistent_ctrl_c():
        press()
        pytest.fail("went on")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_it_is_raised_again_where_it_was_dropped():
    dropped = 0
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt), persistent_ctrl_c():
        for _ in range(3):
            with suppress(KeyboardInterrupt):
                press() if not dropped else time.sleep(LONG)
            dropped += 1
        time.sleep(LONG)
    assert dropped == 3
    assert time.monotonic() - began < LONG


def test_it_is_raised_again_where_a_destructor_dropped_it(monkeypatch):
    monkeypatch.setattr("sys.unraisablehook", lambda _: None)

    class Dying:
        def __del__(self):
            press()

    with pytest.raises(KeyboardInterrupt), persistent_ctrl_c():
        Dying()
        time.sleep(LONG)


def test_who_tidies_up_is_left_alone():
    steps = []
    with pytest.raises(KeyboardInterrupt), persistent_ctrl_c():
        try:
            press()
        finally:
            steps.append("begun")
            time.sleep(0.3)
            with suppress(ValueError):
                raise ValueError("in between")
            try:
                int("no number")
            except ValueError:
                time.sleep(0.3)  # what is handled here came while Ctrl-C was handled
            steps.append("done")
    assert steps == ["begun", "done"]


def test_a_second_ctrl_c_does_not_wait_for_that():
    with pytest.raises(KeyboardInterrupt), persistent_ctrl_c():
        try:
            press()
        finally:
            press()
            pytest.fail("went on")


def test_what_goes_wrong_because_of_it_is_told_as_such():
    with pytest.raises(KeyboardInterrupt) as raised, persistent_ctrl_c():
        with suppress(KeyboardInterrupt):
            press()
        raise TypeError("no validator")
    assert isinstance(raised.value.__cause__, TypeError)


def test_without_it_nothing_changes():
    with pytest.raises(TypeError), persistent_ctrl_c():
        raise TypeError("no validator")
    with persistent_ctrl_c():
        time.sleep(0.2)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_what_ended_well_stays_so():
    with persistent_ctrl_c(), suppress(KeyboardInterrupt):
        press()
    time.sleep(0.2)  # nobody looks any more


def test_a_handler_of_somebody_elses_stays():
    asked = []
    before = signal.signal(signal.SIGINT, lambda *_: asked.append(1))
    try:
        with persistent_ctrl_c():
            press()
            time.sleep(0.2)
    finally:
        signal.signal(signal.SIGINT, before)
    assert asked == [1]


def test_other_threads_have_no_handlers():
    thread = threading.Thread(target=persistent_ctrl_c().__enter__)
    thread.start()
    thread.join()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
