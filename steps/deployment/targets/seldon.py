"""The model deployer of flavor ``seldon``: a SeldonDeployment of our images.

ZenML's deployer talks to the cluster; what it sends is rendered by `evergreen.deployment`, as
ZenML's own values know neither weights nor shadows. Where no operator runs, what is to be served
is written into the run's reports, so that it can be applied elsewhere.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, Final

import httpx
import urllib3
from kubernetes.client import ApiClient, CustomObjectsApi
from zenml.integrations.seldon.model_deployers import SeldonModelDeployer
from zenml.integrations.seldon.seldon_client import (
    SeldonClientError,
    SeldonDeployment,
    SeldonDeploymentNotFoundError,
    SeldonDeploymentPredictor,
    SeldonDeploymentSpec,
)

from evergreen.config import UseCase
from evergreen.deployment.seldon_manifest import (
    SeldonArm,
    SeldonValues,
    component_name,
    seldon_deployment,
    to_yaml,
)
from evergreen.deployment.servers import Answers, GoldenRows, ask_open_inference, ask_seldon
from evergreen.deployment.settings import SeldonConfig
from evergreen.deployment.values import Deployment, Release, ServerState
from evergreen.errors import EvergreenError, InputError, NotServingError, UnreachableError
from steps.announcements import announce
from steps.deployment.targets.base import Place
from steps.promotion.champion import open_registry
from steps.workspace import keep_reports, report_folder

GROUP: Final = "machinelearning.seldon.io"
NOTICING: Final = 10.0  # seconds in which an operator that runs writes a status
RENDERED: Final = "evergreen/rendered"  # annotation: the digest of what was sent
FORMER: Final = "evergreen/former"  # annotation: what it took the place of, as JSON
RETURNING: Final = 180.0  # seconds that what was there before gets to serve again
FILE: Final = "seldon.yaml"  # in the folder of the run's reports
NO_OPERATOR: Final = "no operator of Seldon's acts on it"


class WeightedPredictor(SeldonDeploymentPredictor):
    """ZenML's predictor, with its share of the traffic."""

    traffic: int | None = None
    shadow: bool | None = None


class WeightedSpec(SeldonDeploymentSpec):
    """ZenML's specification, of weighted predictors."""

    predictors: list[WeightedPredictor]  # type: ignore[assignment]


class WeightedDeployment(SeldonDeployment):
    """ZenML's SeldonDeployment, with weights and shadows."""

    spec: WeightedSpec


class SeldonServer:
    """Our image on Seldon, by the stack's model deployer."""

    title = "Seldon"
    flavor: ClassVar[str] = "seldon"

    def __init__(self, component: SeldonModelDeployer, place: Place) -> None:
        self.component = component
        self.place = place
        self.name = component_name(place.name)

    # --- the target's interface ---------------------------------------------------------------

    def status(self) -> ServerState:
        """Return what Seldon says of the SeldonDeployment."""
        state = ServerState(
            kind="model_deployer",
            flavor=self.flavor,
            component=self.component.name,
            title=self.title,
            condition="absent",
        )
        with self._reaching() as client:
            if not self._is_known(client):
                return state
            try:
                found = client.get_deployment(self.name)
            except SeldonDeploymentNotFoundError:
                return state
            namespace = client.namespace
        address = f"{self.component.config.base_url.rstrip('/')}/seldon/{namespace}/{self.name}"
        state = state.model_copy(update={"reference": f"{namespace}/{self.name}", "url": address})
        if found.status is None:
            return state.model_copy(update={"condition": "rendered", "detail": NO_OPERATOR})
        if found.is_failed():
            return state.model_copy(update={"condition": "stale", "detail": found.get_error()})
        if not found.is_available():
            why = found.get_pending_message()
            return state.model_copy(update={"condition": "starting", "detail": why})
        version = served_version(address, self.place.name, found.spec.protocol)
        return state.model_copy(update={"condition": "running", "version": version})

    def prepare(self, release: Release, use_case: UseCase) -> str | None:
        """Check the settings; pods follow the alias by themselves, so those alone decide."""
        manifest = self._manifest(use_case)
        with self._reaching() as client:
            if not self._is_known(client):
                return "Seldon is not installed"
            if not self._is_free(client):
                raise InputError(
                    f"The namespace {client.namespace!r} has a SeldonDeployment {self.name!r} "
                    "already, which is not ours. Delete it first: kubectl --namespace "
                    f"{client.namespace} delete seldondeployment {self.name}"
                )
            stored = self._stored(client)
        if stored is None:
            return "it was not deployed"
        if _rendered(stored) != _rendered(manifest):
            return "its settings changed"
        state = self.status()
        return None if state.condition == "running" else f"it was down: {state.detail}"

    def deploy(self, release: Release, use_case: UseCase) -> Deployment:
        """Send the SeldonDeployment and wait for it; write it down where nobody acts on it."""
        before = self.status()
        manifest = self._manifest(use_case)
        with self._reaching() as client:
            known = self._is_known(client)
            former = self._stored(client) if known else None
            if known:
                self._send(client, _remembering(manifest, former))
        try:
            after = self._await(use_case.deploy.timeout.total_seconds()) if known else before
        except BaseException:
            with self._reaching() as client:
                self._put_back(client, former)
            raise
        if not after.serves:
            why = NO_OPERATOR if known else "Seldon is not installed in the cluster"
            after = after.model_copy(
                update={"condition": "rendered", "detail": f"{why}; {self._write(manifest)}"}
            )
        return Deployment(before=before, after=after, changed=True)

    def ask(self, state: ServerState, golden: GoldenRows) -> Answers:
        """Predict golden rows by the protocol that is served, through Seldon's ingress."""
        with self._reaching() as client:
            protocol = client.get_deployment(self.name).spec.protocol
        if protocol == "v2":
            return ask_open_inference(str(state.url), component_name(self.place.name), golden)
        return ask_seldon(str(state.url), golden)

    def settle(self, deployment: Deployment) -> None:
        """Nothing is left over: Seldon exchanges what it serves in its place."""

    def restore(self, deployment: Deployment) -> ServerState:
        """Send what was there before again; take away what was not."""
        if not deployment.changed:
            return self.status()
        if deployment.before.condition == "absent":
            self.remove()
            return self.status()
        with self._reaching() as client:
            former = _former(self._stored(client)) if self._is_known(client) else None
            if former is not None:
                self._send(client, former)
        return self._await(RETURNING) if deployment.before.serves else self.status()

    def remove(self) -> bool:
        """Delete the SeldonDeployment."""
        with self._reaching() as client:
            if not self._is_known(client) or self._stored(client) is None:
                return False
            client.delete_deployment(self.name, poll_timeout=60)
        return True

    # --- inside -------------------------------------------------------------------------------

    def _manifest(self, use_case: UseCase) -> dict[str, Any]:
        config = use_case.deploy.seldon
        if config is None:
            raise InputError(
                "The active stack deploys to Seldon, and the use case does not say which image "
                "that is to serve: --set deploy.seldon.image=registry.example.org/evergreen-serve"
            )
        with self._reaching() as client:
            namespace = client.namespace
        manifest = seldon_deployment(values_of(use_case, config, namespace, self._registry(config)))
        # The operator fills in what is left open, so that what is stored cannot be compared.
        spec = json.dumps(manifest["spec"], sort_keys=True).encode()
        manifest["metadata"]["annotations"] = {RENDERED: hashlib.sha256(spec).hexdigest()}
        return manifest

    def _registry(self, config: SeldonConfig) -> str:
        return config.registry or open_registry().tracking_uri

    def _send(self, client: Any, manifest: dict[str, Any]) -> None:
        wanted = WeightedDeployment.model_validate(
            {**manifest, "spec": {"name": self.name, **manifest["spec"]}}
        )
        if self._stored(client) is None:
            client.create_deployment(wanted)
        else:
            client.update_deployment(wanted)

    def _put_back(self, client: Any, former: dict[str, Any] | None) -> None:
        if former is None:
            client.delete_deployment(self.name)
        else:
            self._send(client, former)

    def _stored(self, client: Any) -> dict[str, Any] | None:
        """Return the SeldonDeployment as the cluster has it, where it is ours."""
        try:
            client.get_deployment(self.name)  # which refuses what is not ZenML's
        except SeldonDeploymentNotFoundError:
            return None
        api: CustomObjectsApi = client._custom_objects_api
        found: dict[str, Any] = api.get_namespaced_custom_object(
            GROUP, "v1", client.namespace, "seldondeployments", self.name
        )
        return {name: found[name] for name in ("apiVersion", "kind", "metadata", "spec")}

    def _is_free(self, client: Any) -> bool:
        found = _items(client)
        labels = [one["metadata"].get("labels", {}) for one in found if _name(one) == self.name]
        return all(each.get("app") == "zenml" for each in labels)

    def _is_known(self, client: Any) -> bool:
        """Tell whether the cluster knows SeldonDeployments."""
        api: ApiClient = client._custom_objects_api.api_client
        groups = api.call_api(
            "/apis", "GET", response_type="object", auth_settings=["BearerToken"]
        )[0]["groups"]
        return GROUP in {group["name"] for group in groups}

    def _await(self, patience: float) -> ServerState:
        start = time.monotonic()
        while True:
            state, waited = self.status(), time.monotonic() - start
            if state.serves or (state.condition == "rendered" and waited > NOTICING):
                return state
            if state.condition == "stale":
                raise NotServingError(f"Seldon could not start it: {state.detail}")
            if waited > patience:
                raise UnreachableError(
                    f"Seldon did not serve it within {patience:.0f} s: {state.detail}"
                )
            time.sleep(1)

    def _write(self, manifest: dict[str, Any]) -> str:
        """Write the manifest among the run's reports, and say where."""
        announce("Write the SeldonDeployment")
        folder = report_folder(self.place.name)
        (folder / FILE).write_text(to_yaml(manifest), encoding="utf-8")
        keep_reports(folder)
        return f"apply reports/{folder.relative_to(self.place.home.reports)}/{FILE} where one runs"

    @contextmanager
    def _reaching(self) -> Iterator[Any]:
        """Yield ZenML's client; say what is wrong where the cluster does not answer."""
        try:
            yield self.component.seldon_client
        except EvergreenError:
            raise
        except SeldonClientError as error:
            cause = getattr(error.__cause__, "reason", None)
            why = f" ({cause})" if cause else ""
            raise UnreachableError(f"Seldon's deployment failed: {error}{why}") from error
        except urllib3.exceptions.HTTPError as error:
            raise UnreachableError(f"The cluster does not answer: {error}") from error


def values_of(
    use_case: UseCase, config: SeldonConfig, namespace: str, registry: str
) -> SeldonValues:
    """Return what a use case's SeldonDeployment is rendered from.

    Raises
    ------
    InputError
        If Seldon would not take it.
    """
    arms = [
        SeldonArm(
            name="champion",
            alias="champion",
            traffic=100 - config.challenger,
            replicas=config.replicas,
        )
    ]
    if config.challenger:
        arms.append(
            SeldonArm(
                name="challenger",
                alias="challenger",
                traffic=config.challenger,
                replicas=config.replicas,
            )
        )
    try:
        return SeldonValues(
            name=component_name(use_case.name),
            namespace=namespace,
            model=use_case.name,
            protocol=config.protocol,
            image=config.image,
            registry=registry,
            arms=tuple(arms),
            secret=config.secret,
            **({"serving": use_case.serving} if config.protocol == "seldon" else {}),
        )
    except ValueError as error:
        raise InputError(f"deploy.seldon: {error}") from None


def served_version(url: str, model: str, protocol: str | None) -> str | None:
    """Return the version that Seldon answers with; None where that cannot be learnt."""
    if protocol != "v2":
        return None  # the answers themselves say it
    try:
        answer = httpx.get(f"{url}/v2/models/{component_name(model)}", timeout=5).json()
        return str(answer["versions"][0])
    except (httpx.HTTPError, ValueError, KeyError, IndexError, TypeError):
        return None


def _items(client: Any) -> list[dict[str, Any]]:
    api: CustomObjectsApi = client._custom_objects_api
    found = api.list_namespaced_custom_object(GROUP, "v1", client.namespace, "seldondeployments")
    return list(found["items"])


def _rendered(resource: dict[str, Any]) -> str | None:
    found = resource["metadata"].get("annotations", {}).get(RENDERED)
    return None if found is None else str(found)


def _remembering(manifest: dict[str, Any], former: dict[str, Any] | None) -> dict[str, Any]:
    """Return the manifest with what it takes the place of, to which `restore` goes back."""
    if former is None:
        return manifest
    known = json.dumps({"rendered": _rendered(former), "spec": former["spec"]})
    metadata = manifest["metadata"]
    annotations = {**metadata.get("annotations", {}), FORMER: known}
    return {**manifest, "metadata": {**metadata, "annotations": annotations}}


def _former(stored: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return what a stored resource took the place of, to be sent again."""
    metadata = stored["metadata"] if stored is not None else {}
    text = metadata.get("annotations", {}).get(FORMER)
    if stored is None or text is None:
        return None
    known = json.loads(text)
    annotations = {**metadata["annotations"], RENDERED: known["rendered"]}
    return {
        **stored,
        "metadata": {**metadata, "annotations": annotations},
        "spec": known["spec"],
    }


def _name(resource: dict[str, Any]) -> str:
    return str(resource["metadata"]["name"])
