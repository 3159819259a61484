"""A home in which a model is deployed, on ports of its own."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from evergreen.deployment import processes
from evergreen.deployment.deployment_log import DeploymentLog
from tests.support.command_line import Finished, Home, Running
from tests.support.postgres import free_port

IRIS = ("--config", "configs/iris.yaml")
PATIENCE = 1200  # seconds of a deployment on a busy machine


@dataclass(frozen=True)
class Deployed:
    """A home, and the three ports that its servers use."""

    home: Home
    ports: tuple[int, int, int]

    @property
    def options(self) -> tuple[str, ...]:
        api, *mlflow = self.ports
        ports = ("--set", f"deploy.port={api}", "--set", f"deploy.mlflow_ports={mlflow}")
        return (*IRIS, *ports, "--set", "deploy.timeout=9m")

    def deploy(self, *more: str, prefix: tuple[str, ...] = ()) -> Finished:
        """Run the pipeline as a user types it."""
        words = ("--pipeline", "deploy", *self.options, *more)
        return self.home.run(*words, prefix=prefix, timeout=PATIENCE)

    @contextmanager
    def deploying(self, *more: str) -> Iterator[Running]:
        """Start the pipeline; what of it still runs at the block's end is killed."""
        with self.home.running("--pipeline", "deploy", *self.options, *more) as run:
            yield run

    def status(self) -> dict[str, Any]:
        """Return what ``--status`` says of iris."""
        found = self.home.run("--status", "--json").check().json
        [model] = found["models"]
        return {**model, "servers": {server["title"]: server for server in model["servers"]}}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.ports[0]}"

    def log(self) -> DeploymentLog:
        return DeploymentLog(f"sqlite:///{self.home.state / 'evergreen.db'}")

    def processes(self) -> set[int]:
        """Return the numbers of everything that was deployed from this home."""
        return {process.pid for process in processes.marked(f"{self.home.state}|")}

    def mlflow_answers(self) -> dict[int, bool]:
        """Tell on which of its ports MLflow's server answers."""
        return {port: _answers(f"http://127.0.0.1:{port}/ping") for port in self.ports[1:]}

    def zenml(self, *words: str) -> Finished:
        """Run ZenML's own command line in this home."""
        return self.home.command("zenml", *words, **_PATH)

    def set_recorded_process(self, pid: int) -> None:
        """Let all records say that the servers' processes have this number, as after a reboot."""
        for file in self.home.state.glob("services/*/service.pid"):
            file.write_text(f"{pid}\n", encoding="utf-8")
        [database] = self.home.folder.glob("zenml/**/zenml.db")
        with closing(sqlite3.connect(database)) as connection, connection:
            rows = connection.execute("SELECT id, deployment_metadata FROM deployment").fetchall()
            for key, metadata in rows:
                changed = json.dumps({**json.loads(metadata), "pid": pid})
                connection.execute(
                    "UPDATE deployment SET deployment_metadata = ? WHERE id = ?", (changed, key)
                )


_PATH = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


@contextmanager
def deployable(home: Home) -> Iterator[Deployed]:
    """Give a home ports, and end in the end whatever was deployed from it."""
    found = Deployed(home, (free_port(), free_port(), free_port()))
    try:
        yield found
    finally:
        processes.end(f"{home.state}|")


def sleeper() -> subprocess.Popen[bytes]:
    """Start a program that has nothing to do with us."""
    return subprocess.Popen(["sleep", "600"])


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5).status_code == 200
    except httpx.HTTPError:
        return False
