"""The contract API, hosted by a ZenML deployment: what is the same wherever it runs.

The API follows the champion by itself. So it is started once, and again only where its settings
or the code have changed, where it died, or where clients have to know of a new contract.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, ClassVar, Final

from zenml.client import Client
from zenml.config import DeploymentDefaultEndpoints, DeploymentDefaultMiddleware, DeploymentSettings
from zenml.config.deployment_settings import AppExtensionSpec
from zenml.deployers import BaseDeployer
from zenml.models import DeploymentResponse

from evergreen.config import UseCase
from evergreen.deployment.servers import Answers, GoldenRows, api_health, ask_api, swap_failure
from evergreen.deployment.values import Deployment, Release, ServerState
from evergreen.errors import EvergreenError, InputError
from evergreen.provenance import code_fingerprint
from steps.deployment.api_extension import host_contract_api
from steps.deployment.invocation import deployment_name
from steps.deployment.targets.base import Place
from steps.promotion.champion import open_registry

LOOKING: Final = 10.0  # seconds after which the API has looked for a new champion
SWAPPING: Final = 60.0  # seconds that it gets to load it, where nothing is wrong with it
OTHER_ARMS: Final = 20  # requests at most until the champion answers, where traffic is split
SERVING_CODE: Final = ("serving", "promotion", "data", "features", "expressions")


class DeployedApi(ABC):
    """The contract API, by a deployer of ZenML's."""

    title = "Contract API"
    flavor: ClassVar[str]

    def __init__(self, component: BaseDeployer, place: Place) -> None:
        self.component = component
        self.place = place
        self.name = deployment_name(place.name)

    # --- what differs with the deployer -------------------------------------------------------

    @abstractmethod
    def status(self) -> ServerState:
        """Return what ZenML's deployment serves, or what is wrong with it."""

    @abstractmethod
    def _require_room(self, use_case: UseCase) -> None:
        """Raise `UnreachableError` where the API could not listen."""

    @abstractmethod
    def _moved(self, before: ServerState, use_case: UseCase) -> str | None:
        """Return what is otherwise than wanted about where it runs; None where nothing is."""

    @abstractmethod
    def _host(self, use_case: UseCase) -> None:
        """Let ZenML host the API; do not wait for it."""

    @abstractmethod
    def _await(self, patience: float) -> ServerState:
        """Wait until what was hosted last answers; raise `UnreachableError` where it does not."""

    @abstractmethod
    def _go_back(self, before: ServerState) -> None:
        """Host the snapshot that was hosted before; forget the deployment where none was."""

    @abstractmethod
    def remove(self) -> bool:
        """Stop the API and delete ZenML's deployment."""

    def _headers(self) -> Mapping[str, str]:
        """Return the headers that let us predict."""
        return {}

    def _all_serve(self, before: ServerState, version: str) -> bool:
        """Tell whether every process of the API answers with a version."""
        health = api_health(str(before.url))
        return health is not None and health.version == version

    def _swap_failure(self, before: ServerState) -> str | None:
        """Return why a process does not serve the version that it should, if one says so."""
        return swap_failure(str(before.url), self._headers())

    # --- the target's interface ---------------------------------------------------------------

    def prepare(self, release: Release, use_case: UseCase) -> str | None:
        """Check that there is room, and that ZenML's name is ours to use."""
        record = self._named()
        if record is not None and not self._is_ours(record):
            other = record.deployer.name if record.deployer else record.deployer_id
            raise InputError(
                f"ZenML has a deployment {self.name!r} already, by the deployer {other!r}, which "
                f"is not in the active stack. Remove it first: zenml deployment delete {self.name}"
            )
        self._require_room(use_case)
        before = self.status()
        if before.condition == "absent":
            return "it was not deployed"
        if before.condition != "running":
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
        headers = self._headers()
        answers = ask_api(str(state.url), golden, headers)
        for _ in range(OTHER_ARMS):
            if answers.version == champion:
                break
            answers = ask_api(str(state.url), golden, headers)
        return answers

    def settle(self, deployment: Deployment) -> None:  # noqa: B027
        """Nothing is left over: the API was exchanged in its place."""

    def restore(self, deployment: Deployment) -> ServerState:
        """Host again what was hosted before, or nothing."""
        if deployment.changed:
            self._go_back(deployment.before)
        return self.status()

    # --- inside -------------------------------------------------------------------------------

    def _record(self) -> DeploymentResponse | None:
        """Return what ZenML knows of our deployment; None where it is another stack's."""
        record = self._named()
        return record if record is not None and self._is_ours(record) else None

    def _is_ours(self, record: DeploymentResponse) -> bool:
        return record.deployer_id in (None, self.component.id)

    def _named(self) -> DeploymentResponse | None:
        found = Client().list_deployments(name=f"equals:{self.name}", hydrate=True)
        return found.items[0] if found.items else None

    def _absent(self) -> ServerState:
        return ServerState(
            kind="deployer",
            flavor=self.flavor,
            component=self.component.name,
            title=self.title,
            condition="absent",
        )

    def _forget_stale(self, state: ServerState) -> None:  # noqa: B027
        """Take what is gone out of ZenML's record, where that would do harm."""

    def _reason_to_restart(
        self, before: ServerState, release: Release, use_case: UseCase
    ) -> str | None:
        record = self._record()
        if record is None or record.snapshot is None:
            return "ZenML's record of it is incomplete"
        extensions = record.snapshot.pipeline_configuration.deployment_settings.app_extensions
        known = extensions[0].extension_kwargs if extensions else {}
        wanted = self._arguments(use_case)
        if moved := self._moved(before, use_case):
            return moved
        if known != wanted:
            same_settings = {**known, "code": ""} == {**wanted, "code": ""}
            return f"its {'code' if same_settings else 'settings'} changed"
        start = time.monotonic()
        while (waited := time.monotonic() - start) < SWAPPING:
            if self._all_serve(before, release.version):
                return None
            if waited > LOOKING and self._swap_failure(before) is not None:
                break
            time.sleep(0.5)
        open_registry().champion(self.place.name)  # if that is away, a restart makes nothing better
        why = self._swap_failure(before) or "it gave no reason"
        return f"it did not swap in version {release.version} by itself: {why}"

    def _arguments(self, use_case: UseCase) -> dict[str, Any]:
        return {
            "model": self.place.name,
            "home": str(self.place.home.root),
            "settings": use_case.serving.model_dump(mode="json"),
            "code": code_fingerprint(*SERVING_CODE)[:16],
        }

    def _hosting(self, use_case: UseCase, host: str, **more: Any) -> DeploymentSettings:
        extension = AppExtensionSpec(
            extension=host_contract_api, extension_kwargs=self._arguments(use_case)
        )
        return DeploymentSettings(
            app_title=f"Evergreen: {self.place.name}",
            include_default_endpoints=DeploymentDefaultEndpoints.API,
            include_default_middleware=DeploymentDefaultMiddleware.NONE,
            app_extensions=[extension],
            uvicorn_host=host,
            uvicorn_kwargs={"access_log": False, "loop": "uvloop", "http": "httptools", **more},
        )
