"""Where a table may come from, as frozen values told apart by their ``type``.

Text may hold references to environment variables (``${DB_PASSWORD}``). They stay references
here, and so in every record of the configuration; only the moment of reading resolves them.
They are kept as ``$(DB_PASSWORD)``: orchestrators resolve the form with braces wherever they meet
it in a configuration, and would store the secret with the run.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from evergreen.object_stores import is_remote
from evergreen.values import Value

_BRACED = re.compile(r"\$\{([^{}]*)\}")


class SklearnSource(Value):
    """A data set that comes with scikit-learn, or that its fetchers cache."""

    type: Literal["sklearn"] = "sklearn"
    name: Literal["wine", "iris", "breast_cancer", "diabetes", "california_housing"] = Field(
        description="The data set."
    )


class CsvSource(Value):
    """One CSV file, also compressed (.gz). What is not given is detected."""

    type: Literal["csv"] = "csv"
    path: str = Field(
        min_length=1, description="Relative to the use case file, or s3://… (object store)."
    )
    delimiter: str | None = Field(
        None, min_length=1, max_length=1, description="One character. Default: detected."
    )
    encoding: str | None = Field(None, description="Such as utf-8 or cp1252. Default: detected.")
    decimal: Literal[".", ","] | None = Field(
        None, description="The decimal mark. Default: detected."
    )
    missing: tuple[str, ...] = Field((), description="Further spellings of a missing value.")


class ParquetSource(Value):
    """A Parquet file, a folder of them, or a glob."""

    type: Literal["parquet"] = "parquet"
    path: str = Field(
        min_length=1, description="Relative to the use case file, or s3://… (object store)."
    )


class SqlSource(Value):
    """A table or a query in any database that SQLAlchemy speaks to."""

    type: Literal["sql"] = "sql"
    url: str = Field(
        min_length=1, description="SQLAlchemy URL; refer to the environment for the password."
    )
    table: str | None = Field(None, description="[schema.]table")
    query: str | None = Field(None, description="A SELECT statement, instead of a table.")
    timeout: float = Field(10, gt=0, description="Seconds to wait for a connection.")

    @model_validator(mode="after")
    def _table_or_query(self) -> SqlSource:
        if (self.table is None) == (self.query is None):
            raise ValueError("needs either a table or a query")
        return self


class PagePagination(Value):
    """Pages by number: ``?page=1``, until a page is empty or short."""

    style: Literal["page"] = "page"
    param: str = Field("page", description="Query parameter of the page's number.")
    start: int = Field(1, description="Number of the first page.")
    size_param: str | None = Field(None, description="Query parameter of the page's size.")
    size: int | None = Field(None, ge=1, description="Rows per page.")

    @model_validator(mode="after")
    def _size_has_both_parts(self) -> PagePagination:
        if (self.size_param is None) != (self.size is None):
            raise ValueError("size_param and size go together")
        return self


class OffsetPagination(Value):
    """Pages by offset and limit, until a page is empty or short."""

    style: Literal["offset"] = "offset"
    param: str = Field("offset", description="Query parameter of the first row's position.")
    size_param: str = Field("limit", description="Query parameter of the page's size.")
    size: int = Field(1000, ge=1, description="Rows per page.")


class CursorPagination(Value):
    """The answer holds the next page's cursor at a dotted path; none ends the table."""

    style: Literal["cursor"] = "cursor"
    param: str = Field("cursor", description="Query parameter of the cursor.")
    path: str = Field("next", description="Dotted path to the next cursor in the answer.")


class LinkPagination(Value):
    """The Link header names the next page (RFC 8288)."""

    style: Literal["link"] = "link"


Pagination = Annotated[
    PagePagination | OffsetPagination | CursorPagination | LinkPagination,
    Field(discriminator="style"),
]


class HttpSource(Value):
    """A web address that answers with CSV, JSON or JSON lines."""

    type: Literal["http"] = "http"
    url: str = Field(pattern=r"^https?://", description="The address.")
    format: Literal["csv", "json", "jsonl"] | None = Field(
        None, description="Default: by content type, then by the address's ending."
    )
    records: str | None = Field(None, description="Dotted path to the list of rows in the JSON.")
    headers: dict[str, str] = Field({}, description="Values may refer to the environment.")
    params: dict[str, str] = Field({}, description="Query parameters.")
    pagination: Pagination | None = Field(None, description="How further pages are asked for.")
    timeout: float = Field(30, gt=0, description="Seconds per request.")
    retries: int = Field(4, ge=0, le=10, description="Tries after the first one.")
    max_pages: int = Field(10_000, ge=1, description="More pages are an error.")


class NatsSource(Value):
    """The messages of a NATS JetStream stream, each a JSON object: one row."""

    type: Literal["nats"] = "nats"
    url: str = Field(
        pattern=r"^(nats|tls)://[^/\s]+/[^/\s.*>$]+$",
        description="nats:// or tls://host:4222/STREAM; refer to the environment for credentials.",
    )
    subject: str | None = Field(
        None, pattern=r"^[^\s]+$", description="Only messages of it; may hold * and >."
    )
    name: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9_-]+$",
        description="Under which the rows that were read are kept. Default: the use case's.",
    )
    batch_rows: int = Field(10_000, ge=1, description="Rows that are kept at once.")
    timeout: float = Field(10, gt=0, description="Seconds to wait for each answer.")


Source = Annotated[
    SklearnSource | CsvSource | ParquetSource | SqlSource | HttpSource | NatsSource,
    Field(discriminator="type"),
]


def keep_references(value: Any) -> Any:
    """Return ``value`` with every ``${NAME}`` in its texts written as ``$(NAME)``."""
    if isinstance(value, str):
        return _BRACED.sub(r"$(\1)", value)
    if isinstance(value, dict):
        return {key: keep_references(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [keep_references(item) for item in value]
    return value


def source_from_shorthand(value: Any) -> Any:
    """Read ``sklearn:wine``, ``data.csv``, ``https://…`` or ``nats://…`` as a source.

    References to the environment are put into the form that is kept.

    Raises
    ------
    ValueError
        If the text names no known kind of source.
    """
    value = keep_references(value)
    if not isinstance(value, str):
        return value
    if value.startswith("sklearn:"):
        return {"type": "sklearn", "name": value.removeprefix("sklearn:")}
    if value.startswith(("http://", "https://")):
        return {"type": "http", "url": value}
    if value.startswith(("nats://", "tls://")):
        return {"type": "nats", "url": value}
    if "://" in value and not is_remote(value):
        raise ValueError("is no file; a database needs a mapping: {type: sql, url: …, table: …}")
    ending = value.lower().removesuffix(".gz").rstrip("/*")
    if ending.endswith((".csv", ".tsv", ".txt")):
        return {"type": "csv", "path": value}
    if ending.endswith((".parquet", ".pq")) or value.endswith("/"):
        return {"type": "parquet", "path": value}
    raise ValueError(
        "names no known source; allowed are sklearn:NAME, a path ending in .csv, .csv.gz, .tsv, "
        ".parquet or / (a folder of Parquet files), such a path in an object store (s3://…), "
        "an http(s) address, a stream (nats://host/STREAM), or a mapping with a type"
    )
