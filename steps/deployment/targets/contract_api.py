"""The deployer of flavor ``local``: the contract API in a daemon of ZenML's on this machine."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import Any, ClassVar, Final
from uuid import UUID

from zenml.client import Client
from zenml.deployers.exceptions import DeployerError, DeploymentTimeoutError
from zenml.deployers.local.local_deployer import (
    LocalDeployer,
    LocalDeployerSettings,
    LocalDeploymentMetadata,
)
from zenml.enums import DeploymentStatus
from zenml.models import DeploymentOperationalState, DeploymentUpdate
from zenml.utils import source_utils

from evergreen.config import UseCase
from evergreen.deployment import processes
from evergreen.deployment.servers import api_health, last_words
from evergreen.deployment.values import ServerState
from evergreen.errors import NotServingError, UnreachableError
from steps.deployment.invocation import contract_api
from steps.deployment.targets.base import Place
from steps.deployment.targets.hosted_api import DeployedApi

PORT: Final = "deploy.port=8010"


class HostedApi(DeployedApi):
    """The contract API, by the stack's deployer on this machine."""

    flavor: ClassVar[str] = "local"

    def __init__(self, component: LocalDeployer, place: Place) -> None:
        super().__init__(component, place)
        self.mark = place.mark(self.title)

    # --- the target's interface ---------------------------------------------------------------

    def status(self) -> ServerState:
        """Return what ZenML's deployment serves, or what is wrong with it."""
        record = self._record()
        state = self._absent()
        if record is None or not record.deployment_metadata:
            return state
        known = LocalDeploymentMetadata.from_deployment(record)
        url = f"http://127.0.0.1:{known.port}"
        state = state.model_copy(
            update={
                "url": url,
                "port": known.port,
                "process": known.pid,
                "reference": str(record.snapshot.id) if record.snapshot else None,
                "log": known.log_file,
            }
        )
        wrong = None
        health = None
        if not processes.carries(known.pid, self.mark):
            wrong = f"its process {known.pid} is gone"
            if processes.exists(known.pid):
                wrong += "; the number belongs to another program now"
        else:
            health = api_health(url)
            if health is None or health.version is None:
                wrong = f"its process {known.pid} lives, but does not answer"
        if wrong or health is None:
            return state.model_copy(update={"condition": "stale", "detail": wrong})
        detail = "; ".join(health.problems) or None
        return state.model_copy(
            update={"condition": "running", "version": health.version, "detail": detail}
        )

    def remove(self) -> bool:
        """Stop the API and delete ZenML's deployment."""
        record = self._record()
        if record is not None:
            self._forget_stale(self.status())
            self.component.delete_deployment(self.name, timeout=60)
        unknown = processes.end(self.mark)
        return record is not None or unknown > 0

    # --- inside -------------------------------------------------------------------------------

    def _require_room(self, use_case: UseCase) -> None:
        processes.require_free(use_case.deploy.port, PORT, self.mark)

    def _moved(self, before: ServerState, use_case: UseCase) -> str | None:
        return None if before.port == use_case.deploy.port else f"it was on port {before.port}"

    def _host(self, use_case: UseCase) -> None:
        hosting = self._hosting(use_case, "127.0.0.1")
        place = LocalDeployerSettings(port=use_case.deploy.port, allocate_port_if_busy=False)
        hosted = contract_api.with_options(
            settings={"deployment": hosting, "deployer": place}, tags=[self.place.name]
        )
        with self._surroundings():
            try:
                hosted.deploy(self.name, timeout=1, model=self.place.name, row={})
            except DeploymentTimeoutError:
                pass  # waiting is done below, where it is noticed that the process died
            except DeployerError as error:
                raise UnreachableError(f"The API cannot be started: {error}") from error

    def _surroundings(self) -> Any:
        """Let the daemon carry our mark and find our code, wherever it was started from."""
        root = source_utils.get_source_root()
        paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
        return processes.surrounded_by(
            **{
                processes.MARK: self.mark,
                "ZENML_CUSTOM_SOURCE_ROOT": root,
                "PYTHONPATH": os.pathsep.join(paths),
            }
        )

    def _await(self, patience: float) -> ServerState:
        deadline = time.monotonic() + patience
        state = self.status()
        while time.monotonic() < deadline:
            if state.serves:
                self.component.refresh_deployment(self.name)
                return state
            if not processes.carries(state.process, self.mark):
                raise NotServingError(
                    f"The API's process ended at once. Its last words: {last_words(state.log)}"
                )
            time.sleep(0.25)
            state = self.status()
        raise UnreachableError(
            f"The API at {state.url} did not answer within {patience:.0f} s. "
            f"Its last words: {last_words(state.log)}"
        )

    def _go_back(self, before: ServerState) -> None:
        """Host the snapshot that was hosted before; forget the deployment where none was."""
        self._forget_stale(self.status())
        if before.serves and before.reference is not None:
            snapshot = Client().get_snapshot(UUID(before.reference))
            with self._surroundings(), suppress(DeploymentTimeoutError):
                self.component.provision_deployment(
                    snapshot=snapshot,
                    stack=Client().active_stack,
                    deployment_name_or_id=self.name,
                    timeout=1,
                )
            self._await(90.0)
        elif self._record() is not None:
            self.component.delete_deployment(self.name, timeout=60)
        else:
            processes.end(self.mark)

    def _forget_stale(self, state: ServerState) -> None:
        """Take a dead process out of ZenML's record: its number may be a stranger's by now.

        ZenML would end whatever has that number.
        """
        record = self._record()
        if record is None or processes.carries(state.process, self.mark):
            return
        processes.end(self.mark)
        nothing = DeploymentOperationalState(status=DeploymentStatus.ABSENT, url="", metadata={})
        Client().zen_store.update_deployment(
            record.id, DeploymentUpdate.from_operational_state(nothing)
        )
