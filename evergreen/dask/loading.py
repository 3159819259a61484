"""A source that the workers of a Dask cluster write to disk."""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from evergreen.dask.cluster import connected
from evergreen.dask.pieces import map_pieces_or_do_them
from evergreen.dask.settings import DaskConfig
from evergreen.data.dataset import Dataset
from evergreen.data.engine import Engine
from evergreen.data.ingest import ingest
from evergreen.data.ingest_parts import content_of, goes_in_parts, ingest_in_parts
from evergreen.data.source_config import Source

if TYPE_CHECKING:
    from distributed import Client

logger = logging.getLogger(__name__)


def ingest_on_dask(source: Source, path: Path, engine: Engine, config: DaskConfig) -> Dataset:
    """Write a source's table as `evergreen.data.ingest.ingest` does, with a cluster that runs.

    Workers write what goes in parts, if all of them see the source as this process does.
    Otherwise it is written here, and the log says why.

    Raises
    ------
    InputError
        As that does; if the source changes meanwhile, or the cluster does not suit.
    UnreachableError
        As that does; if the cluster does not answer, or has no workers.
    """
    if not config.elsewhere or not goes_in_parts(source):
        return ingest(source, path, engine)
    with connected(config) as client:
        if reason := _blind(client, source):
            logger.warning("This process loads the table alone. %s", reason)
            return ingest(source, path, engine)
        return ingest_in_parts(source, path, engine, partial(map_pieces_or_do_them, client))


def _blind(client: Client, source: Source) -> str | None:
    """Return what keeps a worker from reading the source; None if nothing does."""
    here = content_of(source)
    for address, there in client.run(content_of, source, on_error="return").items():
        if there != here and not isinstance(there, OSError):  # that worker is gone
            why = there if isinstance(there, Exception) else "it finds other files there"
            return f"The Dask worker {address} does not see it as it is here: {why}"
    return None
