"""A server as a process of its own: waiting until it answers, and its end."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import httpx


def wait_until_it_answers(
    process: subprocess.Popen[bytes], url: str, log: Path, patience: float
) -> None:
    """Return once a URL answers with success; raise with the log if the server does not come up."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"the server ended:\n{log.read_text()}")
        with suppress(httpx.HTTPError):
            if httpx.get(url, timeout=5).is_success:
                return
        time.sleep(0.1)
    raise RuntimeError(f"{url} did not answer in {patience:g} s:\n{log.read_text()}")


def kill(process: subprocess.Popen[bytes]) -> None:
    """End a server that leads a session of its own, with all its processes."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
