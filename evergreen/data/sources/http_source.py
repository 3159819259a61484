"""The web: CSV, JSON or JSON lines from an HTTP(S) address, page by page where it is paginated."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from typing import Any, Literal

import httpx
import pandas as pd

from evergreen.data.source_config import HttpSource
from evergreen.data.sources.csv_dialect import find_encoding
from evergreen.data.sources.csv_source import GZIP_MAGIC, parse_csv
from evergreen.data.sources.environment import Environment, mask_url
from evergreen.data.sources.http_client import WebClient
from evergreen.data.sources.http_pages import PageFacts, first_url, may_end_with_404, next_url
from evergreen.data.sources.json_records import parse_json, parse_json_lines, table_from_json
from evergreen.data.sources.tidy import tidy
from evergreen.errors import InputError

Format = Literal["csv", "json", "jsonl"]

_ENDINGS: dict[str, Format] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
}
_JSON_LINES = ("ndjson", "jsonl", "jsonlines", "json-lines", "json-seq")
_HTML = (b"<!doctype html", b"<html")


def read_http(source: HttpSource, environment: Environment, *, backoff: float) -> pd.DataFrame:
    """Return the table at a web address, with the rows of all pages.

    Parameters
    ----------
    backoff
        Seconds before the second try; doubled each time, with jitter.

    Raises
    ------
    InputError
        The answer is no table, the pages go in circles, or the address is wrong.
    UnreachableError
        The server does not answer, goes on failing, or refuses the credentials.
    """
    where = f"http {mask_url(source.url)}"
    with WebClient(source, environment, backoff) as client:
        frames = list(pages(source, client, where))
    rows = [frame for frame in frames if len(frame)]
    return tidy(pd.concat(rows, ignore_index=True) if rows else frames[0], where)


def pages(source: HttpSource, client: WebClient, where: str) -> Iterator[pd.DataFrame]:
    """Yield the table of every page, until the pagination ends; raises as `read_http` does."""
    url: httpx.URL | None = first_url(client.base, source.pagination)
    seen: set[httpx.URL] = set()
    first = last = None
    total = 0
    while url is not None:
        number = len(seen) + 1
        label = f"{where} (page {number})" if number > 1 else where
        _require_progress(url, seen, number, source, label)
        seen.add(url)
        missing_ok = number > 1 and may_end_with_404(source.pagination)
        response = client.get(url, label, missing_ok=missing_ok)
        if response is None:
            break
        frame, document = _parse(response, source, label, first=number == 1)
        if first is None:
            first = frame
        elif len(frame) and last is not None:
            _require_new_rows(frame, first, last, label)
        last = frame
        total += len(frame)
        yield frame
        if source.pagination is None:
            break
        facts = PageFacts(
            number=number,
            rows=len(frame),
            first_rows=len(first),
            total_rows=total,
            document=document,
            link=response.links.get("next", {}).get("url"),
        )
        url = next_url(client.base, response.url, source.pagination, facts, label)


def _require_progress(
    url: httpx.URL, seen: set[httpx.URL], number: int, source: HttpSource, label: str
) -> None:
    if url in seen:
        raise InputError(f"{label}: the pages go in a circle; correct data.source.pagination")
    if number > source.max_pages:
        raise InputError(
            f"{label}: there are more pages than data.source.max_pages ({source.max_pages}); "
            "raise it, or ask for larger pages"
        )


def _require_new_rows(
    frame: pd.DataFrame, first: pd.DataFrame, last: pd.DataFrame, label: str
) -> None:
    """Raise `InputError` where a page repeats the last one, or has none of the known columns."""
    if len(frame) > 1 and frame.equals(last):
        raise InputError(
            f"{label}: repeats the page before; the server seems to ignore the parameter in "
            "data.source.pagination"
        )
    if len(first) and not set(frame.columns) & set(first.columns):
        raise InputError(
            f"{label}: has other columns ({', '.join(map(str, frame.columns[:5]))}) than the first "
            f"page ({', '.join(map(str, first.columns[:5]))}); does it lack a header?"
        )


def _parse(
    response: httpx.Response, source: HttpSource, where: str, *, first: bool
) -> tuple[pd.DataFrame, Any]:
    """Return a page's table and, for JSON, the whole document."""
    body = _decompressed(response.content, where)
    if not body.strip():
        if first:
            raise InputError(f"{where}: the answer is empty")
        return pd.DataFrame(), None
    kind = source.format or _format(response)
    looks_like_html = body[:1000].lstrip().lower().startswith(_HTML)
    if looks_like_html or (kind is None and "html" in _content_type(response)):
        raise InputError(
            f"{where}: answers with a web page (HTML), not data; is it a login page, or a page "
            "about the data instead of the data?"
        )
    if kind == "json":
        document = parse_json(body, where)
        return table_from_json(document, source.records, where), document
    if kind == "jsonl":
        return parse_json_lines(body, where), None
    if kind == "csv":
        encoding = _encoding(body, response, where)
        return parse_csv(lambda: io.BytesIO(body), where, encoding=encoding), None
    raise InputError(
        f"{where}: answers with content type {_content_type(response) or 'none'!r}, which tells no "
        "format; give data.source.format: csv, json or jsonl"
    )


def _decompressed(body: bytes, where: str) -> bytes:
    """Return the content of a compressed file; transfer compression is already undone."""
    if not body.startswith(GZIP_MAGIC):
        return body
    try:
        return gzip.decompress(body)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(
            f"{where}: the compressed content is damaged or cut short: {error}"
        ) from error


def _format(response: httpx.Response) -> Format | None:
    """Tell the format by content type, else by the ending of the address."""
    content_type = _content_type(response)
    if any(word in content_type for word in _JSON_LINES):
        return "jsonl"
    if content_type.endswith(("/json", "+json")):
        return "json"
    if "csv" in content_type or "tab-separated" in content_type:
        return "csv"
    if "html" in content_type:
        return None
    path = response.url.path.lower().removesuffix(".gz")
    return next((kind for ending, kind in _ENDINGS.items() if path.endswith(ending)), None)


def _content_type(response: httpx.Response) -> str:
    return response.headers.get("content-type", "").partition(";")[0].strip().lower()


def _encoding(body: bytes, response: httpx.Response, where: str) -> str:
    """Trust the declared charset only where the content is not Unicode: it is often a default."""
    found = find_encoding(lambda: io.BytesIO(body), where)
    declared = response.charset_encoding
    return found if found.startswith("utf") or not declared else declared
