"""Databases of our own state: SQLite or PostgreSQL, at a SQLAlchemy address."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Final

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError

from evergreen.errors import InputError, UnreachableError

PATIENCE: Final = 10  # seconds to wait for a connection, or for another writer
SMALLEST_DISK: Final = 1 << 20  # bytes; SQLite cannot work on less
_DRIVERS: Final = {"postgres": "postgresql+psycopg", "postgresql": "postgresql+psycopg"}


class Database:
    """Tables in the database at an address, made on first use.

    Subclasses say in ``title`` what messages call them, and make their tables in `_make_tables`.
    """

    title: ClassVar[str]

    def __init__(self, url: str) -> None:
        self.url = url

    def close(self) -> None:
        """Give the database's connections back."""
        if "_engine" in vars(self):
            self._engine.dispose()
            del self._engine

    def _make_tables(self, engine: sa.Engine) -> None:
        raise NotImplementedError

    def _lock(self, connection: sa.Connection) -> None:
        """Keep other writers away where a write must see all before it; SQLite has one anyway."""

    @cached_property
    def _engine(self) -> sa.Engine:
        engine = connect(self.url, self.title)
        self._make_tables(engine)
        return engine

    @contextmanager
    def _transaction(self, *, write: bool = False) -> Iterator[sa.Connection]:
        """Yield a connection; raise `UnreachableError` where the database cannot be used."""
        try:
            with self._engine.execution_options(immediate=write).begin() as connection:
                if write and connection.dialect.name == "postgresql":
                    self._lock(connection)
                yield connection
        except (DBAPIError, OSError) as error:
            url = sa.make_url(self.url)
            shown = url.render_as_string(hide_password=True)
            reason = str(getattr(error, "orig", error)).strip().splitlines()[0]
            if "disk I/O" in reason and _is_full(url):
                reason += ", as no space is left on the disk"
            raise UnreachableError(f"{self.title} at {shown} cannot be used: {reason}") from error


def _is_full(url: sa.URL) -> bool:
    """Tell whether a SQLite file's disk is full; SQLite itself speaks of that or of I/O errors."""
    if url.get_backend_name() != "sqlite" or not url.database:
        return False
    folder = Path(url.database).absolute().parent
    return folder.is_dir() and shutil.disk_usage(folder).free < SMALLEST_DISK


def connect(url: str, title: str) -> sa.Engine:
    """Return an engine for a log in SQLite or PostgreSQL; ``title`` is what messages call it.

    Raises
    ------
    InputError
        If the address is unusable.
    """
    try:
        parsed = sa.make_url(url)
        parsed = parsed.set(drivername=_DRIVERS.get(parsed.drivername, parsed.drivername))
        kind = parsed.get_backend_name()
        timeout = {"sqlite": {"timeout": PATIENCE}, "postgresql": {"connect_timeout": PATIENCE}}
        if kind not in timeout:
            raise InputError(
                f"{title} cannot be kept in {kind}; use sqlite or postgresql, where it "
                "can be made append-only."
            )
        engine = sa.create_engine(parsed, connect_args=timeout[kind], hide_parameters=True)
    except ArgumentError as error:
        raise InputError(f"{title}'s address is no SQLAlchemy URL: {error}") from error
    except (NoSuchModuleError, ImportError) as error:
        raise InputError(f"{title}'s database has no driver installed: {error}") from None
    if kind == "sqlite":
        if parsed.database and not parsed.database.startswith((":memory:", "file:")):
            Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
        _make_durable(engine)
    return engine


def _make_durable(engine: sa.Engine) -> None:
    """Write ahead (so that readers never wait), to the disk, one writer at a time."""

    @sa.event.listens_for(engine, "connect")
    def _configure(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # transactions are begun below
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        immediate = connection.get_execution_options().get("immediate", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")
