"""Pagination: which address comes after a page, in four styles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import httpx

from evergreen.data.source_config import (
    CursorPagination,
    LinkPagination,
    OffsetPagination,
    PagePagination,
    Pagination,
)
from evergreen.data.sources.json_records import is_missing, lookup, similar_path
from evergreen.errors import InputError


@dataclass(frozen=True)
class PageFacts:
    """What the way to the next page depends on.

    ``number`` counts from 1; ``first_rows`` are the rows of the first page, ``total_rows`` those of
    all pages so far; ``document`` is the parsed JSON, ``link`` the ``next`` of the Link header.
    """

    number: int
    rows: int
    first_rows: int
    total_rows: int
    document: Any
    link: str | None


def first_url(base: httpx.URL, pagination: Pagination | None) -> httpx.URL:
    """Return the address of the first page."""
    match pagination:
        case PagePagination(param=param, start=start):
            return base.copy_merge_params({param: start, **_size(pagination)})
        case OffsetPagination(param=param):
            return base.copy_merge_params({param: 0, **_size(pagination)})
        case _:
            return base


def next_url(
    base: httpx.URL, current: httpx.URL, pagination: Pagination, page: PageFacts, where: str
) -> httpx.URL | None:
    """Return the address after ``page``, or None where the table ends.

    Numbered pages end with one that is empty or shorter than the first. The first page alone says
    nothing: a server may give fewer rows per page than it was asked for.

    Raises
    ------
    InputError
        A cursor is no text or number, or its path seems misspelt.
    """
    match pagination:
        case PagePagination(param=param, start=start):
            if _is_last(page):
                return None
            return base.copy_merge_params({param: start + page.number, **_size(pagination)})
        case OffsetPagination(param=param):
            if _is_last(page):
                return None
            return base.copy_merge_params({param: page.total_rows, **_size(pagination)})
        case CursorPagination():
            return _at_cursor(base, current, pagination, page, where)
        case LinkPagination():
            return current.join(page.link) if page.link else None


def may_end_with_404(pagination: Pagination | None) -> bool:
    """Tell whether asking for a page after the last one is normal, and often answered by 404."""
    return isinstance(pagination, PagePagination | OffsetPagination)


def _is_last(page: PageFacts) -> bool:
    return page.rows == 0 or page.rows < page.first_rows


def _size(pagination: PagePagination | OffsetPagination) -> dict[str, int]:
    if pagination.size_param is None or pagination.size is None:
        return {}
    return {pagination.size_param: pagination.size}


def _at_cursor(
    base: httpx.URL, current: httpx.URL, pagination: CursorPagination, page: PageFacts, where: str
) -> httpx.URL | None:
    """Return the address with the cursor; a cursor may also be the whole next address."""
    if not isinstance(page.document, dict):
        raise InputError(f"{where}: pagination by cursor needs a JSON object that holds the cursor")
    cursor = lookup(page.document, pagination.path)
    if is_missing(cursor):
        near = similar_path(page.document, pagination.path)
        if near and page.number == 1:
            raise InputError(
                f"{where}: data.source.pagination.path: nothing at {pagination.path!r}; "
                f"did you mean {near!r}?"
            )
        return None
    if cursor is None or cursor is False or cursor == "":
        return None
    if isinstance(cursor, bool) or not isinstance(cursor, str | int):
        raise InputError(
            f"{where}: data.source.pagination.path: {pagination.path!r} holds no cursor (text or "
            "number)"
        )
    if isinstance(cursor, str) and cursor.startswith(("http://", "https://", "/", "?")):
        return current.join(cursor)
    return base.copy_merge_params({pagination.param: cursor})
