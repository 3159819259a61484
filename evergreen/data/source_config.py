"""Where a table may come from, as frozen values told apart by their ``type``.

Text may hold references to environment variables (``${DB_PASSWORD}``). They stay references
here, and so in every record of the configuration; only the moment of reading resolves them.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from evergreen.values import Value


class SklearnSource(Value):
    """A data set that comes with scikit-learn, or that its fetchers cache."""

    type: Literal["sklearn"] = "sklearn"
    name: Literal["wine", "iris", "breast_cancer", "diabetes", "california_housing"]


class CsvSource(Value):
    """One CSV file, also compressed (.gz). What is not given is detected."""

    type: Literal["csv"] = "csv"
    path: str = Field(min_length=1)
    delimiter: str | None = Field(None, min_length=1, max_length=1)
    encoding: str | None = None
    decimal: Literal[".", ","] = "."
    missing: tuple[str, ...] = Field((), description="Further spellings of a missing value.")


class ParquetSource(Value):
    """A Parquet file, a folder of them, or a glob."""

    type: Literal["parquet"] = "parquet"
    path: str = Field(min_length=1)


class SqlSource(Value):
    """A table or a query in any database that SQLAlchemy speaks to."""

    type: Literal["sql"] = "sql"
    url: str = Field(min_length=1, description="SQLAlchemy URL; use ${NAME} for the password.")
    table: str | None = Field(None, description="[schema.]table")
    query: str | None = None
    timeout: float = Field(10, gt=0, description="Seconds to wait for a connection.")

    @model_validator(mode="after")
    def _table_or_query(self) -> SqlSource:
        if (self.table is None) == (self.query is None):
            raise ValueError("needs either a table or a query")
        return self


class PagePagination(Value):
    """Pages by number: ``?page=1``, until a page is empty or short."""

    style: Literal["page"] = "page"
    param: str = "page"
    start: int = 1
    size_param: str | None = None
    size: int | None = Field(None, ge=1)


class OffsetPagination(Value):
    """Pages by offset and limit, until a page is empty or short."""

    style: Literal["offset"] = "offset"
    param: str = "offset"
    size_param: str = "limit"
    size: int = Field(1000, ge=1)


class CursorPagination(Value):
    """The answer holds the next page's cursor at a dotted path; none ends the table."""

    style: Literal["cursor"] = "cursor"
    param: str = "cursor"
    path: str = "next"


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
    url: str = Field(pattern=r"^https?://")
    format: Literal["csv", "json", "jsonl"] | None = Field(
        None, description="Default: by content type, then by the address's ending."
    )
    records: str | None = Field(None, description="Dotted path to the list of rows in the JSON.")
    headers: dict[str, str] = Field({}, description="Such as Authorization: Bearer ${TOKEN}")
    params: dict[str, str] = {}
    pagination: Pagination | None = None
    timeout: float = Field(30, gt=0, description="Seconds per request.")
    retries: int = Field(4, ge=0, le=10, description="Tries after the first one.")
    max_pages: int = Field(10_000, ge=1)


Source = Annotated[
    SklearnSource | CsvSource | ParquetSource | SqlSource | HttpSource,
    Field(discriminator="type"),
]


def source_from_shorthand(value: Any) -> Any:
    """Read ``sklearn:wine``, ``data.csv``, ``parts/*.parquet`` or ``https://…`` as a source.

    Raises
    ------
    ValueError
        If the text names no known kind of source.
    """
    if not isinstance(value, str):
        return value
    if value.startswith("sklearn:"):
        return {"type": "sklearn", "name": value.removeprefix("sklearn:")}
    if value.startswith(("http://", "https://")):
        return {"type": "http", "url": value}
    if "://" in value:
        raise ValueError("a database needs a mapping: {type: sql, url: …, table: …}")
    ending = value.lower().removesuffix(".gz").rstrip("/*")
    if ending.endswith((".csv", ".tsv", ".txt")):
        return {"type": "csv", "path": value}
    if ending.endswith((".parquet", ".pq")) or value.endswith("/"):
        return {"type": "parquet", "path": value}
    raise ValueError(
        "names no known source; allowed are sklearn:NAME, a path ending in .csv, .csv.gz, .tsv, "
        ".parquet or / (a folder of Parquet files), an http(s) address, or a mapping with a type"
    )
