"""Where a model comes from: the code, the libraries, the machine, and the key of a training.

Two trainings with the same key give the same model, so the key tells whether anything changed.
"""

from __future__ import annotations

import getpass
import hashlib
import importlib.metadata
import json
import os
import platform
import socket
import subprocess
from functools import cache
from pathlib import Path

from evergreen.config import UseCase
from evergreen.values import Value

PACKAGE = Path(__file__).resolve().parent

# The libraries whose version changes what a model becomes or predicts.
MODELLING_LIBRARIES = (
    "numpy",
    "pandas",
    "scipy",
    "scikit-learn",
    "xgboost-cpu",
    "xgboost",
    "lightgbm",
    "optuna",
    "skops",
    "onnx",
    "onnxruntime",
)

# What decides a model; the rest of the core judges, shows or serves it.
TRAINING_CODE = ("config.py", "data", "expressions", "features", "training")
_SHARING = ("jobs", "spread", "dask")  # who does the work of a training


class Environment(Value):
    """What a run took place in. None where it could not be found out."""

    python: str
    versions: dict[str, str]  # library: version
    git_commit: str | None
    git_dirty: bool | None  # whether tracked files differ from the commit
    user: str
    host: str
    machine: str  # such as "Linux x86_64, 8 cores"


def environment() -> Environment:
    """Describe the present process."""
    commit, dirty = git_state()
    return Environment(
        python=platform.python_version(),
        versions=library_versions(),
        git_commit=commit,
        git_dirty=dirty,
        user=current_user(),
        host=socket.gethostname(),
        machine=f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
    )


@cache
def library_versions() -> dict[str, str]:
    """Return the installed modelling libraries with their versions."""
    versions = {}
    for name in MODELLING_LIBRARIES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


@cache
def code_fingerprint(*parts: str) -> str:
    """Return the SHA-256 (hex) of the core's source files and the modelling libraries' versions.

    ``parts`` limits it to these files and folders of the package. The files do not change under
    a running process, so they are read once.
    """
    digest = hashlib.sha256(json.dumps(library_versions(), sort_keys=True).encode())
    for path in sorted(PACKAGE.rglob("*.py")):
        if parts and path.relative_to(PACKAGE).parts[0] not in parts:
            continue
        digest.update(path.relative_to(PACKAGE).as_posix().encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def training_key(data_fingerprint: str, use_case: UseCase, code: str | None = None) -> str:
    """Return the SHA-256 (hex) of everything that decides what training gives.

    ``data_fingerprint`` is that of the raw table, ``code`` that of the code (default: that of the
    present `TRAINING_CODE`). What only judges or describes a model (gate, evaluation, quality,
    descriptions), where the table lies, and how many processes or pods share the work do not count.
    """
    told = use_case.model_dump(mode="json")
    data = told["data"]
    training = told["training"]
    parts = {
        "data_fingerprint": data_fingerprint,
        "code": code_fingerprint(*TRAINING_CODE) if code is None else code,
        "task": told["task"],
        "roles": {
            name: data[name] for name in ("target", "timestamp", "group", "ignore", "positive")
        },
        "contract": told["contract"],
        "split": told["split"],
        "features": told["features"],
        "training": {key: training[key] for key in training if key not in _SHARING},
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def git_state(folder: Path = PACKAGE.parent) -> tuple[str | None, bool | None]:
    """Return the commit checked out in ``folder``, and whether tracked files differ from it."""
    commit = _git(folder, "rev-parse", "HEAD")
    if not commit:
        return None, None
    changes = _git(folder, "status", "--porcelain", "--untracked-files=no")
    return commit, None if changes is None else bool(changes)


def current_user() -> str:
    """Return the name of the user who runs the process."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container may run under a number without a name
        return f"uid {os.getuid()}"


def _git(folder: Path, *arguments: str) -> str | None:
    """Return what git says; None where there is no git, no repository, or no answer."""
    try:
        done = subprocess.run(  # noqa: S603
            ["git", "-C", str(folder), *arguments],  # noqa: S607
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
