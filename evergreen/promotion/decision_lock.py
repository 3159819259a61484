"""One decision at a time on a machine; the promotion log keeps machines apart."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from evergreen.file_lock import sole_process

PATIENCE: Final = 30.0  # seconds; a decision takes far less than one


@contextmanager
def decision_lock(locks: Path, name: str) -> Iterator[None]:
    """Keep decisions on one model apart; the system frees the lock of a dead process.

    Raises
    ------
    UnreachableError
        If another process holds it for too long.
    """
    locks.mkdir(parents=True, exist_ok=True)
    with sole_process(locks / f"registry-{name}.lock", f"deciding on {name!r}", PATIENCE):
        yield
