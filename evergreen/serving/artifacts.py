"""Getting a bundle's files from where the registry says that they are."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from evergreen.errors import InputError, UnreachableError
from evergreen.promotion.bundle import open_bundle
from evergreen.serving.registry_reader import Located, RegistryReader

KEPT: Final = 3  # fetched versions of one model that stay
PATIENCE: Final = 300  # seconds for MLflow to fetch a bundle from a remote store


def bundle_folder(registry: RegistryReader, located: Located, cache: Path) -> Path:
    """Return a folder with a version's files, fetched into ``cache`` if need be.

    Files on this machine are used where they are. What was fetched before and is whole is used
    again. The bundle is yet to be verified.

    Raises
    ------
    InputError
        If there is nothing where the registry says that the bundle is.
    UnreachableError
        If the files cannot be fetched.
    """
    if (folder := local_folder(located.source)) is not None:
        return folder
    key = hashlib.sha256(f"{registry.address}\n{located.source}".encode()).hexdigest()[:12]
    target = cache / located.name / f"{located.version}-{key}"
    if _is_whole(target):
        os.utime(target)
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=target.parent, prefix=".fetching-"))
        try:
            found = registry.download(located.source, temporary)
            shutil.rmtree(target, ignore_errors=True)
            found.rename(target)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        _forget_old(target.parent)
    except OSError as error:
        if _is_whole(target):  # another process was faster
            return target
        raise UnreachableError(
            f"The bundle of version {located.version} of {located.name!r} cannot be kept in "
            f"{target}: {error.strerror or error}"
        ) from error
    return target


def local_folder(source: str) -> Path | None:
    """Return the folder that an address names on this machine, or None for a remote one.

    Raises
    ------
    InputError
        If it names a folder that is not there.
    """
    parts = urlsplit(source)
    if parts.scheme not in ("", "file"):
        return None
    folder = Path(unquote(parts.path))
    if not folder.is_dir():
        raise InputError(
            f"The bundle is missing: the registry says that it is in {folder}, and there is no "
            "such folder on this machine."
        )
    return folder


def fetch_by_mlflow(source: str, folder: Path, tracking_uri: str) -> Path:
    """Let MLflow fetch files from a remote store (S3 and the like), in a process of its own.

    Raises
    ------
    InputError
        If MLflow is not installed.
    UnreachableError
        If it cannot fetch them.
    """
    if importlib.util.find_spec("mlflow") is None:
        raise InputError(
            f"Fetching {source} needs MLflow, which is not installed here. Install it, or let a "
            "tracking server serve its artifacts (mlflow server --serve-artifacts)."
        )
    command = [sys.executable, "-m", "mlflow", "artifacts", "download"]
    command += ["--artifact-uri", source, "--dst-path", str(folder)]
    try:
        done = subprocess.run(  # noqa: S603  (no shell, and the program is ours)
            command,
            env={**os.environ, "MLFLOW_TRACKING_URI": tracking_uri},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise UnreachableError(f"{source} was not fetched within {PATIENCE} s.") from error
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip() or "no reason given").splitlines()[-1]
        raise UnreachableError(f"{source} cannot be fetched: {last}")
    return _with_manifest(folder)


def _with_manifest(folder: Path) -> Path:
    """Return ``folder``, or the one inside it that MLflow made for the files."""
    inner = [path for path in folder.iterdir() if path.is_dir()]
    return inner[0] if not (folder / "MLmodel").exists() and len(inner) == 1 else folder


def _is_whole(folder: Path) -> bool:
    if not folder.is_dir():
        return False
    try:
        open_bundle(folder)
    except (InputError, UnreachableError):
        return False
    return True


def _forget_old(folder: Path) -> None:
    """Delete all but the versions used last; what a process has open stays open for it."""
    found = [path for path in folder.iterdir() if not path.name.startswith(".")]
    found.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    for path in found[KEPT:]:
        shutil.rmtree(path, ignore_errors=True)
