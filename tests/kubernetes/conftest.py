"""A user's machine beside the test cluster: every server that the stack speaks of is on the host.

The cluster is the one that ``KUBECONFIG``, ``TEST_CLUSTER_CONTEXT``, ``TEST_CLUSTER_REGISTRY`` and
``TEST_CLUSTER_HOST_IP`` (at which pods reach this machine) name.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import yaml

from evergreen.paths import DATABASE_VARIABLE
from tests.support.command_line import ROOT, Home
from tests.support.lacking import lacking
from tests.support.mlflow_servers import tracking_server
from tests.support.postgres import running_postgres
from tests.support.s3 import running_s3
from tests.support.zenml_server import running_zenml

NEEDED = ("KUBECONFIG", "TEST_CLUSTER_CONTEXT", "TEST_CLUSTER_REGISTRY", "TEST_CLUSTER_HOST_IP")
NAMESPACE = os.environ.get("TEST_CLUSTER_NAMESPACE", "evergreen-pipelines")
ZENML = str(Path(sys.executable).with_name("zenml"))
IRIS = ("--config", "configs/iris.yaml")
QUICK = ("--set", "training.candidates=[logistic_regression]", "--set", "training.trials=1")


@pytest.fixture(scope="session")
def host_ip() -> str:
    """Return where pods reach this machine; skip where no cluster is named, but in CI fail."""
    if missing := [name for name in NEEDED if not os.environ.get(name)]:
        lacking(f"no cluster: {', '.join(missing)} not set (tests/cluster/cluster.sh env)")
    return os.environ["TEST_CLUSTER_HOST_IP"]


@pytest.fixture(scope="session")
def pipelines_namespace(host_ip) -> Iterator[str]:
    """Make a namespace of our own with the accounts that the stack names, and no wider rights."""
    kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found")  # an earlier run's
    kubectl("create", "namespace", NAMESPACE)
    accounts = ROOT / "deploy" / "kubernetes" / "base" / "runs.yaml"
    ours = accounts.read_text(encoding="utf-8").replace("evergreen-runs", NAMESPACE)
    kubectl("apply", "--filename", "-", stdin=ours)
    yield NAMESPACE
    kubectl("delete", "namespace", NAMESPACE, "--wait=false")


@pytest.fixture(scope="session")
def servers(host_ip, pipelines_namespace, tmp_path_factory) -> Iterator[dict[str, str]]:
    """Start ZenML, S3, MLflow and PostgreSQL; yield the environment that names them all."""
    folder = tmp_path_factory.mktemp("servers")
    with (
        # Not below pytest's folder, which the server's user, never root, may not enter.
        tempfile.TemporaryDirectory(prefix="evergreen-postgres-") as database,
        running_zenml(folder, host_ip) as zenml,
        running_s3(folder, host_ip) as s3,
        tracking_server(folder, host=host_ip) as (mlflow, _),
        running_postgres(Path(database), host_ip) as postgres,
    ):
        yield {
            **zenml.environment(),
            **s3.environment(),
            "EVERGREEN_S3_PATH": f"{s3.make_bucket('evergreen')}/zenml",
            "MLFLOW_TRACKING_URI": mlflow,
            DATABASE_VARIABLE: postgres.url,
            "EVERGREEN_REGISTRY": os.environ["TEST_CLUSTER_REGISTRY"],
            "KUBERNETES_CONTEXT": os.environ["TEST_CLUSTER_CONTEXT"],
            "KUBERNETES_NAMESPACE": pipelines_namespace,
        }


@pytest.fixture(scope="session")
def other_home(cluster_home, servers, tmp_path_factory) -> ClusterHome:
    """Return another machine, which uses the stack that the first one set up."""
    home = ClusterHome(tmp_path_factory.mktemp("other") / "home", servers)
    home.command(ZENML, "stack", "set", "kubernetes").check()
    return home


@pytest.fixture(scope="session")
def cluster_home(servers, tmp_path_factory) -> ClusterHome:
    """Return a user's machine on which the stack was applied and set."""
    home = ClusterHome(tmp_path_factory.mktemp("client") / "home", servers)
    file = str(ROOT / "stacks" / "kubernetes.yaml")
    home.command(sys.executable, "-m", "stacks", "apply", file, "--set", **servers).check()
    return home


class ClusterHome(Home):
    """A home that knows ZenML's server; all else comes from the stack."""

    def __init__(self, folder: Path, servers: dict[str, str]) -> None:
        super().__init__(folder)
        object.__setattr__(self, "servers", servers)

    def environment(self, **extra: str) -> dict[str, str]:
        known = {
            name: value
            for name, value in self.servers.items()  # type: ignore[attr-defined]
            if name.startswith(("ZENML_", "AWS_DEFAULT"))
        }
        return super().environment(**{**known, **extra})


def stack_of_steps_here(
    home: ClusterHome, folder: Path, name: str, *, without: Sequence[str] = (), **known: str
) -> str:
    """Give a home a stack like the cluster's whose steps run in the client's process; return it.

    Trainings are quick there. ``known`` are more variables that the stack's file asks for.
    """
    stack = yaml.safe_load((ROOT / "stacks" / "kubernetes.yaml").read_text("utf-8"))
    stack["name"] = name
    stack["components"]["orchestrator"] = {"name": "here", "flavor": "local"}
    for kind in without:
        del stack["components"][kind]
    del stack["environment"]["EVERGREEN_HOME"]
    file = folder / f"{name}.yaml"
    file.write_text(yaml.safe_dump(stack), "utf-8")
    apply = (sys.executable, "-m", "stacks", "apply", str(file), "--unchecked")
    home.command(*apply, **{**home.servers, **known}).check()  # type: ignore[attr-defined]
    return name


def kubectl(*words: str, check: bool = True, stdin: str | None = None) -> str:
    """Run kubectl on the test cluster and return what it prints."""
    context = ("--context", os.environ["TEST_CLUSTER_CONTEXT"])
    done = subprocess.run(
        ["kubectl", *context, *words], capture_output=True, text=True, check=False, input=stdin
    )
    assert not check or done.returncode == 0, done.stderr
    return done.stdout
