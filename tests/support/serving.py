"""The serving command line in a process of its own, as users start it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

ROOT = Path(__file__).resolve().parents[2]
BOAT = {
    "mast / height": 10.0,
    "crew": 3,
    "licensed": True,
    "harbour": "Kiel",
    "built": "1999-01-01",
}


@dataclass
class Server:
    """A server that answers."""

    process: subprocess.Popen[str]
    url: str
    said: str  # on standard output, up to being ready
    seconds: float  # from its start to its first answer
    errors: Path  # its standard error

    def stop(self, patience: float = 30.0) -> int:
        """Send SIGTERM and return the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(patience)


def command(*arguments: str | Path, python: tuple[str, ...] = ()) -> list[str]:
    """Return the command line of a server."""
    return [sys.executable, *python, "-m", "evergreen.serving", *map(str, arguments)]


@contextmanager
def serving(
    home: Path, *arguments: str | Path, python: tuple[str, ...] = (), port: int = 0
) -> Iterator[Server]:
    """Serve until the block ends; then it is killed, unless it was stopped."""
    home.mkdir(parents=True, exist_ok=True)
    errors = home / "standard_error.txt"
    started = time.monotonic()
    with errors.open("w") as stream:
        process = subprocess.Popen(
            command(*arguments, "--port", str(port), python=python),
            cwd=ROOT,
            env={**os.environ, "EVERGREEN_HOME": str(home)},
            stdout=subprocess.PIPE,
            stderr=stream,
            text=True,
            start_new_session=True,
        )
    try:
        said = _until_ready(process, errors)
        url = re.findall(r"http://\S+", said)[0]
        while not _answers(url):
            assert process.poll() is None, errors.read_text()
            time.sleep(0.01)
        yield Server(process, url, said, time.monotonic() - started, errors)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()


def _until_ready(process: subprocess.Popen[str], errors: Path) -> str:
    said = ""
    while "Health" not in said:
        line = process.stdout.readline()
        assert line, f"the server ended: {said}\n{errors.read_text()}"
        said += line
    return said


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health/ready", timeout=5).is_success
    except httpx.HTTPError:
        return False


def refused(home: Path, *arguments: str | Path) -> tuple[int, str]:
    """Run a server that is not to start; return its exit code and what it said."""
    done = subprocess.run(
        command(*arguments),
        cwd=ROOT,
        env={**os.environ, "EVERGREEN_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout == ""
    return done.returncode, done.stderr
