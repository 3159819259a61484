"""Working files of a process: in a folder of its own, which goes with the process."""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from evergreen.paths import Home


def own_scratch() -> Path:
    """Return the folder of this process's working files; it need not exist."""
    return Home.locate().scratch / f"{platform.node()}-{os.getpid()}"


@contextmanager
def working_folder(prefix: str) -> Iterator[Path]:
    """Yield a new folder that is removed afterwards, also while others write into it."""
    own = own_scratch()
    own.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=own, prefix=prefix))
    try:
        yield folder
    finally:
        with suppress(OSError):  # what cannot be removed goes with the process
            discard(folder)
            own.rmdir()  # if nothing else is there


def discard(folder: Path) -> None:
    """Remove a folder into which others may write: whatever they still write there fails.

    Raises
    ------
    OSError
        If it cannot be renamed.
    """
    aside = folder
    if not folder.name.startswith("."):
        aside = folder.with_name(f".{folder.name}.{uuid4().hex}")
        with suppress(FileNotFoundError):
            folder.rename(aside)
    shutil.rmtree(aside, ignore_errors=True)


def sweep_scratch(home: Home) -> None:
    """Remove the working files of this process and of processes of this machine that are gone."""
    if not home.scratch.is_dir():
        return
    for folder in home.scratch.iterdir():
        machine, _, process = folder.name.rpartition("-")
        if machine == platform.node() and (process == str(os.getpid()) or not _alive(process)):
            shutil.rmtree(folder, ignore_errors=True)


def _alive(process: str) -> bool:
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return False
    except (ValueError, OverflowError, PermissionError):
        return True
    return True
