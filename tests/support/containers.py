"""Podman as users call it: images built from this checkout, containers that end with their test."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex

import httpx

from tests.support.postgres import free_port

ROOT = Path(__file__).resolve().parents[2]
BASE = "docker.io/library/python:3.11-slim"
NEEDED = (
    "tests/containers need podman and the image {base}: install podman where Docker Hub can be "
    "reached; on a throw-away Debian machine, deploy/test/prepare.sh brings both."
)


def require_podman() -> None:
    """Fail, with one clear message, where these tests cannot run."""
    found = shutil.which("podman") and (
        podman("image", "exists", BASE, check=False).returncode == 0
        or podman("pull", "--quiet", BASE, check=False).returncode == 0
    )
    if not found:
        raise RuntimeError(NEEDED.format(base=BASE))


def podman(*arguments: str | Path, check: bool = True, **more) -> subprocess.CompletedProcess[str]:
    """Run podman to its end; in a test it must succeed unless ``check`` is False."""
    done = subprocess.run(
        ["podman", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        **{"timeout": 280, **more},
    )
    if check and done.returncode:
        raise AssertionError(f"podman {' '.join(map(str, arguments))}:\n{done.stdout}{done.stderr}")
    return done


def build(name: str, dockerfile: str, *arguments: str, context: str = ".") -> str:
    """Build an image as `make images` does and return its name. Layers come from the cache."""
    image = f"localhost/{name}"
    podman(
        *("build", "--format", "docker", "--file", f"deploy/{dockerfile}", "--tag", image),
        *arguments,
        context,
        timeout=1500,
    )
    return image


@dataclass
class Container:
    """A container under way; ``url`` is where its port 8000 is on this machine."""

    name: str
    url: str
    started: float

    def inspect(self) -> dict:
        """Return what podman knows of it."""
        return json.loads(podman("inspect", self.name).stdout)[0]

    def exec(self, *command: str, **more) -> subprocess.CompletedProcess[str]:
        """Run a command inside."""
        return podman("exec", self.name, *command, **more)

    def logs(self) -> str:
        """Return what it said on both streams."""
        done = podman("logs", self.name)
        return done.stdout + done.stderr

    def wait_ready(self, patience: float = 180.0) -> float:
        """Wait until it answers; return the seconds since its start."""
        while time.monotonic() - self.started < patience:
            try:
                if httpx.get(f"{self.url}/health/ready", timeout=2).status_code == 200:
                    return time.monotonic() - self.started
            except httpx.TransportError:
                pass  # not listening yet
            if self.inspect()["State"]["Status"] == "exited":
                break
            time.sleep(0.02)
        raise AssertionError(f"{self.name} did not become ready:\n{self.logs()}")


@contextmanager
def running(
    image: str, *command: str, options: tuple[str, ...] = (), env: Mapping[str, str] | None = None
) -> Iterator[Container]:
    """Run an image as operations would: read-only, no capabilities, a folder for /tmp."""
    port, name = free_port(), f"evergreen-test-{os.getpid()}-{time.monotonic_ns()}"
    variables = [part for key, value in (env or {}).items() for part in ("--env", f"{key}={value}")]
    started = time.monotonic()
    try:
        podman(
            *("run", "--detach", "--name", name, "--read-only", "--cap-drop", "all"),
            *("--security-opt", "no-new-privileges", "--tmpfs", "/tmp", "--read-only-tmpfs=false"),
            *("--publish", f"127.0.0.1:{port}:8000"),
            *variables,
            *options,
            image,
            *command,
        )
        yield Container(name, f"http://127.0.0.1:{port}", started)
    finally:
        podman("rm", "--force", "--time", "1", "--volumes", name, check=False)


@dataclass
class Composed:
    """The services of deploy/compose.yaml on images that can be had anywhere."""

    name: str
    env: Mapping[str, str]

    def __call__(self, *arguments: str, **more) -> subprocess.CompletedProcess[str]:
        """Run podman-compose; it must succeed."""
        done = subprocess.run(
            [
                *(sys.executable, "-m", "podman_compose", "--project-name", self.name),
                *("--profile", "train", "-f", "compose.yaml", "-f", "test/compose.test.yaml"),
                *arguments,
            ],
            cwd=ROOT / "deploy",
            env={**os.environ, **self.env},
            capture_output=True,
            text=True,
            check=False,
            **{"timeout": 900, **more},
        )
        assert done.returncode == 0, f"{arguments}:\n{done.stdout}{done.stderr}"
        return done

    def url(self, service: str) -> str:
        """Return where a service is on this machine."""
        return f"http://127.0.0.1:{self.env[f'{service.upper()}_PORT']}"

    def logs(self, service: str) -> str:
        """Return what a service said."""
        done = podman("logs", f"{self.name}_{service}_1", check=False)
        return done.stdout + done.stderr

    def wait_for(self, service: str, path: str, patience: float = 240.0) -> None:
        """Wait until a service answers."""
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            try:
                if httpx.get(f"{self.url(service)}{path}", timeout=5).is_success:
                    return
            except httpx.TransportError:
                pass  # not listening yet
            time.sleep(0.5)
        raise AssertionError(f"{service} did not answer:\n{self.logs(service)}")


@contextmanager
def composed(secrets: Path) -> Iterator[Composed]:
    """Give the stack a name, ports and passwords of its own; take it and its volumes down."""
    ports = {f"{one}_PORT": str(free_port()) for one in ("API", "MLFLOW", "ZENML", "PROMETHEUS")}
    passwords = {f"{one}_PASSWORD": token_hex(12) for one in ("POSTGRES", "S3", "ZENML", "GRAFANA")}
    env = {**ports, **passwords, "SECRETS": str(secrets)}
    stack = Composed(f"evergreen{token_hex(4)}", env)
    try:
        yield stack
    finally:
        stack("down", "--volumes", "--timeout", "5")


def run_to_end(image: str, *command: str, options: tuple[str, ...] = ()):
    """Run a container that ends by itself; return what it said and its exit code."""
    return podman(
        "run",
        "--rm",
        "--read-only",
        "--tmpfs",
        "/tmp",
        *options,
        image,
        *command,
        check=False,
        timeout=900,
    )
