"""ZenML's Docker deployer, as the contract API needs it.

It stays what it is (names, inventory, ports, `zenml deployment delete`), but

- needs no ``docker`` on the search path, only an engine that answers at ``DOCKER_HOST``: podman's
  does, and a step that deploys has no more than that in its container;
- gives containers the variables and secrets that the stack gives to steps.
"""

from __future__ import annotations

from docker.models.containers import Container
from zenml.container_engines import DockerContainerEngine
from zenml.deployers.docker.docker_deployer import DockerDeployer
from zenml.models import DeploymentOperationalState, DeploymentResponse
from zenml.stack import Stack

from steps.deployment.stack_deployer import StackDeployer


class ContainerDeployer(StackDeployer, DockerDeployer):
    """A stack's Docker deployer that hosts the contract API."""

    @property
    def docker_engine(self) -> DockerContainerEngine:
        """Return what speaks to the engine."""
        if self._docker_engine is None:
            self._docker_engine = DockerContainerEngine()
        return self._docker_engine

    def container(self, deployment: DeploymentResponse) -> Container | None:
        """Return a deployment's container; None where it is gone."""
        return self._get_container(deployment)

    def do_provision_deployment(
        self,
        deployment: DeploymentResponse,
        stack: Stack,
        environment: dict[str, str],
        secrets: dict[str, str],
        timeout: int,
    ) -> DeploymentOperationalState:
        """Start the container, with the stack's variables and secrets."""
        variables, hidden = self.surroundings(deployment, stack)
        return super().do_provision_deployment(
            deployment,
            stack=stack,
            environment={**variables, **environment},
            secrets={**hidden, **secrets},
            timeout=timeout,
        )
