"""The newest judged window of the model that is served, as the database has it.

Only read: neither the database nor its tables are made, for this is no monitor.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

PATIENCE: Final = 2  # seconds for a connection, or for a writer


class Performance(Struct, frozen=True):
    """How good the model was, and was at training: by true labels, or estimated."""

    kind: str
    metric: str
    value: float
    before: float


class NewestWindow(Struct, frozen=True):
    """What Prometheus is told of a window."""

    version: str
    action: str
    alarm: bool
    rows: int
    labelled: int
    distances: Mapping[str, float]  # of every column that was measured
    drifted: int
    performance: tuple[Performance, ...]


class Monitored(Struct, frozen=True):
    """What is known of a model's monitoring.

    ``last_check`` (Unix seconds) is of any version; ``window`` of the one that is asked for.
    """

    last_check: float | None = None
    window: NewestWindow | None = None


class WindowReader:
    """Reads the newest window from the database at a SQLAlchemy address.

    Raises
    ------
    OSError
        By `read`, if the database cannot be used.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._known: tuple[int, NewestWindow] | None = None  # the row that was read last

    def read(self, use_case: str, version: str | None) -> Monitored:
        """Return what is known; ``version`` None stands for any."""
        if self._is_absent():
            return Monitored()
        try:
            with self._engine().connect() as connection:
                return self._read(connection, use_case, version)
        except (SQLAlchemyError, ImportError, ValueError) as error:  # also a damaged row
            reason = str(getattr(error, "orig", error)).strip().splitlines()
            raise OSError(reason[0] if reason else type(error).__name__) from error

    def _read(self, connection: sa.Connection, use_case: str, version: str | None) -> Monitored:
        from evergreen.monitoring.history import WINDOWS

        if not sa.inspect(connection).has_table(WINDOWS.name):
            return Monitored()
        newest = (
            sa.select(WINDOWS.c.id, WINDOWS.c.time)
            .where(WINDOWS.c.use_case == use_case)
            .order_by(WINDOWS.c.id.desc())
            .limit(1)
        )
        last = connection.execute(newest).one_or_none()
        if last is None:
            return Monitored()
        if version is not None:
            newest = newest.where(WINDOWS.c.version == version)
        own = connection.execute(newest).one_or_none()
        if own is None:
            return Monitored(last_check=_seconds(last.time))
        if self._known is None or self._known[0] != own.id:
            row = connection.execute(sa.select(WINDOWS).where(WINDOWS.c.id == own.id)).one()
            self._known = (own.id, _figures(row))
        return Monitored(_seconds(last.time), self._known[1])

    def _engine(self) -> sa.Engine:
        url = sa.make_url(self._url)
        sqlite = url.get_backend_name() == "sqlite"
        if url.drivername in ("postgres", "postgresql"):
            url = url.set(drivername="postgresql+psycopg")
        waiting = {"timeout": PATIENCE} if sqlite else {"connect_timeout": PATIENCE}
        return sa.create_engine(url, connect_args=waiting, poolclass=NullPool, hide_parameters=True)

    def _is_absent(self) -> bool:
        """Tell whether it is a SQLite file that nobody made yet; connecting would make it."""
        try:
            url = sa.make_url(self._url)
        except SQLAlchemyError:
            return False  # connecting says what is wrong
        return (
            url.get_backend_name() == "sqlite"
            and bool(url.database)
            and not Path(str(url.database)).exists()
        )


def _figures(row: sa.Row[Any]) -> NewestWindow:
    from evergreen.monitoring.verdict import WindowVerdict

    verdict = WindowVerdict.model_validate_json(row.verdict)
    return NewestWindow(
        version=row.version,
        action=row.action,
        alarm=verdict.alarm,
        rows=row.rows,
        labelled=verdict.labelled,
        distances={
            column.column: column.distance
            for column in verdict.columns
            if column.distance is not None
        },
        drifted=len(verdict.drifted),
        performance=tuple(
            Performance(found.kind, found.metric, found.value, found.before)
            for found in verdict.performance
        ),
    )


def _seconds(moment: datetime) -> float:
    """Return Unix seconds; SQLite keeps no zone, and all moments are in UTC."""
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()
