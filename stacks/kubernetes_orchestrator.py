"""ZenML's Kubernetes orchestrator, with patience where the cluster's API server is away.

It also lets pods start their steps by `steps.pod_entrypoint`, and keeps what they have published.

ZenML's own gives a step up at the first request that finds no API server, though its pod runs on:
while a control plane is restarted or upgraded, every run would fail and leave its pods behind.
"""

from __future__ import annotations

from typing import Any, Final

from kubernetes.client import ApiClient
from urllib3.util.retry import Retry
from zenml.entrypoints.step_entrypoint_configuration import StepEntrypointConfiguration
from zenml.integrations.kubernetes.flavors import KubernetesOrchestratorFlavor
from zenml.integrations.kubernetes.orchestrators import KubernetesOrchestrator

from steps.kept_artifacts import keep_published
from steps.pod_entrypoint import COMMAND

NAME: Final = "evergreen_kubernetes"
# Three minutes of refused connections. A request that the server may have taken is sent again only
# where that does no harm (GET, PUT, DELETE), which is urllib3's default.
PATIENCE: Final = Retry(
    total=40, connect=40, read=10, status=0, other=3, backoff_factor=0.5, backoff_max=5.0
)


class PatientKubernetesOrchestrator(KubernetesOrchestrator):
    """Waits for an API server that is away, in the run's own pod and at whoever started it."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        # ZenML asks the class for the command of every step's pod, and has no setting for it.
        StepEntrypointConfiguration.get_entrypoint_command = classmethod(lambda _: list(COMMAND))
        keep_published()

    def get_kube_client(self, incluster: bool | None = None) -> ApiClient:
        """Return ZenML's client of the cluster, which tries again where nobody answers."""
        client = super().get_kube_client(incluster)
        if client.configuration.retries is None:
            client.configuration.retries = PATIENCE
            client = self._k8s_client = ApiClient(client.configuration)
        return client


class PatientKubernetesFlavor(KubernetesOrchestratorFlavor):
    """Registers the orchestrator with ZenML; its settings are those of ZenML's own."""

    @property
    def name(self) -> str:
        """The flavor's name in stack files."""
        return NAME

    @property
    def implementation_class(self) -> type[PatientKubernetesOrchestrator]:
        """Class of the component."""
        return PatientKubernetesOrchestrator
