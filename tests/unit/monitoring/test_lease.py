"""The lease: one holder at a time, and none that outlives its term or its process."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from evergreen.errors import UnreachableError
from evergreen.monitoring import lease
from evergreen.monitoring.lease import Leases

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def leases(tmp_path):
    leases = Leases(f"sqlite:///{tmp_path / 'evergreen.db'}")
    yield leases
    leases.close()


def test_a_second_one_is_refused_with_the_reason(leases):
    leases.acquire("wine", "A retraining of 'wine'", term=MINUTE, now=NOW)
    with pytest.raises(UnreachableError) as refused:
        leases.acquire("wine", "Another", term=MINUTE, now=NOW + timedelta(seconds=20))
    message = str(refused.value)
    assert "A retraining of 'wine' is under way" in message
    assert f"process {os.getpid()}" in message
    assert "since 2026-03-01 12:00:00 UTC" in message
    assert "ends in 40 s" in message
    leases.acquire("iris", "Another", now=NOW)  # of another name


def test_given_back_it_is_free(leases):
    holder = leases.acquire("wine", "A", now=NOW)
    leases.release(holder)
    assert leases.holder("wine") is None
    leases.acquire("wine", "B", now=NOW)


def test_it_expires_and_the_former_holder_learns_of_it(leases):
    first = leases.acquire("wine", "A", term=MINUTE, now=NOW)
    second = leases.acquire("wine", "B", term=MINUTE, now=NOW + MINUTE)
    assert not leases.renew(first, now=NOW + MINUTE)
    leases.release(first)  # what was lost is not given back
    assert leases.holder("wine") == second


def test_renewed_it_lasts(leases):
    holder = leases.acquire("wine", "A", term=MINUTE, now=NOW)
    assert leases.renew(holder, term=MINUTE, now=NOW + timedelta(seconds=50))
    with pytest.raises(UnreachableError):
        leases.acquire("wine", "B", term=MINUTE, now=NOW + timedelta(seconds=100))


def test_of_many_at_once_one_gets_it(leases):
    def attempt(number):
        try:
            return leases.acquire("wine", f"attempt {number}").purpose
        except UnreachableError:
            return None

    with ThreadPoolExecutor(8) as threads:
        won = [purpose for purpose in threads.map(attempt, range(16)) if purpose]
    found = leases.holder("wine")
    assert found is not None
    assert won == [found.purpose]


def test_an_expired_one_is_taken_by_one_alone(leases):
    leases.acquire("wine", "the former", term=MINUTE, now=NOW)

    def attempt(number):
        try:
            return leases.acquire("wine", f"attempt {number}", now=NOW + MINUTE).purpose
        except UnreachableError:
            return None

    with ThreadPoolExecutor(8) as threads:
        assert len([purpose for purpose in threads.map(attempt, range(16)) if purpose]) == 1


def _hold(url, ready):
    Leases(url).acquire("wine", "one that dies", term=timedelta(hours=9))
    ready.set()
    signal.pause()


def test_that_of_a_killed_process_is_free_at_once(leases):
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    process = context.Process(target=_hold, args=(leases.url, ready), daemon=True)
    process.start()
    assert ready.wait(120)
    with pytest.raises(match="one that dies"):
        leases.acquire("wine", "the next")  # it lives
    process.kill()
    process.join()
    assert leases.acquire("wine", "the next").purpose == "the next"


def test_of_another_machine_nobody_says_that_it_is_dead(leases, monkeypatch):
    monkeypatch.setattr("socket.gethostname", lambda: "elsewhere")
    monkeypatch.setattr("os.getpid", lambda: 2**22 + 1)  # no process has this number
    leases.acquire("wine", "A", term=MINUTE, now=NOW)
    monkeypatch.undo()
    found = leases.holder("wine")
    assert found is not None
    assert not found.is_dead
    with pytest.raises(match="on elsewhere"):
        leases.acquire("wine", "B", term=MINUTE, now=NOW)


def test_a_number_given_again_does_not_keep_it(leases, monkeypatch):
    monkeypatch.setattr("evergreen.monitoring.lease._started", lambda process: 1.0)
    leases.acquire("wine", "A", term=MINUTE, now=NOW)
    monkeypatch.undo()  # this process has the same number, and began at another time
    assert leases.acquire("wine", "B", now=NOW).purpose == "B"


def test_while_held_it_is_renewed(leases):
    with leases.held("wine", "A", term=timedelta(seconds=2)) as held:
        first = held.holder.expires
        while (found := leases.holder("wine")) is not None and found.expires == first:
            pass
        assert found is not None
        assert found.token == held.holder.token
        held.require()
    assert leases.holder("wine") is None


def test_what_was_lost_is_told_before_anything_is_done(leases):
    with leases.held("wine", "A") as held:
        leases.release(held.holder)
        with pytest.raises(match="taken by another process"):
            held.require()


def test_a_database_that_cannot_be_used(tmp_path):
    (tmp_path / "evergreen.db").mkdir()
    with pytest.raises(UnreachableError, match="leases"):
        Leases(f"sqlite:///{tmp_path / 'evergreen.db'}").acquire("wine", "A")


def test_a_renewal_that_is_stuck_keeps_nobody_waiting(leases, monkeypatch):
    monkeypatch.setattr(lease, "STUCK", 0.05)
    renewing, free = threading.Event(), threading.Event()

    def stuck(*_, **__):
        renewing.set()
        return free.wait()

    with leases.held("loop", "A turn", term=timedelta(seconds=0.2)):
        monkeypatch.setattr(leases, "renew", stuck)
        assert renewing.wait(10)
    assert leases.holder("loop") is None
    free.set()
