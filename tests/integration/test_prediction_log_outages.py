"""What becomes of acknowledged predictions when databases and processes end."""

from __future__ import annotations

import signal
import sqlite3
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from evergreen.serving.prediction_log import GATHERING, PredictionLog
from tests.support.logged_server import Load, logged_server
from tests.support.postgres import running_postgres

OUTAGE = 30.0


def logged(url: str) -> set[str]:
    """Return the ids of all rows, and make sure that each is there once."""
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        if not sa.inspect(connection).has_table("predictions"):
            return set()  # nothing came this far yet
        found = connection.execute(sa.text("SELECT request_id FROM predictions")).scalars().all()
    engine.dispose()
    assert len(found) == len(set(found))
    return set(found)


def replay(url: str, spool: Path) -> None:
    """Do what the next server does: bring in what is left on disk."""
    PredictionLog(url, "load", spool=spool).close(patience=20)


def outage(spool: Path, url: str, away: Callable[[], object], back: Callable[[], object]) -> Load:
    """Take the database away under load, and stop the server when it has long been back."""
    with logged_server(spool, url) as (port, server):
        with Load(port, clients=2, pause=0.02) as load:
            time.sleep(1.5)
            away()
            time.sleep(OUTAGE)
            back()
            time.sleep(5)
        server.send_signal(signal.SIGTERM)
        assert server.wait(30) == 0
    return load


def test_a_database_may_be_away_for_half_a_minute(tmp_path):
    path = tmp_path / "log.db"
    with (
        closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as blocker,
        tempfile.TemporaryDirectory(prefix="evergreen-postgres-") as folder,
        running_postgres(Path(folder)) as postgres,
        ThreadPoolExecutor(2) as pool,
    ):
        sqlite_url = f"sqlite:///{path}"
        futures = {
            sqlite_url: pool.submit(
                outage,
                tmp_path / "1",
                sqlite_url,
                lambda: blocker.execute("BEGIN EXCLUSIVE"),
                lambda: blocker.execute("COMMIT"),
            ),
            postgres.url: pool.submit(
                outage, tmp_path / "2", postgres.url, postgres.kill, postgres.start
            ),
        }
        for url, future in futures.items():
            load = future.result()
            assert load.failed == []
            assert len(load.acknowledged) > 500
            assert load.slowest < 5.0  # answers never wait for the database
            assert set(load.acknowledged) == logged(url)
        assert list(tmp_path.rglob("*.spool")) == []


@pytest.mark.parametrize("durable", [False, True])
def test_sigterm_under_load_loses_nothing(tmp_path, durable):
    url = f"sqlite:///{tmp_path / 'log.db'}"
    with (
        logged_server(tmp_path / "spool", url, durable=durable) as (port, server),
        Load(port, pause=0.0) as load,
    ):
        load.wait_for(100)
        server.send_signal(signal.SIGTERM)
        assert server.wait(30) == 0
    assert set(load.acknowledged) <= logged(url)
    assert list(tmp_path.rglob("*.spool")) == []


@pytest.mark.parametrize("away", [False, True])
def test_sigkill_in_durable_mode_loses_nothing(tmp_path, away):
    path = tmp_path / "log.db"
    url = f"sqlite:///{path}"
    with (
        logged_server(tmp_path / "spool", url, durable=True) as (port, server),
        Load(port, pause=0.0) as load,
    ):
        load.wait_for(50)
        with closing(sqlite3.connect(path, isolation_level=None)) as blocker:
            if away:
                blocker.execute("BEGIN EXCLUSIVE")
            time.sleep(0.5)
            server.kill()
            server.wait()
    replay(url, tmp_path / "spool")
    assert set(load.acknowledged) <= logged(url)


@pytest.mark.parametrize("away", [False, True])
def test_sigkill_loses_what_the_promise_allows(tmp_path, away, record_property):
    path = tmp_path / "log.db"
    url = f"sqlite:///{path}"
    with logged_server(tmp_path / "spool", url) as (port, server), Load(port, pause=0.0) as load:
        load.wait_for(50)
        with closing(sqlite3.connect(path, isolation_level=None)) as blocker:
            if away:
                blocker.execute("BEGIN EXCLUSIVE")
            time.sleep(0.5)
            server.kill()
            killed = time.time()
            server.wait()
    replay(url, tmp_path / "spool")
    lost = [load.acknowledged[name] for name in set(load.acknowledged) - logged(url)]
    record_property("acknowledged", len(load.acknowledged))
    record_property("lost", len(lost))
    oldest = killed - min(lost, default=killed)
    record_property("oldest lost, seconds before the end", oldest)
    print(f"acknowledged {len(load.acknowledged)}, lost {len(lost)} of the last {oldest:.3f} s")
    # The pause, and the write after it, which a busy machine makes longer.
    assert oldest < GATHERING + 0.5


def test_a_living_process_takes_over_what_a_dead_one_left(tmp_path):
    path = tmp_path / "log.db"
    url, spool = f"sqlite:///{path}", tmp_path / "spool"
    with (
        logged_server(spool, url, durable=True) as (port, dying),
        logged_server(spool, url, durable=True) as (other_port, living),
    ):
        with Load(port) as load, Load(other_port, clients=1, pause=0.1) as other:
            load.wait_for(50)
            with closing(sqlite3.connect(path, isolation_level=None)) as blocker:
                blocker.execute("BEGIN EXCLUSIVE")
                time.sleep(0.3)
                dying.kill()
                dying.wait()
            end = time.monotonic() + 30
            while not set(load.acknowledged) <= logged(url):
                assert time.monotonic() < end
                time.sleep(0.2)
        living.send_signal(signal.SIGTERM)
        assert living.wait(30) == 0
    assert set(load.acknowledged) | set(other.acknowledged) <= logged(url)
    assert list(tmp_path.rglob("*.spool")) == []
