"""One decision at a time on a machine; the promotion log keeps machines apart."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout

from evergreen.errors import UnreachableError

PATIENCE: Final = 30.0  # seconds; a decision takes far less than one


@contextmanager
def decision_lock(locks: Path, name: str) -> Iterator[None]:
    """Keep decisions on one model apart; the system frees the lock of a dead process.

    Raises
    ------
    UnreachableError
        If another process holds it for too long.
    """
    path = locks / f"registry-{name}.lock"
    try:
        locks.mkdir(parents=True, exist_ok=True)
        with FileLock(path).acquire(timeout=PATIENCE):
            yield
    except Timeout:
        raise UnreachableError(
            f"Another process has been deciding on {name!r} for {PATIENCE:g} seconds "
            f"(it holds {path}). Try again when it is done."
        ) from None
