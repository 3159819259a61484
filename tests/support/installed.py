"""Evergreen in the test cluster, installed as users do it."""

from __future__ import annotations

import base64
import json
import os
import re
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import httpx
import yaml

from deploy.kubernetes.kubectl import Kubectl
from deploy.kubernetes.waiting import troubles
from tests.support.containers import build, podman
from tests.support.manifests import require_kubectl

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

    def address(self, service: str) -> str:
        """Return where a service answers, which a node of the cluster reaches."""
        (found,) = (one for one in self.get("services") if one["metadata"]["name"] == service)
        return f"http://{found['spec']['clusterIP']}:{found['spec']['ports'][0]['port']}"

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
    """Return the cluster that tests/cluster/cluster.sh started; fail where it does not run.

    Skips where kubectl is too old for the overlays' components and for tokens of accounts.
    """
    said = subprocess.run([STARTER, "env"], capture_output=True, text=True, check=True).stdout
    cluster = TestCluster(dict(re.findall(r"(\w+)=(\S+)", said)))
    if cluster.kubectl("get", "--raw", "/readyz", check=False).returncode:
        raise RuntimeError("These tests need a cluster: tests/cluster/cluster.sh up")
    require_kubectl()
    return cluster


test_cluster.__test__ = False


def until(
    what: str,
    holds: Callable[[], object],
    patience: float = PATIENCE,
    otherwise: Callable[[], str] = str,
):
    """Wait until something holds and return it; ``otherwise`` tells what may be the reason."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        if found := holds():
            return found
        time.sleep(0.5)
    raise AssertionError(f"in {patience:g} s it did not come true that {what}\n{otherwise()}")


def api_troubles() -> str:
    """Return what the API's pods wait for."""
    return troubles(Kubectl(), "api")


def api_is_ready(cluster: TestCluster) -> bool:
    """Tell whether both pods of the API take requests."""
    (api,) = (one for one in cluster.get("deployments") if one["metadata"]["name"] == "api")
    return api["status"].get("readyReplicas", 0) >= 2


class Api:
    """The API, as its clients ask: at the Service's address, or a port that leads there."""

    def __init__(
        self, cluster: TestCluster, url: str, row: Mapping[str, object], key: str | None = None
    ) -> None:
        self.cluster = cluster
        self.url = url
        self.row = row
        self.key = key or cluster.secret("client-key", "api-key")  # the installation's for callers
        self.headers = {"authorization": f"Bearer {self.key}"}

    def client(self) -> httpx.Client:
        """Return a client that shows the key."""
        return httpx.Client(base_url=self.url, headers=self.headers, timeout=30)

    def version(self) -> str | None:
        """Ask anew, so that any of the pods may answer."""
        try:
            with self.client() as client:
                answer = client.post("/predict", json=self.row)
        except httpx.TransportError:
            return None
        return answer.json()["model_version"] if answer.status_code == 200 else None


class Load:
    """Clients that keep their connections, asking one request after the other until stopped."""

    def __init__(self, api: Api, clients: int = 3) -> None:
        self.versions: list[str] = []
        self.failures: list[str] = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(api,)) for _ in range(clients)]

    def _ask(self, api: Api) -> None:
        with api.client() as client:
            while not self._stop.wait(0.02):
                try:
                    answer = client.post("/predict", json=api.row)
                except httpx.HTTPError as error:
                    self.failures.append(repr(error))
                    continue
                if answer.status_code == 200:
                    self.versions.append(answer.json()["model_version"])
                else:
                    self.failures.append(answer.text)

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


def images_in_registry(cluster: TestCluster) -> tuple[str, ...]:
    """Push images of this checkout to the cluster's registry; return how to install them.

    ``TEST_CLUSTER_IMAGES`` names the tag of images that are there.
    """
    tag = os.environ.get("TEST_CLUSTER_IMAGES")
    if not tag:
        tag = f"test-{secrets.token_hex(4)}"
        build("evergreen-serve:test", "Dockerfile.serve")
        build("evergreen-train:test", "Dockerfile.train")
        for name in ("postgres", "s3"):
            build(f"evergreen-test-{name}:test", f"test/Dockerfile.{name}", context="deploy/test")
        for name in ("serve", "train", "test-postgres", "test-s3"):
            target = f"{cluster.registry}/evergreen-{name}:{tag}"
            podman("tag", f"localhost/evergreen-{name}:test", target)
            podman("push", "--quiet", "--compression-format", "zstd", target, timeout=900)
        os.environ["TEST_CLUSTER_IMAGES"] = tag  # for the test files that follow
    return ("--overlay", "test", "--registry", cluster.registry, "--tag", tag)


def purge(cluster: TestCluster) -> None:
    """Take out what another module installed, with its data."""
    names = {one["metadata"]["name"] for one in cluster.get("namespaces", "default")}
    if {NAMESPACE, RUNS} & names:
        done = cluster.install("--overlay", "test", "--purge", command="uninstall")
        assert done.returncode == 0, done.stdout + done.stderr


def ensure_installed(cluster: TestCluster, options: tuple[str, ...]) -> None:
    """Install, unless a test before this one did, and left it."""
    names = {one["metadata"]["name"] for one in cluster.get("namespaces", "default")}
    if NAMESPACE not in names or not cluster.get("deployments"):
        done = cluster.install(*options)
        assert done.returncode == 0, done.stdout + done.stderr
