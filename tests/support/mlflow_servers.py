"""MLflow's own servers, as subprocesses on a free port."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.postgres import free_port
from tests.support.server_process import kill, wait_until_it_answers

PATIENCE = 300.0  # on a busy machine


@contextmanager
def scoring_server(model: Path, folder: Path) -> Iterator[str]:
    """Serve a model as ``mlflow models serve`` does, from the working directory ``folder``."""
    port = free_port()
    command = ["models", "serve", "-m", str(model), "--env-manager", "local", "-p", str(port)]
    url = f"http://127.0.0.1:{port}"
    with _started([*command, "-h", "127.0.0.1"], folder, f"{url}/ping"):
        yield url


@contextmanager
def tracking_server(
    folder: Path, port: int | None = None, host: str = "127.0.0.1"
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Run a tracking server at ``host`` with its store and its artifacts in ``folder``."""
    port = port or free_port()
    command = [
        "server",
        f"--backend-store-uri=sqlite:///{folder / 'mlflow.db'}",
        f"--artifacts-destination={folder / 'artifacts'}",
        f"--host={host}",
        f"--port={port}",
        "--workers=1",
        f"--allowed-hosts={host}:{port}",
    ]
    url = f"http://{host}:{port}"
    with _started(command, folder, f"{url}/health") as process:
        yield url, process


@contextmanager
def _started(command: list[str], folder: Path, url: str) -> Iterator[subprocess.Popen[bytes]]:
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH",)}
    environment |= {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    log = folder / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", *command],
            cwd=folder,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        wait_until_it_answers(process, url, log, PATIENCE)
        yield process
    finally:
        kill(process)
