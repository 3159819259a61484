"""The secrets that the resources refer to: which are made here, and which only you can make."""

from __future__ import annotations

import base64
import secrets
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from deploy.kubernetes.kubectl import Resource
from evergreen.serving.keys import KeyRing

NAMESPACE: Final = "evergreen"
# What each one holds; those of the servers outside the cluster can only come from you.
KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "postgres": ("host", "port", "user", "password", "predictions", "mlflow", "sslmode"),
    "s3": ("endpoint", "region", "bucket", "access-key", "secret-key"),
    "zenml": ("password", "jwt", "encryption"),
    "api-keys": ("keys.json",),
    "metrics-key": ("api-key",),
    "client-key": ("api-key",),
}
_API_KEYS: Final = {"api-keys", "metrics-key", "client-key"}  # made together


def in_cluster(resources: Iterable[Resource]) -> set[str]:
    """Return which of PostgreSQL and S3 the resources bring along."""
    names = {one["metadata"]["name"] for one in resources if one["kind"] == "StatefulSet"}
    return names & {"postgres", "s3"}


def only_you_can_make(resources: Iterable[Resource], present: set[str]) -> list[str]:
    """Return the names of the missing secrets that refer to servers outside the cluster."""
    return sorted({"postgres", "s3"} - in_cluster(resources) - present)


def command_for(name: str) -> str:
    """Return the command that makes a secret."""
    values = " ".join(f"--from-literal={key}=…" for key in KEYS[name])
    return f"kubectl --namespace {NAMESPACE} create secret generic {name} {values}"


def made(resources: Iterable[Resource], present: set[str]) -> list[Resource]:
    """Return the secrets to be made: random ones, and those of servers that come along.

    A secret that is there is never touched.
    """
    resources = list(resources)
    found: dict[str, dict[str, str]] = {}
    if "zenml" not in present:
        found["zenml"] = {key: secrets.token_hex(32) for key in KEYS["zenml"]}
    if "postgres" not in present and "postgres" in in_cluster(resources):
        found["postgres"] = {
            "host": f"postgres.{NAMESPACE}.svc.cluster.local",
            "port": "5432",
            "user": "evergreen",
            "password": secrets.token_hex(16),
            "predictions": "evergreen",
            "mlflow": "mlflow",
            "sslmode": "disable",
        }
    if "s3" not in present and "s3" in in_cluster(resources):
        found["s3"] = {
            "endpoint": f"http://s3.{NAMESPACE}.svc.cluster.local:9000",
            "region": "us-east-1",
            "bucket": "mlflow",
            "access-key": "evergreen",
            "secret-key": secrets.token_hex(16),
        }
    if "api-keys" not in present:
        found |= _api_keys()
    return [_secret(name, values) for name, values in sorted(found.items())]


def _api_keys() -> dict[str, dict[str, str]]:
    """Make a key for Prometheus (scope admin) and one for callers; the API gets their hashes."""
    with tempfile.TemporaryDirectory() as folder:
        ring = KeyRing(Path(folder, "keys.json"))
        _, metrics = ring.create("prometheus", ("admin",))
        _, client = ring.create("client")
        hashes = ring.path.read_text(encoding="utf-8")
    return {
        "api-keys": {"keys.json": hashes},
        "metrics-key": {"api-key": metrics},
        "client-key": {"api-key": client},
    }


def _secret(name: str, values: Mapping[str, str]) -> Resource:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": name,
            "namespace": NAMESPACE,
            "labels": {"app.kubernetes.io/part-of": "evergreen"},
        },
        "data": {key: base64.b64encode(text.encode()).decode() for key, text in values.items()},
    }
