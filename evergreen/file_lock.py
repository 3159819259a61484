"""One process at a time on a machine; the system frees the lock of a dead process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from evergreen.errors import UnreachableError


@contextmanager
def sole_process(path: Path, doing: str, patience: float) -> Iterator[None]:
    """Keep other processes away that take the same lock file, whose folder is there.

    ``doing`` is what each does meanwhile, for the message; ``patience`` the seconds to wait.

    Raises
    ------
    UnreachableError
        If another process holds it for longer.
    """
    lock = FileLock(path)
    try:
        lock.acquire(timeout=patience)
    except Timeout:
        raise UnreachableError(
            f"Another process has been {doing} for {patience:g} seconds (it holds {path}). "
            "Try again when it is done."
        ) from None
    try:
        yield
    finally:
        lock.release()
