"""seldon-core's Python server with our class, in an environment of its own, and a gRPC client."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from filelock import FileLock

from tests.support.postgres import free_port
from tests.support.server_process import kill, wait_until_it_answers

ROOT = Path(__file__).resolve().parents[2]
HERE = ROOT / "deploy" / "seldon"
LOCK_FILE = HERE / "requirements.txt"
ENVIRONMENT = ROOT / "build" / "seldon-env"  # kept while the lock file is the same
CLIENT = Path(__file__).with_name("seldon_grpc.py")
PATIENCE = 120.0


def seldon_programs() -> Path:
    """Return the folder of programs of an environment made of the lock file, made where needed."""
    wanted = hashlib.sha256(LOCK_FILE.read_bytes()).hexdigest()
    made_of = ENVIRONMENT / "made-of"
    ENVIRONMENT.parent.mkdir(exist_ok=True)
    with FileLock(ENVIRONMENT.with_suffix(".lock")):
        if not made_of.exists() or made_of.read_text() != wanted:
            uv = str(Path(sys.executable).with_name("uv"))
            python = sys.executable if sys.version_info[:2] == (3, 11) else "3.11"
            _run(uv, "venv", "--clear", "--python", python, str(ENVIRONMENT))
            install = ["pip", "install", "--require-hashes", "--python", str(ENVIRONMENT)]
            _run(uv, *install, "-r", str(LOCK_FILE))
            made_of.write_text(wanted)
    return ENVIRONMENT / "bin"


@dataclass
class SeldonServer:
    """A server that answers by REST and gRPC."""

    process: subprocess.Popen[bytes]
    url: str
    grpc: str
    metrics: str
    log: Path

    def post(self, message: Any, path: str = "/api/v1.0/predictions") -> httpx.Response:
        """Send a message by REST; bytes go as they are."""
        body = message if isinstance(message, bytes) else json.dumps(message).encode()
        headers = {"content-type": "application/json"}
        return httpx.post(f"{self.url}{path}", content=body, headers=headers, timeout=60)

    def call(self, messages: Sequence[Any], method: str = "Predict") -> list[Any]:
        """Send messages by gRPC, each given and answered in its JSON form."""
        done = subprocess.run(
            [seldon_programs() / "python", CLIENT, self.grpc, method],
            input=json.dumps(messages),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def stop(self, patience: float = 30.0) -> int:
        """Send SIGTERM to the main process alone, as a container's end does; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(patience)


def start(
    home: Path, parameters: Mapping[str, str], environment: Mapping[str, str] | None = None
) -> tuple[subprocess.Popen[bytes], tuple[int, int, int], Path]:
    """Start a server; return it with its ports (REST, gRPC, metrics) and its log."""
    programs = seldon_programs()
    home.mkdir(parents=True, exist_ok=True)
    ports = (free_port(), free_port(), free_port())
    given = [{"name": n, "value": v, "type": "STRING"} for n, v in parameters.items()]
    log = home / "seldon.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                programs / "seldon-core-microservice",
                *("evergreen_model.EvergreenModel", "--service-type", "MODEL"),
                *("--http-port", str(ports[0]), "--grpc-port", str(ports[1])),
                *("--metrics-port", str(ports[2]), "--parameters", json.dumps(given)),
            ],
            cwd=HERE,
            env={
                **{name: value for name, value in os.environ.items() if name[:3] != "COV"},
                "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
                "PYTHONPATH": f"{HERE}{os.pathsep}{ROOT}",
                "EVERGREEN_HOME": str(home / "evergreen"),
                **(environment or {}),
            },
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    return process, ports, log


@contextmanager
def seldon_server(
    home: Path, parameters: Mapping[str, str], environment: Mapping[str, str] | None = None
) -> Iterator[SeldonServer]:
    """Serve until the block ends."""
    process, (rest, grpc, metrics), log = start(home, parameters, environment)
    server = SeldonServer(
        process,
        f"http://127.0.0.1:{rest}",
        f"127.0.0.1:{grpc}",
        f"http://127.0.0.1:{metrics}/metrics",
        log,
    )
    try:
        wait_until_it_answers(process, f"{server.url}/health/status", log, PATIENCE)
        yield server
    finally:
        kill(process)


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr}")
