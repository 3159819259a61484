"""From an empty cluster to a model that was swapped for a better one, by documented commands."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from evergreen.data.source_config import SklearnSource
from evergreen.data.sources.sklearn_source import read_sklearn
from tests.kubernetes.conftest import ZENML
from tests.support.command_line import Finished, Home
from tests.support.installed import (
    RUNS,
    Api,
    Load,
    TestCluster,
    api_is_ready,
    api_troubles,
    ensure_installed,
    images_in_registry,
    purge,
    test_cluster,
    until,
)

pytestmark = pytest.mark.timeout(3600)  # it builds, pushes and pulls images
SMALL = ("training.candidates=[logistic_regression]", "training.trials=1")
WINDOWS = ("monitoring.window.rows=400", "monitoring.retrain.min_rows=800")
SETTINGS = tuple(word for one in (*SMALL, *WINDOWS) for word in ("--set", one))
WINE = read_sklearn(SklearnSource(name="wine")).drop(columns="target")
ROW = {name: float(value) for name, value in WINE.iloc[0].items()}


@pytest.fixture(scope="module")
def cluster() -> Iterator[TestCluster]:
    found = test_cluster()
    purge(found)
    ensure_installed(found, images_in_registry(found))
    yield found
    purge(found)


@pytest.fixture(scope="module")
def user(cluster, tmp_path_factory) -> User:
    """A machine that was pointed at the installation: `make cluster-env`, apply, set."""
    said = cluster.install("--registry", cluster.registry, command="environment")
    assert said.returncode == 0, said.stderr
    again = cluster.install("--registry", cluster.registry, command="environment")
    assert again.stdout == said.stdout  # the key of the first time still opens ZenML
    variables = {
        name: shlex.split(value)[0]
        for name, value in re.findall(r"^export (\w+)=(.*)$", said.stdout, re.MULTILINE)
    }
    home = User(tmp_path_factory.mktemp("user") / "home", {**cluster.environment, **variables})
    home.command(sys.executable, "-m", "stacks", "apply", "stacks/kubernetes.yaml").check(0)
    home.command(ZENML, "stack", "set", "kubernetes").check(0)
    return home


class User(Home):
    """A home with the variables of `make cluster-env`."""

    def __init__(self, folder: Path, variables: dict[str, str]) -> None:
        super().__init__(folder)
        object.__setattr__(self, "variables", variables)

    def environment(self, **extra: str) -> dict[str, str]:
        return super().environment(**{**self.variables, **extra})  # type: ignore[attr-defined]

    def pipeline(self, name: str, *words: str) -> Finished:
        return self.run("--pipeline", name, *SETTINGS, *words, timeout=1800)


def test_train_deploy_predict_monitor_retrain_and_swap(cluster, user):
    user.pipeline("train").check(0)
    until("both pods have the first champion", lambda: api_is_ready(cluster), 900, api_troubles)
    installed = Api(cluster, cluster.address("api"), ROW)
    own = deployed(user, cluster)
    assert versions(installed, own) == {"1"}
    pods = restarts(cluster)
    simulate(user, own, "none", seed=1)
    user.pipeline("monitor").check(0)
    simulate(user, own, "concept_change", seed=2)
    user.pipeline("monitor", "--quiet")  # one alarm is not believed yet
    simulate(user, own, "concept_change", seed=3)
    decided = user.pipeline("monitor", "--json").check(1).json
    assert decided["window"]["decision"]["action"] == "retrain", decided["window"]["decision"]
    # Only now, as the same row a thousand times is what the monitor alarms about.
    with Load(installed, clients=2) as load, Load(own, clients=2) as other_load:
        retrained = user.pipeline("retrain", "--json").check(0).json
        assert retrained["status"] == "promoted"
        until("it was swapped in", lambda: versions(installed, own) == {"2"}, 300)
    assert retrained["version"] == "2"
    for asked in (load, other_load):
        assert asked.failures == []
        assert set(asked.versions) == {"1", "2"}
    assert restarts(cluster) == pods
    user.run("--undeploy", "--config", "configs/wine.yaml").check(0, "STOPPED")


def versions(*apis: Api) -> set[str | None]:
    """Ask each several times, so that all of its pods answer."""
    return {api.version() for api in apis for _ in range(8)}


def deployed(user: User, cluster: TestCluster) -> Api:
    """Deploy an API of the user's own beside the one that was installed."""
    small = "deploy.cluster.resources={cpu: 0.05, memory: 512Mi, memory_limit: 2Gi}"
    patient = ("--set", small, "--set", "deploy.timeout=10m")
    (server,) = user.pipeline("deploy", "--json", *patient).check(0).json["servers"]
    ask = "from zenml.client import Client; print(Client().get_deployment('wine_api').auth_key)"
    key = user.command(sys.executable, "-c", ask).check().out.split()[-1]
    return Api(cluster, server["url"], ROW, key)


def simulate(user: User, api: Api, scenario: str, *, seed: int) -> None:
    words = ("--rows", "400", "--seed", str(seed), "--url", api.url)
    user.run("--simulate", scenario, *words, EVERGREEN_API_KEY=api.key).check(0)


def restarts(cluster: TestCluster) -> dict[str, int]:
    """Return how often each container of the two APIs was started anew, by its pod."""
    pods = [
        *cluster.get("pods", "evergreen", "-l", "app.kubernetes.io/name=api"),
        *cluster.get("pods", RUNS, "-l", "zenml-deployment-name=wine_api"),
    ]
    return {
        pod["metadata"]["name"]: pod["status"]["containerStatuses"][0]["restartCount"]
        for pod in pods
    }
