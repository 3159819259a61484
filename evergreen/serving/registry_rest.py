"""MLflow's registry behind a tracking server, read by its REST interface."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any, Final
from urllib.parse import urlsplit

import httpx

from evergreen.errors import InputError, UnreachableError
from evergreen.serving.artifacts import fetch_by_mlflow, local_folder
from evergreen.serving.registry_reader import ModelState
from evergreen.serving.traffic import TAG

PATIENCE: Final = httpx.Timeout(5.0, read=30.0)
_API: Final = "/api/2.0/mlflow"
CONNECTIONS: Final = 8  # at once, while a bundle is fetched
_FILES: Final = "/api/2.0/mlflow-artifacts/artifacts"


class RestRegistry:
    """The registry of a tracking server.

    Credentials come from the variables that MLflow's own client reads: MLFLOW_TRACKING_TOKEN, or
    MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD; MLFLOW_TRACKING_INSECURE_TLS likewise.
    """

    def __init__(self, tracking_uri: str) -> None:
        parts = urlsplit(tracking_uri)
        self.address = tracking_uri.replace(f":{parts.password}@", ":***@", 1)
        headers, credentials = {}, None
        if token := os.environ.get("MLFLOW_TRACKING_TOKEN"):
            headers["Authorization"] = f"Bearer {token}"
        elif user := os.environ.get("MLFLOW_TRACKING_USERNAME"):
            credentials = (user, os.environ.get("MLFLOW_TRACKING_PASSWORD", ""))
        self._client = httpx.Client(
            base_url=tracking_uri.rstrip("/"),
            timeout=PATIENCE,
            headers=headers,
            auth=credentials,
            verify=os.environ.get("MLFLOW_TRACKING_INSECURE_TLS", "").lower() != "true",
        )

    def models(self) -> tuple[str, ...]:
        """Return the names of the first hundred registered models."""
        answer = self._get("/registered-models/search", {"max_results": 100}) or {}
        return tuple(model["name"] for model in answer.get("registered_models", ()))

    def state(self, name: str) -> ModelState | None:
        """Return a model's aliases and traffic plan, or None where it is unknown."""
        answer = self._get("/registered-models/get", {"name": name})
        if answer is None:
            return None
        model = answer["registered_model"]
        tags = {tag["key"]: tag.get("value") for tag in model.get("tags", ())}
        return ModelState(
            {entry["alias"]: str(entry["version"]) for entry in model.get("aliases", ())},
            tags.get(TAG) or None,
        )

    def source(self, name: str, version: str) -> str | None:
        """Return the address of a version's files, or None where it is unknown."""
        if not version.isdecimal():
            return None
        answer = self._get("/model-versions/get", {"name": name, "version": version})
        return None if answer is None else str(answer["model_version"]["source"])

    def download(self, source: str, folder: Path) -> Path:
        """Copy the files at an address into ``folder``, unless they are on this machine."""
        if source.startswith("mlflow-artifacts:"):
            root = urlsplit(source).path.strip("/")
            files = list(self._files(root))
            # Most of them are small: what takes time is that each is asked for.
            with ThreadPoolExecutor(CONNECTIONS) as pool:
                for _ in pool.map(lambda path: self._fetch(path, folder, root), files):
                    pass  # the first error is raised here
            return folder
        return local_folder(source) or fetch_by_mlflow(source, folder, str(self._client.base_url))

    def _files(self, path: str) -> Iterator[str]:
        """Yield what lies under ``path``; names are the server's, so none may lead out of it."""
        for entry in self._json(_FILES, {"path": path}).get("files", ()):
            name = str(entry["path"])
            if PurePosixPath(name).name != name or name in ("", ".", ".."):
                raise InputError(f"The server {self.address} lists an odd file name: {name!r}")
            inner = f"{path}/{name}"
            if entry.get("is_dir"):
                yield from self._files(inner)
            else:
                yield inner

    def _fetch(self, path: str, folder: Path, root: str) -> None:
        target = folder / PurePosixPath(path).relative_to(root)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with self._client.stream("GET", f"{_FILES}/{path}") as answer, target.open("wb") as out:
                answer.raise_for_status()
                for part in answer.iter_bytes():
                    out.write(part)
        except (httpx.HTTPError, OSError) as error:
            raise UnreachableError(
                f"The file {path} cannot be fetched from {self.address}: {_first_line(error)}"
            ) from error

    def _get(self, path: str, params: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return an answer, or None where the server says that there is no such thing."""
        return self._json(f"{_API}{path}", params, absent=None)

    def _json(self, path: str, params: Mapping[str, Any], absent: Any = KeyError) -> Any:
        try:
            answer = self._client.get(path, params=dict(params))
            content = answer.json() if answer.content else {}
        except (httpx.HTTPError, ValueError) as error:
            raise self._unreachable(_first_line(error)) from error
        if answer.is_success and isinstance(content, dict):
            return content
        code = content.get("error_code") if isinstance(content, dict) else None
        if code == "RESOURCE_DOES_NOT_EXIST" and absent is None:
            return None
        if answer.status_code in (401, 403):
            raise self._unreachable(
                f"it refuses access (status {answer.status_code}); set MLFLOW_TRACKING_TOKEN, or "
                "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
            )
        raise self._unreachable(f"it answers with status {answer.status_code}")

    def _unreachable(self, reason: str) -> UnreachableError:
        return UnreachableError(f"The registry {self.address} cannot be reached: {reason}")


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
