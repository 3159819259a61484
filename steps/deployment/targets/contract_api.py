"""The deployer of flavor ``local``: the contract API in a daemon of ZenML's on this machine.

The API follows the champion by itself. So it is started once, and again only where its settings
or the code have changed, where it died, or where clients have to know of a new contract.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import Any, Final
from uuid import UUID

from zenml.client import Client
from zenml.config import DeploymentDefaultEndpoints, DeploymentDefaultMiddleware, DeploymentSettings
from zenml.config.deployment_settings import AppExtensionSpec
from zenml.deployers.exceptions import DeployerError, DeploymentTimeoutError
from zenml.deployers.local.local_deployer import (
    LocalDeployer,
    LocalDeployerSettings,
    LocalDeploymentMetadata,
)
from zenml.enums import DeploymentStatus
from zenml.models import DeploymentOperationalState, DeploymentResponse, DeploymentUpdate
from zenml.utils import source_utils

from evergreen.config import UseCase
from evergreen.deployment import processes
from evergreen.deployment.servers import (
    Answers,
    GoldenRows,
    api_health,
    ask_api,
    last_words,
    swap_failure,
)
from evergreen.deployment.values import Deployment, Release, ServerState
from evergreen.errors import EvergreenError, InputError, UnreachableError
from evergreen.provenance import code_fingerprint
from steps.deployment.api_extension import host_contract_api
from steps.deployment.invocation import contract_api, deployment_name
from steps.deployment.targets.base import Place
from steps.promotion.champion import open_registry

PORT: Final = "deploy.port=8010"
LOOKING: Final = 10.0  # seconds after which the API has looked for a new champion
SWAPPING: Final = 60.0  # seconds that it gets to load it, where nothing is wrong with it
OTHER_ARMS: Final = 20  # requests at most until the champion answers, where traffic is split
SERVING_CODE: Final = ("serving", "promotion", "data", "features", "expressions")


class HostedApi:
    """The contract API, by the stack's deployer."""

    title = "Contract API"

    def __init__(self, component: LocalDeployer, place: Place) -> None:
        self.component = component
        self.place = place
        self.name = deployment_name(place.name)
        self.mark = place.mark(self.title)

    # --- the target's interface ---------------------------------------------------------------

    def status(self) -> ServerState:
        """Return what ZenML's deployment serves, or what is wrong with it."""
        record = self._record()
        state = ServerState(
            kind="deployer",
            flavor="local",
            component=self.component.name,
            title=self.title,
            condition="absent",
        )
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

    def prepare(self, release: Release, use_case: UseCase) -> str | None:
        """Check the port, and that ZenML's name is ours to use."""
        record = self._record()
        if record is not None and record.deployer_id not in (None, self.component.id):
            other = record.deployer.name if record.deployer else record.deployer_id
            raise InputError(
                f"ZenML has a deployment {self.name!r} already, by the deployer {other!r}, which "
                f"is not in the active stack. Remove it first: zenml deployment delete {self.name}"
            )
        processes.require_free(use_case.deploy.port, PORT, self.mark)
        before = self.status()
        if before.condition == "absent":
            return "it was not deployed"
        if before.condition == "stale":
            return f"it was down: {before.detail}"
        return self._reason_to_restart(before, release, use_case)

    def deploy(self, release: Release, use_case: UseCase) -> Deployment:
        """Start the API, in the place of one that was hosted before."""
        before = self.status()
        self._forget_stale(before)
        try:
            self._host(use_case)
            after = self._await(use_case.deploy.timeout.total_seconds())
        except BaseException:
            with suppress(EvergreenError):  # what serves then is looked at anyway
                self._go_back(before)
            raise
        return Deployment(before=before, after=after, changed=True)

    def ask(self, state: ServerState, golden: GoldenRows) -> Answers:
        """Ask ``/predict/batch``; where traffic is split, until the champion is who answers."""
        champion = self.status().version
        answers = ask_api(str(state.url), golden)
        for _ in range(OTHER_ARMS):
            if answers.version == champion:
                break
            answers = ask_api(str(state.url), golden)
        return answers

    def settle(self, deployment: Deployment) -> None:
        """Nothing is left over: the API was exchanged in its place."""

    def restore(self, deployment: Deployment) -> ServerState:
        """Host again what was hosted before, or nothing."""
        if deployment.changed:
            self._go_back(deployment.before)
        return self.status()

    def remove(self) -> bool:
        """Stop the API and delete ZenML's deployment."""
        record = self._record()
        if record is not None:
            self._forget_stale(self.status())
            self.component.delete_deployment(self.name, timeout=60)
        unknown = processes.end(self.mark)
        return record is not None or unknown > 0

    # --- inside -------------------------------------------------------------------------------

    def _record(self) -> DeploymentResponse | None:
        found = Client().list_deployments(name=f"equals:{self.name}", hydrate=True)
        return found.items[0] if found.items else None

    def _reason_to_restart(
        self, before: ServerState, release: Release, use_case: UseCase
    ) -> str | None:
        record = self._record()
        if record is None or record.snapshot is None:
            return "ZenML's record of it is incomplete"
        extensions = record.snapshot.pipeline_configuration.deployment_settings.app_extensions
        known = extensions[0].extension_kwargs if extensions else {}
        wanted = self._arguments(use_case)
        if before.port != use_case.deploy.port:
            return f"it was on port {before.port}"
        if known != wanted:
            same_settings = {**known, "code": ""} == {**wanted, "code": ""}
            return f"its {'code' if same_settings else 'settings'} changed"
        start = time.monotonic()
        while (waited := time.monotonic() - start) < SWAPPING:
            health = api_health(str(before.url))
            if health is not None and health.version == release.version:
                return None
            if waited > LOOKING and swap_failure(str(before.url)) is not None:
                break
            time.sleep(0.5)
        open_registry().champion(self.place.name)  # if that is away, a restart makes nothing better
        why = swap_failure(str(before.url)) or "it gave no reason"
        return f"it did not swap in version {release.version} by itself: {why}"

    def _arguments(self, use_case: UseCase) -> dict[str, Any]:
        return {
            "model": self.place.name,
            "home": str(self.place.home.root),
            "settings": use_case.serving.model_dump(mode="json"),
            "code": code_fingerprint(*SERVING_CODE)[:16],
        }

    def _host(self, use_case: UseCase) -> None:
        extension = AppExtensionSpec(
            extension=host_contract_api, extension_kwargs=self._arguments(use_case)
        )
        hosting = DeploymentSettings(
            app_title=f"Evergreen: {self.place.name}",
            include_default_endpoints=DeploymentDefaultEndpoints.API,
            include_default_middleware=DeploymentDefaultMiddleware.NONE,
            app_extensions=[extension],
            uvicorn_host="127.0.0.1",
            uvicorn_kwargs={"access_log": False, "loop": "uvloop", "http": "httptools"},
        )
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
                raise UnreachableError(
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
