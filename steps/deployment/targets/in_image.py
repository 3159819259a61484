"""The contract API, hosted by a ZenML deployment in the image that steps run in."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Final

from zenml import get_step_context
from zenml.client import Client
from zenml.config import DeploymentSettings
from zenml.deployers.base_deployer import BaseDeployerSettings
from zenml.deployers.exceptions import DeployerError, DeploymentTimeoutError
from zenml.models import PipelineSnapshotResponse

from evergreen.config import UseCase
from evergreen.errors import UnreachableError
from stacks.train_image import settings_of, train_image
from steps.announcements import announce
from steps.deployment.invocation import contract_api
from steps.deployment.stack_deployer import StackDeployer
from steps.deployment.targets.hosted_api import DeployedApi

APPLYING: Final = 30  # seconds until the engine or the cluster has taken what it is to run


class ImageApi(DeployedApi):
    """The contract API, by a deployer whose containers hold the code."""

    deployer: StackDeployer

    @abstractmethod
    def _places(self, use_case: UseCase) -> tuple[DeploymentSettings, BaseDeployerSettings]:
        """Return how ZenML's server is set up, and where the deployer is to put it."""

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        """Say what is wrong where the API cannot be started."""
        try:
            yield
        except DeployerError as error:
            raise UnreachableError(f"The API cannot be started: {error}") from error

    def _headers(self) -> Mapping[str, str]:
        record = self._record()
        return {"Authorization": f"Bearer {record.auth_key}"} if record and record.auth_key else {}

    def _host(self, use_case: UseCase) -> None:
        hosting, place = self._places(use_case)
        hosted = contract_api.with_options(
            settings={
                "deployment": hosting,
                "deployer": place,
                "docker": settings_of(self._image(), reuse=False),
            },
            tags=[self.place.name],
        )
        hosted.prepare(model=self.place.name, row={})
        now = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
        snapshot = hosted.create_snapshot(name=f"{self.name}-{now}")
        Client().active_stack.prepare_pipeline_submission(snapshot=snapshot)
        self._provision(snapshot)

    def _provision(self, snapshot: PipelineSnapshotResponse) -> None:
        # Waiting is done elsewhere, where it is noticed that a container ended.
        with self._reaching(), suppress(DeploymentTimeoutError):
            self.deployer.provision_deployment(
                snapshot=snapshot,
                stack=Client().active_stack,
                deployment_name_or_id=self.name,
                timeout=APPLYING,
            )

    def _image(self) -> str:
        """Return the image of the step that this is, or that of this code."""
        try:
            docker = get_step_context().pipeline_run.config.docker_settings
        except RuntimeError:  # in no step
            docker = None
        if docker is not None and docker.skip_build and docker.parent_image:
            return str(docker.parent_image)
        return train_image(Client().active_stack, announce)
