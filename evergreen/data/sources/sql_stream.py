"""SQL, by a server-side cursor."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack

import pyarrow as pa

from evergreen.data.source_config import SqlSource
from evergreen.data.sources.environment import Environment, mask_url
from evergreen.data.sources.sql_source import connected, engine_of, result_of, url_of
from evergreen.data.sources.streams import TableStream, as_array, without_rows
from evergreen.data.sources.tidy import column_names


def sql_stream(source: SqlSource, environment: Environment, piece_rows: int) -> TableStream:
    """Open a table or query; see `evergreen.data.sources.sql_source.read_sql`."""
    url = url_of(source.url, environment)
    where = f"sql {mask_url(url.render_as_string(hide_password=True))}"
    engine = engine_of(url, source.timeout, where)
    with ExitStack() as stack:
        stack.callback(engine.dispose)
        connection = stack.enter_context(connected(engine, where, environment))
        result = stack.enter_context(
            result_of(connection, source, where, environment, min(piece_rows, 10_000))
        )
        names = column_names(list(result.keys()), where)
        opened = stack.pop_all()

    def pieces() -> Iterator[pa.Table]:
        for rows in result.partitions(piece_rows):
            columns = zip(*rows, strict=True)
            yield pa.table({name: as_array(c) for name, c in zip(names, columns, strict=True)})

    def read(columns: Sequence[str], start: int) -> Iterator[pa.Table]:
        with opened:  # it translates what goes wrong on the way
            yield from without_rows((piece.select(list(columns)) for piece in pieces()), start)

    shown = {"url": mask_url(source.url), "table": source.table, "query": source.query}
    return TableStream(tuple(names), read, shown, proven=False, close=opened.close)
