"""Where a step finds the run's folders, and how reports come back from another machine."""

from __future__ import annotations

import tempfile
from pathlib import Path

from zenml import get_step_context
from zenml.artifact_stores import BaseArtifactStore
from zenml.client import Client

from evergreen.paths import Home
from evergreen.scratch import own_scratch


def scratch_file(name: str) -> Path:
    """Return a path for a file that lives until the artifact store has its copy."""
    folder = own_scratch()
    folder.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(dir=folder)) / name


def run_name() -> str:
    """Return the name of the pipeline run that the calling step belongs to."""
    return get_step_context().pipeline_run.name


def report_folder(use_case: str) -> Path:
    """Return the (existing) folder of this run's reports."""
    folder = Home.locate().run_reports(use_case, run_name())
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def keep_reports(folder: Path) -> None:
    """Copy a folder of reports into the artifact store, unless that is on this machine as well.

    Elsewhere the folder goes with the step's pod; `fetch_reports` brings the copy home.
    """
    store = Client().active_stack.artifact_store
    if store.config.is_local:
        return
    base = _kept(store, Home.locate(), folder)
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            target = f"{base}/{path.relative_to(folder).as_posix()}"
            store.makedirs(target.rsplit("/", 1)[0])
            with store.open(target, "wb") as remote:
                remote.write(path.read_bytes())


def fetch_reports(folder: Path) -> None:
    """Copy what steps on other machines kept of a folder of reports into it."""
    store = Client().active_stack.artifact_store
    if store.config.is_local:
        return
    base = _kept(store, Home.locate(), folder)
    if not store.exists(base):
        return
    for place, _, names in store.walk(base):
        inside = str(place).rsplit(base, 1)[-1].strip("/")
        for name in names:
            target = folder / inside / str(name)
            target.parent.mkdir(parents=True, exist_ok=True)
            with store.open(f"{str(place).rstrip('/')}/{name!s}", "rb") as remote:
                target.write_bytes(remote.read())


def _kept(store: BaseArtifactStore, home: Home, folder: Path) -> str:
    """Return the artifact store's place of a folder of reports."""
    return f"{store.path.rstrip('/')}/reports/{folder.relative_to(home.reports).as_posix()}"
