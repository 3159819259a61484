"""The deployer of flavor ``docker``: the contract API in a container of this machine."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import ClassVar
from uuid import UUID

from docker.errors import DockerException
from docker.models.containers import Container
from zenml.client import Client
from zenml.config import DeploymentSettings
from zenml.deployers.docker.docker_deployer import (
    DockerDeployer,
    DockerDeployerSettings,
    DockerDeploymentMetadata,
)
from zenml.models import DeploymentResponse

from evergreen.config import UseCase
from evergreen.deployment import processes
from evergreen.deployment.servers import api_health, last_lines
from evergreen.deployment.values import ServerState
from evergreen.errors import NotServingError, UnreachableError
from steps.deployment.docker_deployer import ContainerDeployer
from steps.deployment.targets.base import Place
from steps.deployment.targets.contract_api import PORT
from steps.deployment.targets.in_image import ImageApi


class ContainerApi(ImageApi):
    """The contract API, by the stack's Docker deployer.

    ZenML opens the port to other machines too, so callers need the deployment's key.
    """

    flavor: ClassVar[str] = "docker"
    component: DockerDeployer
    deployer: ContainerDeployer

    def __init__(self, component: DockerDeployer, place: Place) -> None:
        super().__init__(component, place)
        self.deployer = ContainerDeployer.of(component)

    # --- the target's interface ---------------------------------------------------------------

    def status(self) -> ServerState:
        """Return what the container serves, or what is wrong with it."""
        record = self._record()
        state = self._absent()
        if record is None or not record.deployment_metadata:
            return state
        port = _port(record)
        url = f"http://127.0.0.1:{port}"
        container = self._container()
        state = state.model_copy(
            update={
                "url": url,
                "port": port,
                "reference": str(record.snapshot.id) if record.snapshot else None,
                "log": f"docker logs {container.name}" if container is not None else None,
            }
        )
        wrong, health = None, None
        if container is None:
            wrong = "its container is gone"
        elif container.status != "running":
            wrong = f"its container {container.name} is {container.status}"
        elif (health := api_health(url)) is None or health.version is None:
            wrong = f"its container {container.name} runs, but does not answer"
        if wrong or health is None:
            return state.model_copy(update={"condition": "stale", "detail": wrong})
        detail = "; ".join(health.problems) or None
        return state.model_copy(
            update={"condition": "running", "version": health.version, "detail": detail}
        )

    def remove(self) -> bool:
        """Stop the container and delete ZenML's deployment."""
        if self._record() is None:
            return False
        with self._reaching():
            self.deployer.delete_deployment(self.name, timeout=60)
        return True

    # --- inside -------------------------------------------------------------------------------

    def _require_room(self, use_case: UseCase) -> None:
        container, record = self._container(), self._record()
        running = container is not None and container.status == "running"
        if running and record is not None and _port(record) == use_case.deploy.port:
            return  # ZenML stops the one before it starts the other
        processes.require_free(use_case.deploy.port, PORT)

    def _moved(self, before: ServerState, use_case: UseCase) -> str | None:
        return None if before.port == use_case.deploy.port else f"it was on port {before.port}"

    def _places(self, use_case: UseCase) -> tuple[DeploymentSettings, DockerDeployerSettings]:
        hosting = self._hosting(use_case, "0.0.0.0")  # noqa: S104  (of a container)
        return hosting, DockerDeployerSettings(
            port=use_case.deploy.port,
            allocate_port_if_busy=False,
            generate_auth_key=True,
            run_args=self.component.config.run_args,
        )

    def _await(self, patience: float) -> ServerState:
        deadline = time.monotonic() + patience
        while not (state := self.status()).serves:
            container = self._container()
            if container is None or container.status in ("exited", "dead"):
                raise NotServingError(f"The API's container ended. {_last_words(container)}")
            if time.monotonic() > deadline:
                raise UnreachableError(
                    f"The API at {state.url} did not answer within {patience:.0f} s. "
                    + _last_words(container)
                )
            time.sleep(0.25)
        self.deployer.refresh_deployment(self.name)
        return state

    def _go_back(self, before: ServerState) -> None:
        if before.serves and before.reference is not None:
            self._provision(Client().get_snapshot(UUID(before.reference)))
            self._await(90.0)
        else:
            self.remove()

    def _container(self) -> Container | None:
        record = self._record()
        if record is None:
            return None
        with self._reaching():
            return self.deployer.container(record)

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        try:
            with super()._reaching():
                yield
        except (DockerException, RuntimeError) as error:
            raise UnreachableError(
                f"The container engine does not answer: {error}. Start it, or set DOCKER_HOST"
            ) from error


def _port(record: DeploymentResponse) -> int | None:
    return DockerDeploymentMetadata.from_deployment(record).port


def _last_words(container: Container | None) -> str:
    """Return the last line that a container wrote."""
    text = ""
    if container is not None:
        with suppress(DockerException):
            text = container.logs(tail=40).decode("utf-8", errors="replace")
    where = f" (docker logs {container.name})" if container is not None else ""
    return f"Its last words: {last_lines(text)}{where}"
