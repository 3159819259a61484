"""A home in which a model is deployed, on ports of its own."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from evergreen.deployment import processes
from evergreen.deployment.deployment_log import DeploymentLog
from evergreen.promotion.promotion_log import PromotionLog
from evergreen.promotion.registry import Registry
from evergreen.promotion.serialization import load_model, save_model
from evergreen.serving.artifacts import local_folder
from tests.support.command_line import ROOT, Finished, Home, Running
from tests.support.mlflow_servers import tracking_server
from tests.support.postgres import free_port

IRIS = ("--config", "configs/iris.yaml")
PATIENCE = 1200  # seconds of a deployment on a busy machine


@dataclass(frozen=True)
class Deployed:
    """A home, the three ports that its servers use, and the stack that it deploys to."""

    home: Home
    ports: tuple[int, int, int]
    stack: str = "local"
    registry: str = ""  # address of the tracking server, where there is one

    @property
    def options(self) -> tuple[str, ...]:
        api, *mlflow = self.ports
        ports = ("--set", f"deploy.port={api}", "--set", f"deploy.mlflow_ports={mlflow}")
        return (*IRIS, *ports, "--set", "deploy.timeout=9m", "--stack", self.stack)

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

    def predict(self) -> str:
        """Ask the API for a row; return the version that answered."""
        row = httpx.get(f"{self.url}/contract/example", timeout=30).raise_for_status().json()
        answer = httpx.post(f"{self.url}/predict", json=row, timeout=30).raise_for_status()
        return str(answer.json()["model_version"])

    def wait_for_version(self, version: str, patience: float = 120.0) -> None:
        """Wait until the API has swapped a version in."""
        deadline = time.monotonic() + patience
        while (found := self.predict()) != version:
            assert time.monotonic() < deadline, f"the API stays with version {found}"
            time.sleep(0.2)

    def champions_bundle(self) -> Path:
        """Return the folder in the registry that the champion's files are in."""
        log = PromotionLog(f"sqlite:///{self.home.state / 'evergreen.db'}")
        uri = f"sqlite:///{self.home.state / 'mlflow' / 'mlflow.db'}"
        champion = Registry(uri, log, self.home.state / "locks").champion("iris")
        log.close()
        assert champion is not None
        folder = local_folder(champion.bundle_uri)
        assert folder is not None
        return folder

    def log(self) -> DeploymentLog:
        return DeploymentLog(f"sqlite:///{self.home.state / 'evergreen.db'}")

    def logged_version(self) -> str | None:
        """Return the version that is deployed according to the log."""
        log = self.log()
        found = log.deployed("iris")
        log.close()
        return found.version if found else None

    def processes(self, which: str = "") -> set[int]:
        """Return the numbers of what was deployed from this home, or of ``which`` server of it."""
        mark = f"{self.home.state}|{which and f'iris, {which}'}"
        return {process.pid for process in processes.marked(mark)}

    def mlflow_answers(self) -> dict[int, bool]:
        """Tell on which of its ports MLflow's server answers."""
        return {port: _answers(f"http://127.0.0.1:{port}/ping") for port in self.ports[1:]}

    @contextmanager
    def registry_back(self) -> Iterator[subprocess.Popen[bytes]]:
        """Start the tracking server anew at its address."""
        port = int(self.registry.rpartition(":")[2])
        with tracking_server(self.home.state / "mlflow", port) as (_, process):
            yield process

    def zenml(self, *commands: str) -> Finished:
        """Run commands of ZenML's own command line, one after the other in one process."""
        return self.home.command(sys.executable, "-c", _ZENML, *commands, **_PATH)

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


_ZENML = """
import shlex, sys
from zenml.cli.cli import cli
for command in sys.argv[1:]:
    cli.main(shlex.split(command), prog_name="zenml", standalone_mode=False)
"""
_PATH = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


@contextmanager
def deployable(home: Home) -> Iterator[Deployed]:
    """Give a home ports, and end in the end whatever was deployed from it."""
    found = Deployed(home, (free_port(), free_port(), free_port()))
    try:
        yield found
    finally:
        processes.end(f"{home.state}|")


def served_registry(home: Home, url: str) -> str:
    """Register a stack that differs from the local one by a tracking server; return its name."""
    text = (ROOT / "stacks" / "local.yaml").read_text(encoding="utf-8")
    here = "name: mlflow_local\n    flavor: mlflow\n    config:\n      tracking_uri: sqlite:///"
    there = f"name: served\n    flavor: mlflow\n    config:\n      tracking_uri: {url}\n"
    before, found, after = text.partition(here)
    assert found
    file = home.folder / "served.yaml"
    rest = after.partition("\n")[2]
    changed = f"{before}{there}      tracking_token: none\n{rest}"
    file.write_text(changed.replace("name: local\n", "name: served\n", 1), encoding="utf-8")
    home.command(sys.executable, "-m", "stacks", "apply", str(file)).check()
    return "served"


@contextmanager
def turned_round(bundle: Path) -> Iterator[None]:
    """Let MLflow's server read a model that says the opposite, with right checksums.

    What is verified before a deployment, the graph and the scikit-learn model, stays as it is.
    """
    kept = bundle.with_name(f"{bundle.name}.kept")
    shutil.copytree(bundle, kept)
    model = load_model(bundle / "model.skops")
    model[-1].coef_ = -model[-1].coef_
    save_model(model, bundle / "other.skops")
    described = (bundle / "MLmodel").read_text(encoding="utf-8")
    changed = described.replace("model_path: model.skops", "model_path: other.skops")
    assert changed != described
    (bundle / "MLmodel").write_text(changed, encoding="utf-8")
    manifest = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))
    content = (bundle / "MLmodel").read_bytes()
    manifest["files"]["MLmodel"] = hashlib.sha256(content).hexdigest()
    (bundle / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    try:
        yield
    finally:
        shutil.rmtree(bundle)
        kept.rename(bundle)


def sleeper() -> subprocess.Popen[bytes]:
    """Start a program that has nothing to do with us."""
    return subprocess.Popen(["sleep", "600"])


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5).status_code == 200
    except httpx.HTTPError:
        return False
