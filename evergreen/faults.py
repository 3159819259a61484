"""Which failures of the machine are the user's to mend, and how to say so."""

from __future__ import annotations

import errno
import os
import sqlite3
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime

from evergreen.errors import EvergreenError, UnreachableError
from evergreen.paths import Home

_FULL = "no space is left on the disk of {place}. Free some, or move the folder by EVERGREEN_HOME"
_READ_ONLY = "{place} cannot be written to. Change its permissions, or move it by EVERGREEN_HOME"


def as_product_error(error: BaseException, place: str) -> EvergreenError | None:
    """Return the message-bearing error behind ``error``, or None for an internal fault.

    Libraries wrap what they catch, so the whole chain of causes is searched, innermost last.
    ``place`` is the state folder, named in messages about a full or read-only disk.
    """
    # A full disk first: what stumbled over it may have taken it for a mistake in the input.
    if any(_is_full(cause) for cause in _chain(error)):
        return UnreachableError(f"The run stopped: {_FULL.format(place=place)}")
    for cause in _chain(error):
        if isinstance(cause, EvergreenError):
            return cause
    for cause in _chain(error):
        if _is_read_only(cause):
            return UnreachableError(f"The run stopped: {_READ_ONLY.format(place=place)}")
    return None


def keep_trace(error: BaseException, home: Home) -> str:
    """Keep the trace of a fault that is ours; return the message that says where it lies."""
    trace = "".join(traceback.format_exception(error))
    log = home.logs / f"fault-{datetime.now(UTC):%Y%m%dT%H%M%S}-{os.getpid()}.log"
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text(trace, encoding="utf-8")
    except OSError:
        return f"Internal fault, and its trace could not be kept in {log}:\n{trace}"
    return (
        f"Internal fault: {type(error).__name__}: {error}\n"
        f"That is Evergreen's mistake, not yours. The trace is in {log}"
    )


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or current.__context__


def _is_full(error: BaseException) -> bool:
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return True
    # Copying many files reports their failures as text only.
    text = str(error)
    return "No space left on device" in text or (_is_database(error) and "disk is full" in text)


def _is_read_only(error: BaseException) -> bool:
    if isinstance(error, OSError):
        return error.errno in (errno.EROFS, errno.EACCES, errno.EPERM)
    text = str(error)
    return _is_database(error) and (
        "readonly database" in text or "unable to open database file" in text
    )


def _is_database(error: BaseException) -> bool:
    """SQLAlchemy's and MLflow's wrappers keep SQLite's words in their own."""
    return isinstance(error, sqlite3.Error) or "sqlite3." in str(error)
