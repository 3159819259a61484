"""What a worker of the run's own does before it learns; Dask calls it where this is preloaded."""

from __future__ import annotations

from typing import Any

from evergreen.data.memory import keep_freed_memory


def dask_setup(worker: Any) -> None:
    """Keep freed memory; Dask has it handed back at once, and each part would take it anew."""
    keep_freed_memory()
