"""The variables by which stacks/kubernetes.yaml finds the servers of an installation.

    eval "$(make cluster-env OVERLAY=test REGISTRY=127.0.0.1:5000)"

Steps and whoever starts them use the same addresses, so a server in the cluster is named by its
Service's address, which this machine must reach, or by one given by ``--address``.
"""

from __future__ import annotations

import base64
import secrets
import shlex
import socket
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote, urlsplit

import httpx

from deploy.kubernetes.kubectl import Kubectl, Resource
from deploy.kubernetes.secrets_needed import NAMESPACE
from evergreen.errors import InputError, UnreachableError

RUNS: Final = "evergreen-runs"
SERVERS: Final = ("zenml", "mlflow", "s3", "postgres")
KEY: Final = "zenml-client"  # the secret with ZenML's key for whoever starts runs
_INSIDE: Final = f".{NAMESPACE}.svc.cluster.local"
_PATIENCE: Final = 5.0  # seconds for an address to answer


def environment(
    cluster: Kubectl, registry: str | None, addresses: Mapping[str, str]
) -> dict[str, str]:
    """Return the variables; a key for ZenML is made the first time.

    Parameters
    ----------
    registry
        Where steps' images go.
    addresses
        ``host:port`` or a URL of servers that this machine and pods reach another way, by name.

    Raises
    ------
    InputError
        If nothing is installed, or no registry is named.
    UnreachableError
        If an address does not answer from here.
    """
    if not registry:
        raise InputError("Say where images of steps go: make cluster-env REGISTRY=ghcr.io/you")
    known = {one["metadata"]["name"]: _values(one) for one in cluster.get("secrets", NAMESPACE)}
    if missing := sorted({"zenml", "postgres", "s3"} - set(known)):
        raise InputError(
            f"The secrets {', '.join(missing)} are not in the namespace {NAMESPACE}: install first "
            "(make cluster-install)."
        )
    services = {one["metadata"]["name"]: one for one in cluster.get("services", NAMESPACE)}
    at = {name: _address(name, known, services, addresses) for name in SERVERS}
    for name in SERVERS:
        _require_answer(name, at[name])
    database, s3 = known["postgres"], known["s3"]
    user, password = quote(database["user"]), quote(database["password"])
    host = at["postgres"].removeprefix("postgresql://")
    return {
        "KUBERNETES_CONTEXT": cluster.context or cluster.current_context(),
        "KUBERNETES_NAMESPACE": RUNS,
        "ZENML_STORE_URL": at["zenml"],
        "ZENML_STORE_API_KEY": _zenml_key(cluster, at["zenml"], known),
        "MLFLOW_TRACKING_URI": at["mlflow"],
        "AWS_ENDPOINT_URL": at["s3"],
        "AWS_ACCESS_KEY_ID": s3["access-key"],
        "AWS_SECRET_ACCESS_KEY": s3["secret-key"],
        "AWS_DEFAULT_REGION": s3["region"],
        "EVERGREEN_S3_PATH": f"s3://{s3['bucket']}/zenml",
        "EVERGREEN_DATABASE_URL": f"postgresql+psycopg://{user}:{password}@{host}/"
        f"{database['predictions']}?sslmode={database['sslmode']}",
        "EVERGREEN_REGISTRY": registry,
    }


def as_shell(variables: Mapping[str, str]) -> str:
    """Return lines that a shell evaluates."""
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in variables.items())


def _address(
    name: str,
    known: Mapping[str, Mapping[str, str]],
    services: Mapping[str, Resource],
    addresses: Mapping[str, str],
) -> str:
    """Return a server's URL, by which this machine and pods reach it."""
    scheme = "postgresql" if name == "postgres" else "http"
    if given := addresses.get(name):
        return given if "://" in given else f"{scheme}://{given}"
    if name == "postgres" and not known["postgres"]["host"].endswith(_INSIDE):
        return f"{scheme}://{known['postgres']['host']}:{known['postgres']['port']}"
    if name == "s3" and _INSIDE not in known["s3"]["endpoint"]:
        return known["s3"]["endpoint"]
    if name not in services:
        raise InputError(f"There is no Service {name!r} in {NAMESPACE}: make cluster-install")
    spec = services[name]["spec"]
    return f"{scheme}://{spec['clusterIP']}:{spec['ports'][0]['port']}"


def _require_answer(name: str, url: str) -> None:
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        socket.create_connection((parts.hostname or "", port), timeout=_PATIENCE).close()
    except OSError as error:
        raise UnreachableError(
            f"{name} does not answer at {parts.hostname}:{port} ({error}). Steps and this machine "
            "use the same addresses: give this machine a route to the cluster's Services (a VPN), "
            f"or the server a name that both reach: ARGS='--address {name}=HOST:PORT'"
        ) from None


def _zenml_key(cluster: Kubectl, url: str, known: Mapping[str, Mapping[str, str]]) -> str:
    """Return the kept key, if it still opens the server, or a new one."""
    kept = known.get(KEY, {}).get("api-key")
    with httpx.Client(base_url=f"{url}/api/v1", timeout=60) as client:
        opens = {"grant_type": "zenml-api-key", "password": kept}
        if kept and client.post("/login", data=opens).is_success:
            return kept
        login = {"username": "admin", "password": known["zenml"]["password"]}
        token = _asked(client, "/login", data=login)["access_token"]
        client.headers["Authorization"] = f"Bearer {token}"
        name = f"client-{secrets.token_hex(3)}"
        account = _asked(client, "/service_accounts", json={"name": name, "active": True})["id"]
        made = _asked(client, f"/service_accounts/{account}/api_keys", json={"name": name})
    key = str(made["body"]["key"])
    cluster.apply([_secret(key)])
    return key


def _asked(client: httpx.Client, path: str, **content: Any) -> Any:
    answer = client.post(path, **content)
    if not answer.is_success:
        raise UnreachableError(f"ZenML's server says {answer.status_code} to {path}: {answer.text}")
    return answer.json()


def _values(secret: Resource) -> dict[str, str]:
    data = secret.get("data") or {}
    return {key: base64.b64decode(text).decode() for key, text in data.items()}


def _secret(key: str) -> Resource:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": KEY,
            "namespace": NAMESPACE,
            "labels": {"app.kubernetes.io/part-of": "evergreen"},
        },
        "data": {"api-key": base64.b64encode(key.encode()).decode()},
    }
