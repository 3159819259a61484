"""Is everything there that a stack file speaks of? Asked before anything is registered."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from evergreen.errors import EvergreenError, UnreachableError
from evergreen.paths import DATABASE_VARIABLE
from stacks.spec import ComponentSpec, StackSpec
from stacks.surroundings import lacking_secrets, secret_values

PATIENCE: Final = 5  # seconds

Check = Callable[[StackSpec, ComponentSpec], Iterator[str]]


def require_reachable(spec: StackSpec) -> None:
    """Raise `UnreachableError` with a line for each thing that is missing."""
    lacks = list(dict.fromkeys(find_lacks(spec)))
    if lacks:
        number = "One thing is" if len(lacks) == 1 else f"{len(lacks)} things are"
        lines = "\n".join(f"  - {lack}" for lack in lacks)
        raise UnreachableError(f"{number} missing, so nothing was registered:\n{lines}")


def find_lacks(spec: StackSpec) -> Iterator[str]:
    """Yield one message for each thing that a stack needs and that is not there."""
    for name in lacking_secrets(spec):
        variable = name.rsplit(".", 1)[1].upper()
        yield (
            f"Secret {name}: set {variable} in the environment, or keep it in ZenML: "
            f"zenml secret create {name.split('.', 1)[0]} --{name.rsplit('.', 1)[1]}=…"
        )
    if any(component.flavor.endswith("kubernetes") for component in spec.components.values()):
        yield from _zenml_server()
    for kind, component in spec.components.items():
        if check := _CHECKS.get((kind, component.flavor)):
            yield from check(spec, component)
    yield from _database(spec)


def _zenml_server() -> Iterator[str]:
    from zenml.client import Client
    from zenml.enums import StoreType

    if Client().zen_store.type == StoreType.SQL:
        yield (
            "ZenML server: this client works on a database of its own, which pods cannot reach. "
            "Connect it to a server: zenml login https://…"
        )


def _cluster(_: StackSpec, component: ComponentSpec) -> Iterator[str]:
    from kubernetes import client, config
    from kubernetes.client.exceptions import ApiException
    from urllib3.exceptions import HTTPError

    context = component.config.get("kubernetes_context")
    settings = component.config
    namespace = settings.get("kubernetes_namespace") or settings.get("namespace")
    where = f"Kubernetes cluster (context {context!r})" if context else "Kubernetes cluster"
    loaded = client.Configuration()
    loaded.retries = False
    try:
        config.load_kube_config(context=context, client_configuration=loaded)
    except (config.ConfigException, OSError) as error:
        yield f"{where}: {error}. Set KUBECONFIG and KUBERNETES_CONTEXT"
        return
    address = loaded.host
    try:
        client.CoreV1Api(client.ApiClient(loaded)).read_namespace(
            namespace, _request_timeout=PATIENCE
        )
    except ApiException as error:
        if error.status == 404:
            yield (
                f"{where}: at {address} there is no namespace {namespace!r}. "
                f"Make it: kubectl create namespace {namespace}"
            )
        elif error.status != 403:  # who may run jobs need not be allowed to look at namespaces
            yield f"{where}: {address} answers with {error.status} ({error.reason})"
    except (HTTPError, OSError) as error:
        yield f"{where}: {address} does not answer: {_first_line(error)}"


def _bucket(spec: StackSpec, component: ComponentSpec) -> Iterator[str]:
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    bucket = str(component.config.get("path", "")).removeprefix("s3://").split("/", 1)[0]
    name = component.config.get("authentication_secret")
    keys = secret_values(spec, name) if name else {}
    if name and not {"aws_access_key_id", "aws_secret_access_key"} <= set(keys):
        return  # that they are lacking is said already
    options: dict[str, Any] = dict(component.config.get("client_kwargs") or {})
    place = f"S3 bucket {bucket!r}" + (
        f" at {options['endpoint_url']}" if options.get("endpoint_url") else ""
    )
    patience = Config(
        connect_timeout=PATIENCE, read_timeout=PATIENCE, retries={"total_max_attempts": 1}
    )
    try:
        boto3.client(
            "s3",
            config=patience,
            aws_access_key_id=keys.get("aws_access_key_id"),
            aws_secret_access_key=keys.get("aws_secret_access_key"),
            **options,
        ).head_bucket(Bucket=bucket)
    except ClientError as error:
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        reason = {404: "there is none of that name", 403: "its keys do not open it"}
        yield f"{place}: {reason.get(int(status or 0), _first_line(error))}"
    except (BotoCoreError, ValueError) as error:
        yield f"{place}: {_first_line(error)}"


def _registry(spec: StackSpec, component: ComponentSpec) -> Iterator[str]:
    from stacks.image_registry import require_registry

    name = component.config.get("authentication_secret")
    keys = secret_values(spec, name) if name else {}
    known = (keys["username"], keys["password"]) if {"username", "password"} <= set(keys) else None
    yield from _message("Container registry", require_registry, component.config["uri"], known)


def _builder(_: StackSpec, __: ComponentSpec) -> Iterator[str]:
    from zenml.container_engines import get_container_engine

    try:
        get_container_engine()
    except RuntimeError as error:
        yield f"Container engine: {_first_line(error)} Install podman or Docker"


def _docker(_: StackSpec, __: ComponentSpec) -> Iterator[str]:
    from zenml.container_engines import get_container_engine
    from zenml.enums import ContainerEngineType

    try:
        get_container_engine(ContainerEngineType.DOCKER)
    except RuntimeError as error:
        yield (
            f"Docker: {_first_line(error)} Start it; for podman, install podman-docker, start "
            "podman system service, and set DOCKER_HOST to its socket"
        )


def _tracker(_: StackSpec, component: ComponentSpec) -> Iterator[str]:
    from evergreen.promotion import store

    uri = str(component.config.get("tracking_uri", ""))
    if uri.startswith(("http://", "https://")):
        yield from _message("MLflow server", store.require_reachable, uri)


def _database(spec: StackSpec) -> Iterator[str]:
    from sqlalchemy.exc import SQLAlchemyError

    from evergreen.database import connect

    urls = [secret_values(spec, name).get(DATABASE_VARIABLE) for name in spec.step_secrets]
    for url in filter(None, [*urls, spec.environment.get(DATABASE_VARIABLE)]):
        try:
            engine = connect(url, "The database")
            try:
                engine.connect().close()
            finally:
                engine.dispose()
        except EvergreenError as error:
            yield f"Database: {error}"
        except SQLAlchemyError as error:
            place = engine.url.render_as_string(hide_password=True)
            yield f"Database: {place} cannot be used: {_first_line(getattr(error, 'orig', error))}"


def _message(what: str, check: Callable[..., None], *arguments: Any) -> Iterator[str]:
    try:
        check(*arguments)
    except EvergreenError as error:
        yield f"{what}: {error}"


def _first_line(error: object) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


_CHECKS: Final[dict[tuple[str, str], Check]] = {
    ("orchestrator", "kubernetes"): _cluster,
    ("orchestrator", "evergreen_kubernetes"): _cluster,
    ("orchestrator", "local_docker"): _docker,
    ("deployer", "kubernetes"): _cluster,
    ("artifact_store", "s3"): _bucket,
    ("container_registry", "default"): _registry,
    ("image_builder", "local"): _builder,
    ("experiment_tracker", "mlflow"): _tracker,
}
