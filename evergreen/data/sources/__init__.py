"""Sources: one table from a library, a file, a database, the web or a stream of messages.

`read_source` resolves references to environment variables, reads, and forgets them;
`describe_source` says where a table comes from, and never shows a secret.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from evergreen.data.source_config import (
    CsvSource,
    HttpSource,
    NatsSource,
    ParquetSource,
    SklearnSource,
    Source,
    SqlSource,
)
from evergreen.data.sources.environment import Environment, mask_url

if TYPE_CHECKING:
    import pandas as pd

BACKOFF_SECONDS = 0.5
_SHOWN_QUERY = 60


def read_source(
    source: Source,
    environ: Mapping[str, str] | None = None,
    *,
    backoff: float = BACKOFF_SECONDS,
) -> pd.DataFrame:
    """Return the whole table that a source holds.

    Column names are text without surrounding blanks; the index is plain (0, 1, 2 …); column types
    are plain (numbers, booleans, text, datetimes; see `evergreen.data.sources.tidy`).

    Parameters
    ----------
    source
        As written in the use case, its references unresolved.
    environ
        Where references such as ``${DB_PASSWORD}`` are looked up. Default: ``os.environ``.
    backoff
        Seconds before a web request's second try; doubled each time, with jitter.

    Raises
    ------
    InputError
        The source does not hold a usable table, or a variable is not set.
    UnreachableError
        A file system, database, web server or broker does not answer, or refuses the credentials.
    """
    environment = Environment(os.environ if environ is None else environ)
    match source:
        case SklearnSource():
            from evergreen.data.sources.sklearn_source import read_sklearn

            return read_sklearn(source)
        case CsvSource():
            from evergreen.data.sources.csv_source import read_csv

            return read_csv(source, environment)
        case ParquetSource():
            from evergreen.data.sources.parquet_source import read_parquet

            return read_parquet(source, environment)
        case SqlSource():
            from evergreen.data.sources.sql_source import read_sql

            return read_sql(source, environment)
        case HttpSource():
            from evergreen.data.sources.http_source import read_http

            return read_http(source, environment, backoff=backoff)
        case NatsSource():
            from evergreen.data.sources.nats_source import read_nats

            return read_nats(source, environment)


def describe_source(source: Source) -> str:
    """Return where a table comes from in one line, such as ``sklearn:wine`` or ``csv /data/x.csv``.

    References stay references; passwords and secret-looking parameters written out are hidden.
    """
    match source:
        case SklearnSource():
            return f"sklearn:{source.name}"
        case SqlSource(table=str() as table):
            return f"sql {mask_url(source.url)} table {table}"
        case SqlSource():
            query = " ".join(str(source.query).split())
            shown = query if len(query) <= _SHOWN_QUERY else f"{query[: _SHOWN_QUERY - 1]}…"
            return f"sql {mask_url(source.url)} query {shown}"
        case HttpSource():
            return f"http {mask_url(source.url)}"
        case NatsSource():
            subject = f" subject {source.subject}" if source.subject else ""
            return f"nats {mask_url(source.url)}{subject}"
        case CsvSource() | ParquetSource():
            return f"{source.type} {source.path}"
