"""The stack of containers: steps and the API in the train image, by podman that speaks Docker."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.command_line import Home
from tests.support.containers import podman
from tests.support.postgres import free_port

pytestmark = pytest.mark.timeout(2400)  # the first test builds the image

IRIS = ("--config", "configs/iris.yaml", "--stack", "docker")
QUICK = ("--set", "training.candidates=[logistic_regression]", "--set", "training.trials=1")
ROW = {
    "sepal_length_cm": 5.1,
    "sepal_width_cm": 3.5,
    "petal_length_cm": 1.4,
    "petal_width_cm": 0.2,
}
KEY = "from zenml.client import Client; print(Client().get_deployment('iris_api').auth_key)"


class DockerHome(Home):
    """A home whose container engine listens at a socket in it."""

    @property
    def socket(self) -> Path:
        return self.folder / "engine.sock"

    def environment(self, **extra: str) -> dict[str, str]:
        engine = {"DOCKER_HOST": f"unix://{self.socket}", "ZENML_CONTAINER_ENGINE": "podman"}
        return super().environment(**{**engine, **extra})


@pytest.fixture(scope="module")
def home(train_image) -> Iterator[DockerHome]:
    # A socket's path may have some hundred letters, fewer than those of pytest's folders.
    with tempfile.TemporaryDirectory(prefix="evergreen-") as folder:
        home = DockerHome(Path(folder))
        words = ("podman", "system", "service", "--time=0", f"unix://{home.socket}")
        service = subprocess.Popen(words)
        try:
            while not home.socket.exists():
                assert service.poll() is None
                time.sleep(0.1)
            home.command(sys.executable, "-m", "stacks", "apply", "stacks/docker.yaml").check()
            yield home
            home.run("--undeploy", *IRIS)
        finally:
            service.terminate()
            service.wait(30)


@pytest.mark.long
def test_it_trains_and_deploys_and_leaves_no_container(home, train_image):
    image = {"EVERGREEN_TRAIN_IMAGE": train_image}
    before = containers()
    home.run("--pipeline", "train", *IRIS, *QUICK, timeout=1200, **image).check(0, "PROMOTED")
    assert containers() == before

    port = free_port()
    deploy = ("--pipeline", "deploy", *IRIS, "--set", f"deploy.port={port}")
    home.run(*deploy, timeout=600, **image).check(0, "DEPLOYED", f"http://127.0.0.1:{port}")
    (name,) = containers() - before
    assert name.startswith("zenml-deployment-")
    assert asked(port, home.command(sys.executable, "-c", KEY).check().out.strip()) == "setosa"
    assert httpx.post(f"http://127.0.0.1:{port}/predict", json=ROW).status_code == 401
    home.run("--status", "--stack", "docker").check(0, "running")
    home.run("--status", "--stack", "local").check(0, "not deployed")

    podman("stop", name)
    home.run("--status", "--stack", "docker").check(0, "down", f"its container {name} is exited")
    home.run(*deploy, timeout=600, **image).check(0, "it was down")
    home.run("--undeploy", *IRIS).check(0, "STOPPED")
    assert containers() == before


def test_without_an_engine_it_is_not_set_up(home):
    apply = (sys.executable, "-m", "stacks", "apply", "stacks/docker.yaml")
    away = home.command(*apply, DOCKER_HOST=f"unix://{home.folder}/nobody.sock")
    away.check(3, "Docker:", "podman system service")


def containers() -> set[str]:
    return set(podman("ps", "--all", "--format", "{{.Names}}").stdout.split())


def asked(port: int, key: str) -> str:
    answer = httpx.post(
        f"http://127.0.0.1:{port}/predict",
        json=ROW,
        headers={"Authorization": f"Bearer {key}"},
        timeout=30,
    )
    assert answer.status_code == 200, answer.text
    return answer.json()["prediction"]
