"""What deploy/kubernetes renders to."""

from __future__ import annotations

import shutil
import subprocess
from functools import cache
from pathlib import Path

import yaml

from tests.support.lacking import lacking

ROOT = Path(__file__).resolve().parents[2]
KUBERNETES = ROOT / "deploy" / "kubernetes"


def require_kubectl() -> None:
    """Skip where there is no kubectl, or an old one, but in continuous integration fail."""
    if minor_version() < 27:
        lacking("deploy/kubernetes needs kubectl 1.27 or newer on the PATH")


@cache
def minor_version() -> int:
    """Return the minor version of kubectl, 0 where there is none."""
    if shutil.which("kubectl") is None:
        return 0
    told = subprocess.run(
        ["kubectl", "version", "--client", "--output", "yaml"],
        capture_output=True,
        text=True,
        check=False,
    )
    found = (yaml.safe_load(told.stdout) or {}).get("clientVersion", {}).get("minor", "0")
    return int(str(found).rstrip("+") or 0)


@cache
def rendered(folder: str) -> tuple[dict, ...]:
    """Return the resources of a folder below deploy/kubernetes."""
    require_kubectl()
    done = subprocess.run(
        ["kubectl", "kustomize", KUBERNETES / folder], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return tuple(yaml.safe_load_all(done.stdout))


def found(folder: str, kind: str, name: str) -> dict:
    """Return the one resource of a kind and name."""
    (one,) = [
        resource
        for resource in rendered(folder)
        if (resource["kind"], resource["metadata"]["name"]) == (kind, name)
    ]
    return one
