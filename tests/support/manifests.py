"""What deploy/kubernetes renders to."""

from __future__ import annotations

import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
KUBERNETES = ROOT / "deploy" / "kubernetes"


def require_kubectl() -> None:
    """Skip where there is no kubectl."""
    if shutil.which("kubectl") is None:
        pytest.skip("rendering deploy/kubernetes needs kubectl 1.27 or newer on the PATH")


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
