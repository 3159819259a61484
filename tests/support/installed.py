"""Evergreen in the test cluster, installed as users do it."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import yaml

from tests.support.postgres import free_port

ROOT = Path(__file__).resolve().parents[2]
STARTER = ROOT / "tests" / "cluster" / "cluster.sh"
NAMESPACE, RUNS = "evergreen", "evergreen-runs"
PATIENCE = 300.0  # seconds, on a busy machine


@dataclass(frozen=True)
class TestCluster:
    """A cluster that runs, and the registry that it pulls images from."""

    __test__ = False
    environment: dict[str, str]

    @property
    def registry(self) -> str:
        return self.environment["TEST_CLUSTER_REGISTRY"]

    def kubectl(self, *arguments: str, check: bool = True, stdin: str | None = None):
        """Run kubectl to its end."""
        done = subprocess.run(
            ["kubectl", *arguments],
            env={**os.environ, **self.environment},
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
        )
        if check:
            assert done.returncode == 0, f"{arguments}:\n{done.stdout}{done.stderr}"
        return done

    def get(self, kind: str, namespace: str = NAMESPACE, *more: str) -> list[dict]:
        """Return resources."""
        answer = self.kubectl("get", kind, "-n", namespace, "-o", "json", *more)
        return json.loads(answer.stdout)["items"]

    def secret(self, name: str, key: str) -> str:
        """Return a value of a secret."""
        path = f"jsonpath={{.data.{key}}}"
        text = self.kubectl("get", "secret", name, "-n", NAMESPACE, "-o", path).stdout
        return base64.b64decode(text).decode()

    def install(self, *arguments: str, command: str = "install"):
        """Run the program behind `make cluster-install` and `make cluster-uninstall`."""
        return subprocess.run(
            [sys.executable, "-m", "deploy.kubernetes.install", command, *arguments],
            cwd=ROOT,
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=1500,
        )

    @contextmanager
    def forwarded(self, service: str, port: int) -> Iterator[str]:
        """Forward a free port of this machine to a service."""
        local = free_port()
        process = subprocess.Popen(
            ["kubectl", "port-forward", "-n", NAMESPACE, f"service/{service}", f"{local}:{port}"],
            env={**os.environ, **self.environment},
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert "Forwarding" in process.stdout.readline()
            yield f"http://127.0.0.1:{local}"
        finally:
            process.kill()
            process.wait()
            process.stdout.close()

    @cached_property
    def server(self) -> tuple[str, str]:
        """The API server's address, and its authority."""
        configuration = yaml.safe_load(Path(self.environment["KUBECONFIG"]).read_text())
        cluster = configuration["clusters"][0]["cluster"]
        authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
        return cluster["server"], authority

    def as_account(self, account: str, folder: Path, *arguments: str, stdin: str | None = None):
        """Run kubectl with the token of a service account of the runs, and nothing else."""
        token = self.kubectl("create", "token", account, "-n", RUNS).stdout.strip()
        address, authority = self.server
        (folder / "ca.crt").write_text(authority)
        (folder / "none").write_text("")
        known = ("--kubeconfig", str(folder / "none"), "--server", address)
        trusted = ("--certificate-authority", str(folder / "ca.crt"), "--token", token)
        return self.kubectl(*known, *trusted, *arguments, check=False, stdin=stdin)


def test_cluster() -> TestCluster:
    """Return the cluster that tests/cluster/cluster.sh started; fail where it does not run."""
    said = subprocess.run([STARTER, "env"], capture_output=True, text=True, check=True).stdout
    cluster = TestCluster(dict(re.findall(r"(\w+)=(\S+)", said)))
    if cluster.kubectl("get", "--raw", "/readyz", check=False).returncode:
        raise RuntimeError("These tests need a cluster: tests/cluster/cluster.sh up")
    return cluster


test_cluster.__test__ = False


def until(what: str, holds: Callable[[], object], patience: float = PATIENCE):
    """Wait until something holds and return it."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        if found := holds():
            return found
        time.sleep(0.5)
    raise AssertionError(f"in {patience:g} s it did not come true that {what}")
