"""The process that takes a server's prediction log to the database, and what becomes of rows."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import time
from pathlib import Path

import httpx
import pytest

from tests.support.models import write_small_bundle
from tests.support.serving import BOAT, serving
from tests.support.waiting import wait_until


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return write_small_bundle(tmp_path_factory.mktemp("bundle") / "boats")


def logged(home: Path) -> list[str]:
    path = home / "predictions.db"
    if not path.exists():
        return []
    connection = sqlite3.connect(path)
    try:
        found = connection.execute("SELECT request_id FROM predictions").fetchall()
    except sqlite3.OperationalError:  # no table yet
        return []
    finally:
        connection.close()
    return sorted(row[0] for row in found)


def log_processes(server: int) -> list[int]:
    """Return the log processes among a server's children."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
            command = stat.with_name("cmdline").read_bytes()
        except OSError:
            continue
        if parent == server and b"evergreen.serving.log_process" in command:
            found.append(int(stat.parent.name))
    return found


def states(url: str) -> dict[str, float]:
    text = httpx.get(f"{url}/metrics", timeout=30).text
    found = re.findall(r'evergreen_prediction_log_rows\{state="(\w+)"\} (\S+)', text)
    return {state: float(rows) for state, rows in found}


def ask(client: httpx.Client, times: int) -> list[str]:
    answers = [client.post("/predict", json=BOAT) for _ in range(times)]
    assert all(answer.is_success for answer in answers)
    return [answer.json()["request_id"] for answer in answers]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_rows_arrive_and_are_counted_once(bundle, tmp_path, workers):
    with serving(tmp_path, "--bundle", bundle.folder, "--workers", workers) as server:
        expected: list[str] = []
        for _ in range(4):  # connections go to either worker
            with httpx.Client(base_url=server.url, timeout=30) as client:
                expected += ask(client, 5)
        wait_until(lambda: logged(tmp_path) == sorted(expected))
        wait_until(lambda: states(server.url)["logged"] == 20.0)
        found = states(server.url)
        assert (found["spooled"], found["queued"], found["rejected"]) == (0.0, 0.0, 0.0)
        assert server.stop() == 0
    assert server.errors.read_text() == ""
    assert list((tmp_path / "spool").rglob("*")) == list((tmp_path / "spool").glob("*"))


def test_a_log_process_that_dies_is_replaced_and_nothing_is_lost(bundle, tmp_path):
    with (
        serving(tmp_path, "--bundle", bundle.folder) as server,
        httpx.Client(base_url=server.url, timeout=30) as client,
    ):
        expected = ask(client, 3)
        wait_until(lambda: logged(tmp_path) == sorted(expected))
        (process,) = log_processes(server.process.pid)
        os.kill(process, signal.SIGKILL)
        expected += ask(client, 3)
        wait_until(lambda: logged(tmp_path) == sorted(expected))
        wait_until(lambda: states(server.url)["logged"] == 6.0)
        assert log_processes(server.process.pid) != [process]
        assert "is started again; rows wait on disk" in server.errors.read_text()
        assert server.stop() == 0


def test_it_survives_its_server_only_to_finish(bundle, tmp_path):
    with (
        serving(tmp_path, "--bundle", bundle.folder) as server,
        httpx.Client(base_url=server.url, timeout=30) as client,
    ):
        wait_until(lambda: log_processes(server.process.pid))
        (process,) = log_processes(server.process.pid)
        expected = ask(client, 5)
        time.sleep(0.5)  # they are on disk by now
        server.process.kill()
        server.process.wait()
        wait_until(lambda: not _alive(process))
    assert logged(tmp_path) == sorted(expected)


def test_a_database_that_is_away_shows_and_rows_wait(bundle, tmp_path):
    with (
        serving(tmp_path, "--bundle", bundle.folder) as server,
        httpx.Client(base_url=server.url, timeout=60) as client,
    ):
        first = ask(client, 1)
        wait_until(lambda: logged(tmp_path) == first)
        assert client.get("/health").json()["status"] == "ok"
        blocker = sqlite3.connect(tmp_path / "predictions.db", isolation_level=None)
        blocker.execute("BEGIN EXCLUSIVE")
        expected = first + ask(client, 4)
        wait_until(lambda: client.get("/health").json()["status"] == "degraded")
        assert states(server.url)["spooled"] == 4.0
        blocker.execute("COMMIT")
        blocker.close()
        wait_until(lambda: logged(tmp_path) == sorted(expected))
        wait_until(lambda: client.get("/health").json()["status"] == "ok")
        assert server.stop() == 0


def _alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
