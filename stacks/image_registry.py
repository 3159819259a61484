"""Asking a registry of images, by the OCI Distribution Specification, which image a tag names."""

from __future__ import annotations

import ipaddress
import re
from typing import Final

import httpx

from evergreen.errors import UnreachableError

PATIENCE: Final = 10.0  # seconds
_MANIFESTS: Final = ", ".join(
    (
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    )
)

Credentials = tuple[str, str]


def require_registry(uri: str, credentials: Credentials | None = None) -> None:
    """Raise `UnreachableError` where no registry answers, or it does not let us in."""
    _ask("GET", uri, "/v2/", credentials)


def digest_of(image: str, credentials: Credentials | None = None) -> str | None:
    """Return the digest of the image that ``host/repository:tag`` names; None where there is none.

    Raises
    ------
    UnreachableError
        If the registry does not answer, or does not let us in.
    """
    host, _, rest = image.partition("/")
    repository, _, tag = rest.partition(":")
    answer = _ask("HEAD", host, f"/v2/{repository}/manifests/{tag or 'latest'}", credentials)
    if answer.status_code == httpx.codes.NOT_FOUND:
        return None
    digest: str | None = answer.headers.get("Docker-Content-Digest")
    return digest


def _ask(method: str, uri: str, path: str, credentials: Credentials | None) -> httpx.Response:
    host = uri.split("/", 1)[0]
    url = f"{_scheme(host)}://{host}{path}"
    headers = {"Accept": _MANIFESTS}
    try:
        answer = httpx.request(method, url, headers=headers, timeout=PATIENCE)
        if answer.status_code == httpx.codes.UNAUTHORIZED:
            headers |= _authorization(answer.headers.get("WWW-Authenticate", ""), credentials)
            answer = httpx.request(method, url, headers=headers, timeout=PATIENCE)
    except httpx.HTTPError as error:
        reason = str(error) or type(error).__name__
        raise UnreachableError(f"The registry at {host} does not answer: {reason}") from error
    if answer.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
        raise UnreachableError(
            f"The registry at {host} does not let us in ({answer.status_code}). Log in: give the "
            "container registry an authentication_secret with username and password"
        )
    if answer.is_error and answer.status_code != httpx.codes.NOT_FOUND:
        raise UnreachableError(f"The registry at {host} answers {url} with {answer.status_code}")
    return answer


def _scheme(host: str) -> str:
    """Return how a registry is spoken to: as engines do, a loopback address without TLS."""
    name = host.rsplit(":", 1)[0]
    if name == "localhost":
        return "http"
    try:
        return "http" if ipaddress.ip_address(name).is_loopback else "https"
    except ValueError:
        return "https"


def _authorization(challenge: str, credentials: Credentials | None) -> dict[str, str]:
    """Answer a registry's challenge, by its token server where it has one."""
    basic = httpx.BasicAuth(*credentials) if credentials else None
    if not challenge.lower().startswith("bearer "):
        if basic is None:
            return {}
        request = httpx.Request("GET", "https://localhost")
        return {"Authorization": next(basic.auth_flow(request)).headers["Authorization"]}
    fields = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
    query = {key: fields[key] for key in ("service", "scope") if key in fields}
    answer = httpx.get(fields.get("realm", ""), params=query, auth=basic, timeout=PATIENCE)
    if answer.is_error:
        return {}
    content = answer.json()
    return {"Authorization": f"Bearer {content.get('token') or content.get('access_token')}"}
