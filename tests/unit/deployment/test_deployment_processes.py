"""Whose a process or a port is: known by a mark that children inherit."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from contextlib import closing, contextmanager

import pytest

from evergreen.deployment import processes
from evergreen.errors import UnreachableError

LISTEN = "import socket, sys, time; s = socket.create_server(('127.0.0.1', int(sys.argv[1]))); "


@contextmanager
def sleeping(mark: str, code: str = "import time; time.sleep(60)", *words: str):
    """Run Python code in a process that carries a mark, and wait until it runs."""
    with processes.surrounded_by(**{processes.MARK: mark}):
        process = subprocess.Popen([sys.executable, "-c", code, *words])
    try:
        wait_until(lambda: processes.carries(process.pid, mark))
        yield process
    finally:
        process.kill()
        process.wait()


def wait_until(happens) -> None:
    deadline = time.monotonic() + 30
    while not happens():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as probe:
        return probe.getsockname()[1]


def test_a_mark_is_told_from_another(tmp_path):
    mark = f"{tmp_path}|boats, API"
    with sleeping(mark) as process:
        assert [each.pid for each in processes.marked(mark)] == [process.pid]
        assert not processes.carries(process.pid, f"{tmp_path}|cars, API")
        assert processes.marked(f"{tmp_path}|cars") == []
        assert processes.exists(process.pid)
    assert not processes.carries(process.pid, mark)
    assert not processes.carries(None, mark)


def test_children_are_ended_with_their_parent_and_after_it(tmp_path):
    mark = f"{tmp_path}|boats, MLflow"
    parent = (
        "import subprocess, sys, time; "
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']); time.sleep(60)"
    )
    with sleeping(mark, parent) as process:
        wait_until(lambda: len(processes.marked(mark)) == 2)
        process.kill()
        process.wait()
        assert processes.end(mark) == 1
    assert processes.marked(mark) == []


def test_a_process_that_will_not_end_is_killed(tmp_path):
    mark = f"{tmp_path}|boats, stubborn"
    deaf = "import signal, time; signal.signal(15, signal.SIG_IGN); print(1, flush=True); "
    with processes.surrounded_by(**{processes.MARK: mark}):
        process = subprocess.Popen(
            [sys.executable, "-c", deaf + "time.sleep(60)"], stdout=subprocess.PIPE
        )
    with process:
        process.stdout.readline()
        assert processes.end(mark, patience=0.2) == 1
    assert not processes.exists(process.pid)


def test_a_mark_does_not_stay_in_our_own_environment(monkeypatch):
    monkeypatch.setenv("KEPT", "before")
    with processes.surrounded_by(KEPT="inside", NEW="inside"):
        assert (os.environ["KEPT"], os.environ["NEW"]) == ("inside", "inside")
    assert os.environ["KEPT"] == "before"
    assert "NEW" not in os.environ


def test_a_free_port_and_one_of_ours_pass(tmp_path):
    port = free_port()
    processes.require_free(port, "deploy.port=8010")
    mark = f"{tmp_path}|boats, API"
    with sleeping(mark, LISTEN + "time.sleep(60)", str(port)):
        wait_until(lambda: listens(port))
        processes.require_free(port, "deploy.port=8010", mark)
        with pytest.raises(UnreachableError, match="which a deployment started"):
            processes.require_free(port, "deploy.port=8010", f"{tmp_path}|cars, API")


def test_who_holds_a_port_is_named():
    with closing(socket.create_server(("127.0.0.1", 0))) as holder:
        port = holder.getsockname()[1]
        with pytest.raises(UnreachableError) as caught:
            processes.require_free(port, "deploy.port=8010", "mark")
    message = str(caught.value)
    assert f"Port {port} is taken by process {os.getpid()}" in message
    assert "--set deploy.port=8010" in message


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
