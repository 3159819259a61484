"""The model deployer of flavor ``mlflow``: MLflow's scoring server on this machine.

ZenML's component replaces a server by stopping it and starting another, half a minute apart. Here
the new one starts on another port beside the old one, which goes when the new one has proved
itself; so whatever breaks, one of them answers.
"""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from zenml.client import Client
from zenml.integrations.mlflow.model_deployers import MLFlowModelDeployer
from zenml.integrations.mlflow.services.mlflow_deployment import (
    MLFlowDeploymentConfig,
    MLFlowDeploymentService,
)

from evergreen.config import UseCase
from evergreen.deployment import processes
from evergreen.deployment.agreement import compare_with
from evergreen.deployment.servers import (
    Answers,
    GoldenRows,
    ask_mlflow,
    last_words,
    mlflow_answers,
)
from evergreen.deployment.values import Deployment, Release, ServerState
from evergreen.errors import EvergreenError, UnreachableError
from evergreen.promotion.bundle import open_bundle
from steps.deployment.targets.base import Place

PORTS: Final = "deploy.mlflow_ports=[8011, 8012]"
STOPPING: Final = 30  # seconds
LIFELESS: Final = 30.0  # seconds without a process after which a server counts as ended


class MLflowServer:
    """MLflow's scoring server, by the stack's model deployer."""

    title = "MLflow's server"

    def __init__(self, component: MLFlowModelDeployer, place: Place) -> None:
        self.component = component
        self.place = place

    # --- the target's interface ---------------------------------------------------------------

    def status(self) -> ServerState:
        """Return the newest server that answers, else what is wrong with the newest record."""
        states = [self._state(service) for service in self._services()]
        serving = [state for state in states if state.serves]
        if serving or states:
            return (serving or states)[0]
        return self._absent()

    def prepare(self, release: Release, use_case: UseCase) -> str | None:
        """Check that a new server would find a port, where one is needed."""
        if self._right(release, use_case) is not None:
            return None
        self._free_port(use_case)
        before = self.status()
        if before.condition == "absent":
            return "it was not deployed"
        if before.condition == "stale":
            return f"it was down: {before.detail}"
        if before.version != release.version:
            return f"it served version {before.version}"
        return "it answered otherwise than at training, or served from another place"

    def deploy(self, release: Release, use_case: UseCase) -> Deployment:
        """Start a server of the release beside the present one."""
        before = self._keep_one(self.status())
        port = self._free_port(use_case)
        processes.end(self._mark(port))  # what a killed deployment started and nobody knows
        try:
            self._start(release, use_case, port)
            after = self._await(release, port, use_case.deploy.timeout.total_seconds())
        except BaseException:
            self._clear(port)
            raise
        return Deployment(before=before, after=after, changed=True)

    def ask(self, state: ServerState, golden: GoldenRows) -> Answers:
        """Ask over ``/invocations``, which gives predictions alone."""
        return ask_mlflow(_url(state), golden)

    def settle(self, deployment: Deployment) -> None:
        """Stop every server but the one that was deployed."""
        for service in self._services():
            if str(service.uuid) != deployment.after.reference:
                self._delete(service)

    def restore(self, deployment: Deployment) -> ServerState:
        """Stop the server that was started; the former one was never touched."""
        if deployment.changed:
            for service in self._services():
                if str(service.uuid) == deployment.after.reference:
                    self._delete(service)
        return self.status()

    def remove(self) -> bool:
        """Stop every server of the model, also those that ZenML has no record of."""
        services = self._services()
        for service in services:
            self._delete(service)
        unknown = processes.end(self.place.mark(self.title))
        return bool(services) or unknown > 0

    # --- inside -------------------------------------------------------------------------------

    def _services(self) -> list[MLFlowDeploymentService]:
        """Return this model's servers as ZenML has them on record, the newest first."""
        found = self.component.find_model_server(
            pipeline_name=f"deploy {self.place.name}",
            service_type=MLFlowDeploymentService.SERVICE_TYPE,
        )
        return [
            service
            for service in found
            if isinstance(service, MLFlowDeploymentService)
            and _lies_in(service.status.runtime_path, self.component.local_path)
        ]

    def _state(self, service: MLFlowDeploymentService) -> ServerState:
        port = self._port(service)
        process = _recorded_process(service)
        state = self._absent().model_copy(
            update={
                "url": f"http://127.0.0.1:{port}",
                "version": service.config.registry_model_version,
                "port": port,
                "process": process,
                "reference": str(service.uuid),
                "log": service.status.log_file,
            }
        )
        if process is None:
            wrong = "it was not started, or its process ended"
        elif not processes.carries(process, self._mark(port)):
            wrong = f"its process {process} is gone"
            if processes.exists(process):
                wrong += "; the number belongs to another program now"
        elif not mlflow_answers(_url(state)):
            wrong = "its process lives, but does not answer"
        else:
            return state.model_copy(update={"condition": "running"})
        return state.model_copy(update={"condition": "stale", "detail": wrong})

    def _absent(self) -> ServerState:
        return ServerState(
            kind="model_deployer",
            flavor="mlflow",
            component=self.component.name,
            title=self.title,
            condition="absent",
        )

    def _right(self, release: Release, use_case: UseCase) -> ServerState | None:
        """Return the server that serves the release, rightly and on one of the ports."""
        for service in self._services():
            state = self._state(service)
            same = (
                service.config.registry_model_version == release.version
                and service.config.model_uri == release.folder
                and state.port in use_case.deploy.mlflow_ports
            )
            if state.serves and same and self._answers_right(state, release):
                return state
        return None

    def _answers_right(self, state: ServerState, release: Release) -> bool:
        contract = open_bundle(release.folder).contract
        golden = GoldenRows.read(Path(release.folder), contract)
        try:
            found = self.ask(state, golden)
        except EvergreenError:
            return False
        return compare_with(golden.columns, found.columns, contract).passed

    def _keep_one(self, found: ServerState) -> ServerState:
        """Stop what stands in the way: stale records, and all servers but the deployed one.

        A deployment that was cut off may have left a second one. Where the log does not know which
        of them was deployed, it is the oldest.
        """
        states = [(self._state(service), service) for service in reversed(self._services())]
        serving = [state for state, _ in states if state.serves]
        deployed = [state for state in serving if state.version == self.place.deployed]
        kept = next(iter(deployed or serving), None)
        for state, service in states:
            if state != kept:
                self._delete(service)
        return found if kept is None else kept

    def _clear(self, port: int) -> None:
        """Take away whatever was begun on a port."""
        for service in self._services():
            if self._port(service) == port:
                self._delete(service)
        processes.end(self._mark(port))

    def _free_port(self, use_case: UseCase) -> int:
        """Return the port that a new server may take.

        Raises
        ------
        UnreachableError
            If strangers hold what the present server leaves free.
        """
        serving = [state for state in map(self._state, self._services()) if state.serves]
        deployed = [state for state in serving if state.version == self.place.deployed]
        kept = (deployed or serving)[-1].port if serving else None
        complaint: UnreachableError | None = None
        for port in use_case.deploy.mlflow_ports:
            if port == kept:
                continue
            try:
                processes.require_free(port, PORTS, self._mark(port))
            except UnreachableError as error:
                complaint = complaint or error
            else:
                return port
        assert complaint is not None  # noqa: S101  (there are two ports, and at most one is ours)
        raise complaint

    def _start(self, release: Release, use_case: UseCase, port: int) -> None:
        component = self.component
        # The component cannot be told a port; the service that it makes can.
        component._create_new_service = partial(_service_on, port, component)  # type: ignore[method-assign]
        config = MLFlowDeploymentConfig(
            name=f"{release.name}_{port}",
            model_uri=release.folder,
            model_name=f"{release.name}_{port}",
            registry_model_name=release.name,
            registry_model_version=release.version,
            pipeline_name=f"deploy {release.name}",
            pipeline_step_name=f"{release.name}_{port}",
            workers=1,
            timeout=int(use_case.deploy.timeout.total_seconds()),
        )
        with processes.surrounded_by(**{processes.MARK: self._mark(port)}):
            component.deploy_model(
                config=config,
                service_type=MLFlowDeploymentService.SERVICE_TYPE,
                continuous_deployment_mode=True,
                timeout=0,  # waiting is done below, where it is noticed that a server died
            )

    def _await(self, release: Release, port: int, patience: float) -> ServerState:
        """Wait until the server on a port answers; take it away where it does not."""
        [service] = [each for each in self._services() if self._port(each) == port]
        now = alive = time.monotonic()
        deadline = now + patience
        while now < min(deadline, alive + LIFELESS):
            state = self._state(service)
            if state.serves:
                Client().update_service(
                    id=service.uuid, prediction_url=service.endpoint.prediction_url
                )
                return state
            time.sleep(0.25)
            now = time.monotonic()
            if processes.carries(state.process, self._mark(port)):
                alive = now
        said = last_words(service.status.log_file)
        took = f"did not answer within {patience:.0f} s" if now >= deadline else "ended"
        raise UnreachableError(
            f"MLflow's server of version {release.version} on port {port} {took}. "
            f"Its last words: {said}"
        )

    def _delete(self, service: MLFlowDeploymentService) -> None:
        """Stop a server and forget it; a foreign process that has its number is left alone."""
        port = self._port(service)
        mark = self._mark(port)
        file = service.status.pid_file
        if file and not processes.carries(_recorded_process(service), mark):
            Path(file).unlink(missing_ok=True)
        if service.status.runtime_path:  # ZenML stumbles over a folder that is gone
            Path(service.status.runtime_path).mkdir(parents=True, exist_ok=True)
        self.component.delete_model_server(service.uuid, timeout=STOPPING)
        if port is not None:
            processes.end(mark)  # its children, where it was killed before

    def _port(self, service: MLFlowDeploymentService) -> int | None:
        return service.endpoint.status.port or service.endpoint.config.port

    def _mark(self, port: int | None) -> str:
        return self.place.mark(f"{self.title} on port {port}.")


def _service_on(
    port: int, component: MLFlowModelDeployer, id: UUID, timeout: int, config: Any
) -> MLFlowDeploymentService:
    """Do what the component does to make a service, with a port of our choice."""
    config.root_runtime_path = component.local_path
    service = MLFlowDeploymentService(uuid=id, config=config)
    service.endpoint.config.port = port
    service.endpoint.config.allocate_port = False
    service.start(timeout=timeout)
    return service


def _lies_in(folder: str | None, root: str) -> bool:
    """Tell a server of this state folder from one of another that shares ZenML's database."""
    return folder is not None and Path(folder).is_relative_to(root)


def _recorded_process(service: MLFlowDeploymentService) -> int | None:
    file = service.status.pid_file
    try:
        return int(Path(file).read_text(encoding="utf-8")) if file else None
    except (OSError, ValueError):
        return None


def _url(state: ServerState) -> str:
    return str(state.url)
