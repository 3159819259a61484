"""Taking away what a run in the test cluster needs: its API server, its kubelet, a port."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def _state() -> Path:
    """Return the folder in which tests/cluster/cluster.sh keeps its processes' numbers."""
    return Path(os.environ["KUBECONFIG"]).parent


@contextmanager
def away(program: str) -> Iterator[None]:
    """Stop a program of the cluster, such as ``apiserver``, until the block ends."""
    state = _state()
    number = state / f"{program}.pid"
    process = int(number.read_text())
    words = [
        word.decode() for word in Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0") if word
    ]
    os.kill(process, signal.SIGTERM)
    deadline = time.monotonic() + 30
    while Path(f"/proc/{process}").exists() and _state_of(process) != "Z":
        if time.monotonic() > deadline:
            os.kill(process, signal.SIGKILL)
        time.sleep(0.1)
    try:
        yield
    finally:
        with (state / "logs" / f"{program}.log").open("ab") as log:
            started = subprocess.Popen(
                words,
                cwd=state,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        number.write_text(f"{started.pid}\n")


@contextmanager
def refused(port: int) -> Iterator[None]:
    """Refuse and cut every connection to a port of this machine until the block ends."""
    rule = (
        "INPUT",
        "-p",
        "tcp",
        "--dport",
        str(port),
        "-j",
        "REJECT",
        "--reject-with",
        "tcp-reset",
    )
    subprocess.run(["iptables", "-I", *rule], check=True)
    try:
        yield
    finally:
        subprocess.run(["iptables", "-D", *rule], check=True)


def _state_of(process: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0]
    return "Z"
