"""Streams of numbered rows, and how the tests read them."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from evergreen.data.source_config import NatsSource
from evergreen.data.sources import read_source
from evergreen.paths import Home
from tests.support.nats_server import VARIABLES, NatsServer


def source_of(server: NatsServer, stream: str, **settings) -> NatsSource:
    """Return the source that reads the stream as the user who may do all."""
    return NatsSource(url=server.url(stream), **{"timeout": 5, **settings})


def read(source: NatsSource) -> pd.DataFrame:
    """Return the whole table."""
    return read_source(source, environ=VARIABLES)


def numbered(first: int, last: int) -> list[dict]:
    """Return the rows from ``first`` to before ``last``."""
    return [{"n": n, "kind": "ab"[n % 2], "half": n / 2} for n in range(first, last)]


def kept_in(source: NatsSource) -> Path:
    """Return the folder of the rows that were read."""
    return Home.locate().streams / (source.name or source.url.rpartition("/")[2])
