"""Which processes and ports of this machine are ours, and whose the others are.

Everything that a deployment starts carries a mark in its environment, which children inherit. So
it is known again after its record was lost, after its parent was killed, and after a reboot, when
its number may belong to another program.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

import psutil

from evergreen.errors import UnreachableError

MARK: Final = "EVERGREEN_DEPLOYMENT"
PATIENCE: Final = 10.0  # seconds that a process gets to end by itself


@contextmanager
def surrounded_by(**variables: str) -> Iterator[None]:
    """Let processes that are started inside the block find these environment variables."""
    former = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in former.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def marked(mark: str) -> list[psutil.Process]:
    """Return the living processes whose mark begins with ``mark``."""
    return [each for each in psutil.process_iter() if (_mark(each) or "").startswith(mark)]


def carries(process: int | None, mark: str) -> bool:
    """Tell whether the process with a number lives and carries ``mark``."""
    if process is None:
        return False
    try:
        return _mark(psutil.Process(process)) == mark
    except psutil.Error:
        return False


def exists(process: int | None) -> bool:
    """Tell whether any process has a number."""
    return process is not None and psutil.pid_exists(process)


def end(mark: str, patience: float = PATIENCE) -> int:
    """End the processes whose mark begins with ``mark``; return how many there were."""
    found = marked(mark)
    for process in found:
        _signal(process, "terminate")
    _, stubborn = psutil.wait_procs(found, timeout=patience)
    for process in stubborn:
        _signal(process, "kill")
    psutil.wait_procs(stubborn, timeout=patience)
    return len(found)


def listens(port: int) -> bool:
    """Tell whether something on this machine takes connections on a port."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def require_free(port: int, key: str, mark: str | None = None) -> None:
    """Check that a port can be opened, or is held by processes that carry ``mark``.

    Raises
    ------
    UnreachableError
        If it cannot; the message names who holds it, where that can be seen, and ``key``, the
        setting that names another port.
    """
    try:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return
    except PermissionError:
        reason = "may not be opened by this user"
    except OSError:
        holder = _holder(port)
        if holder is not None and mark is not None and _mark(holder) == mark:
            return
        reason = f"is taken{'' if holder is None else f' by {_described(holder)}'}"
    raise UnreachableError(f"Port {port} {reason}. Stop that, or choose another port: --set {key}")


def _holder(port: int) -> psutil.Process | None:
    """Return the process that listens on a port; None where that cannot be seen."""
    try:
        for connection in psutil.net_connections("tcp"):
            mine = connection.status == psutil.CONN_LISTEN and connection.laddr.port == port
            if mine and connection.pid is not None:
                return psutil.Process(connection.pid)
    except psutil.Error:
        pass
    return None


def _described(process: psutil.Process) -> str:
    mark = _mark(process)
    if mark is not None:
        return f"process {process.pid}, which a deployment started ({mark.split('|', 1)[-1]})"
    try:
        words = " ".join(process.cmdline())[:120]
    except psutil.Error:
        words = "unknown"
    return f"process {process.pid} ({words})"


def _mark(process: psutil.Process) -> str | None:
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        found: str | None = process.environ().get(MARK)
    except (psutil.Error, OSError):
        return None  # another user's, or gone
    return found


def _signal(process: psutil.Process, how: str) -> None:
    with suppress(psutil.NoSuchProcess):
        getattr(process, how)()
