"""The web, page by page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import chain

import pandas as pd
import pyarrow as pa

from evergreen.data.source_config import HttpSource
from evergreen.data.sources.environment import Environment, mask_url
from evergreen.data.sources.http_client import WebClient
from evergreen.data.sources.http_source import pages
from evergreen.data.sources.streams import TableStream, as_table, without_rows
from evergreen.data.sources.tidy import column_names
from evergreen.errors import InputError


def http_stream(
    source: HttpSource, environment: Environment, piece_rows: int, *, backoff: float
) -> TableStream:
    """Ask for the first page; see `evergreen.data.sources.http_source.read_http`."""
    where = f"http {mask_url(source.url)}"
    with ExitStack() as stack:
        client = stack.enter_context(WebClient(source, environment, backoff))
        following = pages(source, client, where)
        first = next(following, pd.DataFrame())
        if not first.shape[1]:
            raise InputError(f"{where}: there are no rows")
        names = column_names(list(first.columns), where)
        opened = stack.pop_all()

    def read(columns: Sequence[str], start: int) -> Iterator[pa.Table]:
        with opened:
            gathered = _gathered(chain([first], following), piece_rows)
            pieces = (as_table(frame, columns) for frame in gathered)
            yield from without_rows(pieces, start)

    shown = {"url": mask_url(source.url), "params": dict(source.params)}
    return TableStream(tuple(names), read, shown, proven=False, close=opened.close)


def _gathered(frames: Iterator[pd.DataFrame], rows: int) -> Iterator[pd.DataFrame]:
    """Put small pages together."""
    waiting: list[pd.DataFrame] = []
    for frame in frames:
        if len(frame):
            waiting.append(frame)
        if sum(map(len, waiting)) >= rows:
            yield pd.concat(waiting, ignore_index=True)
            waiting = []
    if waiting:
        yield pd.concat(waiting, ignore_index=True)
