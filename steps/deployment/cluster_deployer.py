"""ZenML's Kubernetes deployer, as the contract API needs it.

It stays what it is (names, inventory, the token, `zenml deployment delete`), but

- leaves the namespace alone, which it would apply, and for which it would need more rights;
- applies what `evergreen.deployment.cluster_manifest` makes of its Deployment;
- gives pods the variables and secrets that the stack gives to steps.
"""

from __future__ import annotations

from typing import Any

from kubernetes.dynamic.exceptions import ResourceNotFoundError
from zenml.deployers.exceptions import DeploymentProvisionError
from zenml.integrations.kubernetes.deployers import KubernetesDeployer
from zenml.models import DeploymentOperationalState, DeploymentResponse
from zenml.stack import Stack

from evergreen.deployment.cluster_manifest import in_cluster
from evergreen.deployment.settings import ClusterConfig
from evergreen.paths import HOME_VARIABLE
from steps.deployment.stack_deployer import StackDeployer, configuration_of

CLUSTER: str = "cluster"  # argument of the API's extension: the section deploy.cluster


class ClusterDeployer(StackDeployer, KubernetesDeployer):
    """A stack's Kubernetes deployer that hosts the contract API."""

    notes: tuple[str, ...] = ()  # what the cluster could not do, the last time

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
        variables, hidden = self.surroundings(deployment, stack)
        variables.pop(HOME_VARIABLE, None)  # the image knows its own
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


def _arguments(deployment: DeploymentResponse) -> dict[str, Any]:
    extensions = configuration_of(deployment).deployment_settings.app_extensions
    return dict(extensions[0].extension_kwargs) if extensions else {}
