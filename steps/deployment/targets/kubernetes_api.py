"""The deployer of flavor ``kubernetes``: the contract API as pods behind a Service."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, ClassVar, Final
from uuid import UUID

import urllib3
from kubernetes import client as kubernetes
from kubernetes.client.rest import ApiException
from kubernetes.config import ConfigException
from zenml.client import Client
from zenml.config import DeploymentSettings
from zenml.deployers.exceptions import DeployerError
from zenml.integrations.kubernetes.deployers import KubernetesDeployer
from zenml.integrations.kubernetes.flavors import KubernetesDeployerSettings
from zenml.models import DeploymentResponse

from evergreen.config import UseCase
from evergreen.deployment.cluster_manifest import DRAINING, GRACE, REVISION, STATE
from evergreen.deployment.servers import Health, api_health, last_lines, read_health, swap_failure
from evergreen.deployment.values import ServerState
from evergreen.errors import EvergreenError, NotServingError, UnreachableError
from stacks.cluster_answers import refusal
from steps.announcements import announce
from steps.deployment.cluster_deployer import CLUSTER, ClusterDeployer
from steps.deployment.targets.base import Place
from steps.deployment.targets.in_image import ImageApi

PORT: Final = 8000  # of pods and Service
HOPELESS: Final = frozenset(
    {"ImagePullBackOff", "InvalidImageName", "CreateContainerConfigError", "CreateContainerError"}
)
CRASHES: Final = 2  # ends of a container after which it is given up


class ClusterApi(ImageApi):
    """The contract API, by the stack's Kubernetes deployer."""

    flavor: ClassVar[str] = "kubernetes"

    def __init__(self, component: KubernetesDeployer, place: Place) -> None:
        super().__init__(component, place)
        self.deployer = ClusterDeployer.of(component)
        self.namespace = component.config.namespace
        self.resource = self.name.replace("_", "-").lower()

    # --- the target's interface ---------------------------------------------------------------

    def status(self) -> ServerState:
        """Return what the Service's pods serve, or what is wrong with them."""
        record = self._record()
        state = self._absent()
        if record is None or not record.deployment_metadata:
            return state
        with self._reaching():
            deployment = self._read("Deployment", "apps/v1")
            service = self._read("Service", "v1")
            url = self._url(record, service)
        state = state.model_copy(
            update={
                "url": url,
                "port": PORT,
                "reference": str(record.snapshot.id) if record.snapshot else None,
                "log": f"kubectl --namespace {self.namespace} logs deployment/{self.resource}",
            }
        )
        if deployment is None or service is None:
            gone = "Deployment" if deployment is None else "Service"
            wrong = f"its {gone} {self.namespace}/{self.resource} is gone"
            return state.model_copy(update={"condition": "stale", "detail": wrong})
        counts = _pods(deployment)
        state = state.model_copy(update=counts)
        health = self._health(url) if state.ready else None
        if health is None or health.version is None:
            wrong = self._trouble() or f"{state.ready} of {state.wanted} pods are ready"
            return state.model_copy(update={"condition": "stale", "detail": wrong})
        problems = list(health.problems)
        if (state.ready or 0) < (state.wanted or 0):
            problems.insert(0, f"{state.ready} of {state.wanted} pods are ready")
        return state.model_copy(
            update={
                "condition": "running",
                "version": health.version,
                "detail": "; ".join(problems) or None,
            }
        )

    def remove(self) -> bool:
        """Delete all that was applied, wait for the pods' end, and delete ZenML's deployment."""
        record = self._record()
        if record is None:
            return False
        with self._reaching():
            self.deployer.delete_deployment(self.name, timeout=60)
            deadline = time.monotonic() + GRACE + 30
            while self._own_pods() and time.monotonic() < deadline:
                time.sleep(0.5)
        return True

    # --- what differs with the deployer -------------------------------------------------------

    def _require_room(self, use_case: UseCase) -> None:
        """Every Service has an address of its own."""

    def _moved(self, before: ServerState, use_case: UseCase) -> str | None:
        return None

    def _arguments(self, use_case: UseCase) -> dict[str, Any]:
        return {
            **super()._arguments(use_case),
            "home": STATE,
            CLUSTER: use_case.deploy.cluster.model_dump(mode="json"),
        }

    def _all_serve(self, before: ServerState, version: str) -> bool:
        """Ask every pod; from where pods cannot be reached, the Service."""
        answers = [health for _, health in self._asked_pods() if health is not None]
        if not answers:
            return super()._all_serve(before, version)
        return all(health.version == version for health in answers)

    def _swap_failure(self, before: ServerState) -> str | None:
        headers = self._headers()
        for url, _ in self._asked_pods():
            if (why := swap_failure(url, headers)) is not None:
                return why
        return super()._swap_failure(before)

    def _places(self, use_case: UseCase) -> tuple[DeploymentSettings, KubernetesDeployerSettings]:
        hosting = self._hosting(
            use_case,
            "0.0.0.0",  # noqa: S104  (of a pod; callers need a key)
            http="evergreen.serving.protocol:ServerProtocol",  # which drains connections
            timeout_graceful_shutdown=DRAINING,
        )
        return hosting, KubernetesDeployerSettings(
            namespace=self.namespace,
            service_type=self.component.config.service_type,
            service_port=PORT,
            generate_auth_key=True,
            wait_for_load_balancer_timeout=0,
        )

    def _host(self, use_case: UseCase) -> None:
        super()._host(use_case)
        for note in self.deployer.notes:
            announce(note)

    def _await(self, patience: float) -> ServerState:
        """Wait until the pods of the last snapshot are all there are; each gets ``patience``."""
        deadline = time.monotonic() + patience
        most = 0
        while True:
            try:
                with self._reaching():
                    deployment = self._read("Deployment", "apps/v1")
                    trouble = self._trouble()
                done = deployment is not None and _rolled_out(deployment)
                state = self.status() if done else None
            except UnreachableError:  # pods go on without the cluster's API server
                if time.monotonic() > deadline:
                    raise
                time.sleep(1)
                continue
            if state is not None and state.serves:
                with suppress(DeployerError):
                    self.deployer.refresh_deployment(self.name)
                return state
            if trouble is not None:
                raise NotServingError(f"The API does not come up: {trouble}")
            if (ready := _updated(deployment)) > most:
                most, deadline = ready, time.monotonic() + patience
            if time.monotonic() > deadline:
                why = self._scheduling() or "its pods are not ready"
                raise UnreachableError(f"The API did not answer within {patience:.0f} s: {why}")
            time.sleep(1)

    def _go_back(self, before: ServerState) -> None:
        if before.serves and before.reference is not None:
            self._provision(Client().get_snapshot(UUID(before.reference)))
            self._await(180.0)
        elif self._record() is not None:
            self.remove()

    # --- inside -------------------------------------------------------------------------------

    def _read(self, kind: str, version: str) -> dict[str, Any] | None:
        found = self.deployer.k8s_applier.get_resource(
            name=self.resource, namespace=self.namespace, kind=kind, api_version=version
        )
        return None if found is None else dict(found.to_dict())

    def _own_pods(self, revision: str | None = None) -> list[kubernetes.V1Pod]:
        record = self._record()
        if record is None:
            selector = f"zenml-deployment-name={self.name},managed-by=zenml"
        else:
            selector = f"zenml-deployment-id={record.id},managed-by=zenml"
        if revision is not None:
            selector += f",{REVISION}={revision}"
        core = self.deployer.k8s_core_api
        return list(core.list_namespaced_pod(self.namespace, label_selector=selector).items)

    def _latest_pods(self) -> list[kubernetes.V1Pod]:
        record = self._record()
        snapshot = record.snapshot if record is not None else None
        return self._own_pods(str(snapshot.id)) if snapshot is not None else []

    def _asked_pods(self) -> list[tuple[str, Health | None]]:
        """Return the address of every pod that is ready, and how it says that it is."""
        with self._reaching():
            pods = [pod for pod in self._own_pods() if _is_ready(pod)]
        urls = [f"http://{pod.status.pod_ip}:{PORT}" for pod in pods]
        return [(url, api_health(url)) for url in urls]

    def _health(self, url: str | None) -> Health | None:
        """Ask the Service; from outside the cluster by way of its API server."""
        if url is not None and (health := api_health(url)) is not None:
            return health
        path = f"/api/v1/namespaces/{self.namespace}/services/http:{self.resource}:{PORT}/proxy"
        try:
            answer = self.deployer.get_kube_client().call_api(
                f"{path}/health",
                "GET",
                auth_settings=["BearerToken"],
                _preload_content=False,
                _request_timeout=5,
            )
            return read_health(json.loads(answer[0].data))
        except (ApiException, urllib3.exceptions.HTTPError, ValueError):
            return None

    def _url(self, record: DeploymentResponse, service: dict[str, Any] | None) -> str | None:
        """Return the Service's address: in the cluster, where it has none outside."""
        spec = service["spec"] if service is not None else {}
        address = spec.get("clusterIP")
        if spec.get("type") == "ClusterIP" and address not in (None, "None"):
            return f"http://[{address}]:{PORT}" if ":" in address else f"http://{address}:{PORT}"
        return record.url or None

    def _trouble(self) -> str | None:
        """Return why a pod of the last snapshot will not come up, if that is known."""
        for pod in self._latest_pods():
            for status in pod.status.container_statuses or []:
                waiting = status.state.waiting if status.state is not None else None
                if waiting is not None and waiting.reason in HOPELESS:
                    return f"{waiting.reason}: {waiting.message}"
                if status.restart_count >= CRASHES and not status.ready:
                    return f"its container ended {status.restart_count} times. {self._words(pod)}"
        return None

    def _words(self, pod: kubernetes.V1Pod) -> str:
        name = pod.metadata.name
        try:
            text = self.deployer.k8s_core_api.read_namespaced_pod_log(
                name, self.namespace, container="main", previous=True, tail_lines=40
            )
        except ApiException:
            text = ""
        where = f"kubectl --namespace {self.namespace} logs {name} -p"
        return f"Its last words: {last_lines(text)} ({where})"

    def _scheduling(self) -> str | None:
        for pod in self._latest_pods():
            for condition in pod.status.conditions or []:
                if condition.type == "PodScheduled" and condition.status == "False":
                    return f"a pod finds no node: {condition.message}"
        return None

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        """Say what is wrong where the cluster does not answer, or refuses."""
        try:
            with super()._reaching():
                yield
        except EvergreenError:
            raise
        except ApiException as error:
            raise UnreachableError(f"The cluster refuses: {refusal(error)}") from error
        except (urllib3.exceptions.HTTPError, ConfigException) as error:
            raise UnreachableError(f"The cluster does not answer: {error}") from error


def _pods(deployment: dict[str, Any]) -> dict[str, int]:
    """Return how many pods are ready, and how many there should be."""
    return {
        "ready": deployment.get("status", {}).get("readyReplicas") or 0,
        "wanted": deployment["spec"].get("replicas", 1),
    }


def _updated(deployment: dict[str, Any] | None) -> int:
    """Return how many pods of the last revision have been ready for a while."""
    status = deployment.get("status", {}) if deployment is not None else {}
    return min(status.get("updatedReplicas") or 0, status.get("availableReplicas") or 0)


def _rolled_out(deployment: dict[str, Any]) -> bool:
    """Tell whether all pods are of the last revision, and available; as `kubectl rollout` does."""
    status, wanted = deployment.get("status", {}), deployment["spec"].get("replicas", 1)
    seen = (status.get("observedGeneration") or 0) >= deployment["metadata"]["generation"]
    updated, every = status.get("updatedReplicas") or 0, status.get("replicas") or 0
    available = status.get("availableReplicas") or 0
    return seen and updated >= wanted and every == updated and available >= updated


def _is_ready(pod: kubernetes.V1Pod) -> bool:
    conditions = {each.type: each.status for each in pod.status.conditions or []}
    return (
        pod.metadata.deletion_timestamp is None
        and conditions.get("Ready") == "True"
        and bool(pod.status.pod_ip)
    )
