"""The lease in PostgreSQL, where several machines take turns: the same promises."""

from __future__ import annotations

import multiprocessing
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from evergreen.errors import UnreachableError
from evergreen.monitoring.lease import Leases

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def leases(postgres, request):
    """Leases in a database of this test's own."""
    name = "lease_" + request.node.name[-40:].lower()
    engine = sa.create_engine(postgres.url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sa.text(f'CREATE DATABASE "{name}"'))
    engine.dispose()
    url = sa.make_url(postgres.url).set(database=name).render_as_string(hide_password=False)
    leases = Leases(url)
    yield leases
    leases.close()


def attempts(url, now):
    """Sixteen at once, half of them through a connection of their own; return who got it."""

    def attempt(number):
        own = Leases(url)
        try:
            return own.acquire("wine", f"attempt {number}", term=MINUTE, now=now).purpose
        except UnreachableError:
            return None
        finally:
            own.close()

    with ThreadPoolExecutor(8) as threads:
        return [purpose for purpose in threads.map(attempt, range(16)) if purpose]


def test_of_many_at_once_one_gets_it_and_again_when_it_expired(leases):
    for now in (NOW, NOW + MINUTE):
        won = attempts(leases.url, now)
        found = leases.holder("wine")
        assert found is not None
        assert won == [found.purpose]


def test_renewed_it_lasts_and_what_was_lost_is_told(leases):
    first = leases.acquire("wine", "A", term=MINUTE, now=NOW)
    assert leases.renew(first, term=MINUTE, now=NOW + MINUTE / 2)
    with pytest.raises(UnreachableError, match="A is under way"):
        leases.acquire("wine", "B", term=MINUTE, now=NOW + MINUTE)
    second = leases.acquire("wine", "B", term=MINUTE, now=NOW + 2 * MINUTE)
    assert not leases.renew(first, now=NOW + 2 * MINUTE)
    leases.release(first)  # what was lost is not given back
    assert leases.holder("wine") == second


def test_while_held_it_is_renewed_and_then_given_back(leases):
    with leases.held("wine", "A", term=timedelta(seconds=2)) as held:
        first = held.holder.expires
        while (found := leases.holder("wine")) is not None and found.expires == first:
            pass
        assert found is not None
        held.require()
    assert leases.holder("wine") is None


def _hold(url, ready):
    Leases(url).acquire("wine", "one that dies", term=timedelta(hours=9))
    ready.set()
    signal.pause()


def test_that_of_a_killed_process_is_free_at_once_on_the_same_machine_alone(leases, monkeypatch):
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    process = context.Process(target=_hold, args=(leases.url, ready), daemon=True)
    process.start()
    assert ready.wait(120)
    with pytest.raises(UnreachableError, match=f"process {process.pid} on"):
        leases.acquire("wine", "the next")  # it lives
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    monkeypatch.setattr("socket.gethostname", lambda: "elsewhere")
    with pytest.raises(UnreachableError, match="one that dies"):
        leases.acquire("wine", "another machine")
    monkeypatch.undo()
    assert leases.acquire("wine", "the next").purpose == "the next"


def test_a_server_that_is_gone_is_said_without_its_password(leases):
    gone = sa.make_url(leases.url).set(port=1, password="secret")
    with pytest.raises(UnreachableError, match="The leases") as found:
        Leases(gone.render_as_string(hide_password=False)).acquire("wine", "A")
    assert "secret" not in str(found.value)
