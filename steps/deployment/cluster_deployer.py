"""ZenML's Kubernetes deployer, as the contract API needs it.

It stays what it is (names, inventory, the token, `zenml deployment delete`), but

- leaves the namespace alone, which it would apply, and for which it would need more rights;
- applies what `evergreen.deployment.cluster_manifest` makes of its Deployment;
- gives pods the variables and secrets that the stack gives to steps;
- makes API keys of the form that the API takes;
- does not wait: it would forget what it applied where that does not come up.
"""

from __future__ import annotations

import secrets as random
from typing import Any, Self

from kubernetes.dynamic.exceptions import ResourceNotFoundError
from zenml.config.pipeline_configurations import PipelineConfiguration
from zenml.deployers.exceptions import DeploymentProvisionError, DeploymentTimeoutError
from zenml.enums import DeploymentStatus
from zenml.integrations.kubernetes.deployers import KubernetesDeployer
from zenml.models import DeploymentOperationalState, DeploymentResponse
from zenml.stack import Stack
from zenml.utils import env_utils

from evergreen.deployment.cluster_manifest import in_cluster
from evergreen.deployment.settings import ClusterConfig
from evergreen.paths import HOME_VARIABLE

CLUSTER: str = "cluster"  # argument of the API's extension: the section deploy.cluster


class ClusterDeployer(KubernetesDeployer):
    """A stack's Kubernetes deployer that hosts the contract API."""

    notes: tuple[str, ...] = ()  # what the cluster could not do, the last time

    @classmethod
    def of(cls, component: KubernetesDeployer) -> Self:
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

    def offers(self, version: str, kind: str) -> bool:
        """Tell whether the cluster's API server has a kind in a version."""
        try:
            self.k8s_applier.dynamic.resources.get(api_version=version, kind=kind)
        except ResourceNotFoundError:
            return False
        return True

    def resource_name(self, deployment: DeploymentResponse) -> str:
        """Return what the Deployment, the Service and all else is called in the cluster."""
        return deployment.name.replace("_", "-").lower()

    def do_provision_deployment(
        self,
        deployment: DeploymentResponse,
        stack: Stack,
        environment: dict[str, str],
        secrets: dict[str, str],
        timeout: int,
    ) -> DeploymentOperationalState:
        """Apply everything, with the stack's variables and secrets."""
        configuration = _configuration(deployment)
        variables = env_utils.get_runtime_environment(config=configuration, stack=stack)
        variables.pop(HOME_VARIABLE, None)  # the image knows its own
        hidden = env_utils.get_runtime_secret_environment(config=configuration, stack=stack)
        return super().do_provision_deployment(
            deployment,
            stack=stack,
            environment={**variables, **environment},
            secrets={**hidden, **secrets},
            timeout=timeout,
        )

    def _initialize_deployment_context(self, deployment: DeploymentResponse) -> Any:
        context = super()._initialize_deployment_context(deployment)
        name = self.resource_name(deployment)
        return context.model_copy(update={"resource_name": name, "secret_name": name})

    def _prepare_deployment_resources(
        self, deployment: DeploymentResponse, environment: dict[str, str], secrets: dict[str, str]
    ) -> tuple[Any, list[dict[str, Any]]]:
        context, rendered = super()._prepare_deployment_resources(deployment, environment, secrets)
        self._require_ours(context)
        config = ClusterConfig.model_validate(_arguments(deployment)[CLUSTER])
        applied, self.notes = in_cluster(rendered, config, str(context.snapshot.id), self.offers)
        return context, applied

    def _require_ours(self, context: Any) -> None:
        """Refuse to take over what another deployment, or somebody else, has under our name."""
        found = self.k8s_applier.get_resource(
            name=context.resource_name,
            namespace=context.namespace,
            kind="Deployment",
            api_version="apps/v1",
        )
        labels = dict(found.metadata.labels or {}) if found is not None else None
        if labels is not None and labels.get("zenml-deployment-id") != context.deployment_id:
            raise DeploymentProvisionError(
                f"The namespace {context.namespace!r} has a Deployment {context.resource_name!r} "
                "already, which is not ours. Delete it first: kubectl --namespace "
                f"{context.namespace} delete deployment {context.resource_name}"
            )

    def _wait_for_deployment_readiness(self, *arguments: Any, **named: Any) -> None:
        """Wait for nothing."""

    def _poll_deployment(
        self, deployment: DeploymentResponse, desired_status: DeploymentStatus, timeout: int
    ) -> tuple[DeploymentResponse, DeploymentOperationalState]:
        if desired_status == DeploymentStatus.RUNNING:
            raise DeploymentTimeoutError("Nobody waits here.")
        return super()._poll_deployment(deployment, desired_status, timeout)

    def _generate_auth_key(self, key_length: int = 32) -> str:
        return f"eg_{random.token_hex(4)}_{random.token_urlsafe(key_length)}"


def _configuration(deployment: DeploymentResponse) -> PipelineConfiguration:
    if deployment.snapshot is None:
        raise DeploymentProvisionError(f"The deployment {deployment.name!r} has no snapshot.")
    return deployment.snapshot.pipeline_configuration


def _arguments(deployment: DeploymentResponse) -> dict[str, Any]:
    extensions = _configuration(deployment).deployment_settings.app_extensions
    return dict(extensions[0].extension_kwargs) if extensions else {}
