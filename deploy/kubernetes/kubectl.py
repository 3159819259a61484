"""What kubectl and its kustomize are asked for."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from evergreen.errors import InputError, UnreachableError

HERE: Final = Path(__file__).resolve().parent
OURS: Final = (
    "evergreen-serve",
    "evergreen-train",
    "evergreen-test-postgres",
    "evergreen-test-s3",
)
_PATIENCE: Final = "30s"  # for one answer of the cluster

Resource = dict[str, Any]


@dataclass(frozen=True)
class Kubectl:
    """kubectl for one cluster: the current context of the user's configuration, or another one."""

    context: str | None = None

    def run(
        self, *arguments: str, stdin: str | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end.

        Raises
        ------
        InputError
            If there is no kubectl, or the cluster refuses what is asked.
        UnreachableError
            If the cluster does not answer.
        """
        program = shutil.which("kubectl")
        if program is None:
            raise InputError("kubectl is not on the PATH; install version 1.27 or newer.")
        chosen = [] if self.context is None else ["--context", self.context]
        done = subprocess.run(  # noqa: S603  (no shell)
            [program, *chosen, *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )
        if check and done.returncode:
            raise _explained(arguments, done.stderr.strip() or done.stdout.strip())
        return done

    def current_context(self) -> str:
        """Return the context that is current in the user's configuration."""
        return self.run("config", "current-context").stdout.strip()

    def get(self, kind: str, namespace: str | None = None, *more: str) -> list[Resource]:
        """Return the resources of a kind; none where the namespace is not there."""
        where = [] if namespace is None else ["--namespace", namespace]
        answer = self.run(
            "get", kind, *where, "--output", "json", "--request-timeout", _PATIENCE, *more
        )
        return list(json.loads(answer.stdout)["items"])

    def names(self, kind: str, namespace: str | None = None) -> set[str]:
        """Return the names of the resources of a kind."""
        return {one["metadata"]["name"] for one in self.get(kind, namespace)}

    def api_versions(self) -> set[str]:
        """Return the groups and versions that the cluster knows, such as ``apps/v1``."""
        return set(self.run("api-versions", "--request-timeout", _PATIENCE).stdout.split())

    def apply(self, resources: Iterable[Resource]) -> str:
        """Make the cluster match, and return what changed."""
        return self.run("apply", "--filename", "-", stdin=yaml.safe_dump_all(resources)).stdout

    def delete(self, resources: Iterable[Resource]) -> str:
        """Delete what is there of these, and wait until it is gone; return what was deleted."""
        given = yaml.safe_dump_all(resources)
        return self.run("delete", "--ignore-not-found", "--filename", "-", stdin=given).stdout


def render(overlay: str, registry: str | None = None, tag: str | None = None) -> list[Resource]:
    """Return what an overlay describes, with our images from a registry and under a tag.

    Parameters
    ----------
    overlay
        The name of a folder in deploy/kubernetes/overlays, or the path of another one.

    Raises
    ------
    InputError
        If there is no such overlay, or it cannot be rendered.
    """
    folder = HERE / "overlays" / overlay
    folder = folder if folder.is_dir() else Path(overlay).resolve()
    if not any((folder / name).is_file() for name in ("kustomization.yaml", "Kustomization")):
        known = ", ".join(sorted(path.name for path in (HERE / "overlays").iterdir()))
        raise InputError(f"There is no overlay {overlay!r}; there are {known}, or name a folder.")
    with tempfile.TemporaryDirectory() as temporary:
        images = [
            {"name": name}
            | ({"newName": f"{registry}/{name}"} if registry else {})
            | ({"newTag": tag} if tag else {})
            for name in OURS
            if registry or tag
        ]
        top = {"resources": [os.path.relpath(folder, Path(temporary).resolve())], "images": images}
        Path(temporary, "kustomization.yaml").write_text(yaml.safe_dump(top), encoding="utf-8")
        text = Kubectl().run("kustomize", temporary).stdout
    return [one for one in yaml.safe_load_all(text) if one is not None]


def images(resources: Iterable[Resource]) -> set[str]:
    """Return the images that the pods of these resources run."""
    pods = [
        one["spec"]["template"]["spec"]
        for one in resources
        if one["kind"] in ("Deployment", "StatefulSet")
    ]
    return {
        container["image"]
        for pod in pods
        for container in (*pod["containers"], *pod.get("initContainers", ()))
    }


def _explained(arguments: tuple[str, ...], said: str) -> InputError | UnreachableError:
    """Return the error that kubectl's words stand for."""
    last = said.splitlines()[-1] if said else "it gave no reason"
    unreachable = ("connect", "timeout", "timed out", "no such host", "refused", "Unable to")
    if any(word in last for word in unreachable) and "forbidden" not in last.lower():
        return UnreachableError(f"The cluster does not answer (kubectl {arguments[0]}): {last}")
    return InputError(f"kubectl {arguments[0]} failed: {said}")
