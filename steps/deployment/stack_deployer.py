"""What the deployers have in common that host the contract API in an image.

Each is the deployer of a stack, made ours: it knows the variables and secrets that the stack gives
to steps, makes API keys of the form that the API takes, and waits for nothing, as ZenML would
forget what does not come up.
"""

from __future__ import annotations

import secrets as random
from typing import Self

from zenml.config.pipeline_configurations import PipelineConfiguration
from zenml.deployers import BaseDeployer
from zenml.deployers.exceptions import DeploymentProvisionError, DeploymentTimeoutError
from zenml.enums import DeploymentStatus
from zenml.models import DeploymentOperationalState, DeploymentResponse
from zenml.stack import Stack
from zenml.utils import env_utils


class StackDeployer(BaseDeployer):
    """To be mixed into a deployer of ZenML's."""

    @classmethod
    def of(cls, component: BaseDeployer) -> Self:
        """Return one for a component of a stack."""
        names = (
            "name",
            "id",
            "config",
            "flavor",
            "type",
            "user",
            "created",
            "updated",
            "labels",
            "environment",
            "secrets",
            "connector_requirements",
            "connector",
            "connector_resource_id",
        )
        return cls(**{name: getattr(component, name) for name in names})

    def surroundings(
        self, deployment: DeploymentResponse, stack: Stack
    ) -> tuple[dict[str, str], dict[str, str]]:
        """Return the variables and the secrets that the stack gives to steps."""
        configuration = configuration_of(deployment)
        variables = env_utils.get_runtime_environment(config=configuration, stack=stack)
        secrets = env_utils.get_runtime_secret_environment(config=configuration, stack=stack)
        return variables, secrets

    def _poll_deployment(
        self, deployment: DeploymentResponse, desired_status: DeploymentStatus, timeout: int
    ) -> tuple[DeploymentResponse, DeploymentOperationalState]:
        if desired_status == DeploymentStatus.RUNNING:
            raise DeploymentTimeoutError("Nobody waits here.")
        return super()._poll_deployment(deployment, desired_status, timeout)

    def _generate_auth_key(self, key_length: int = 32) -> str:
        return f"eg_{random.token_hex(4)}_{random.token_urlsafe(key_length)}"


def configuration_of(deployment: DeploymentResponse) -> PipelineConfiguration:
    """Return how the pipeline is set up that a deployment hosts."""
    if deployment.snapshot is None:
        raise DeploymentProvisionError(f"The deployment {deployment.name!r} has no snapshot.")
    return deployment.snapshot.pipeline_configuration
