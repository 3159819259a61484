"""A lease: the right to do something alone, kept in a database, that ends by itself.

One row per name. It is taken by one statement that the database carries out whole (INSERT ... ON
CONFLICT DO UPDATE ... WHERE), so that of several processes exactly one gets it, in SQLite and in
PostgreSQL. Its holder renews it; that of a process that was killed is free at once for whoever can
see that the process is gone (the same machine), and for all others when it expires
(Gray & Cheriton 1989, Leases, SOSP).
"""

from __future__ import annotations

import os
import secrets
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import psutil
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.schema import CreateTable

from evergreen.database import Database
from evergreen.errors import UnreachableError
from evergreen.values import Value

TERM: Final = timedelta(minutes=2)  # an unrenewed lease ends after it
RENEWALS: Final = 4  # within one term, so that a slow database costs no lease
STUCK: Final = 5.0  # seconds after which a renewal under way is not waited for

_METADATA: Final = sa.MetaData()
TABLE: Final = sa.Table(
    "leases",
    _METADATA,
    sa.Column("name", sa.String(200), primary_key=True),
    sa.Column("token", sa.String(40), nullable=False),
    sa.Column("host", sa.String(200), nullable=False),
    sa.Column("process", sa.Integer, nullable=False),
    sa.Column("started", sa.Float, nullable=False),  # the process, in Unix seconds
    sa.Column("purpose", sa.Text, nullable=False),
    sa.Column("acquired", sa.Float, nullable=False),  # Unix seconds
    sa.Column("expires", sa.Float, nullable=False),
)


class Holder(Value):
    """Who holds a lease. Times are UTC; ``started`` is that of its process, in Unix seconds."""

    name: str
    token: str
    host: str
    process: int
    started: float
    purpose: str
    acquired: datetime
    expires: datetime

    @property
    def is_dead(self) -> bool:
        """Whether it is a process of this machine that has ended; False where nobody can tell."""
        if self.host != socket.gethostname():
            return False
        return _started(self.process) != self.started


class Leases(Database):
    """The leases in the database at a SQLAlchemy address: SQLite or PostgreSQL.

    All methods raise `UnreachableError` if the database cannot be used, `InputError` if its
    address is unusable.
    """

    title = "The leases"

    def acquire(
        self, name: str, purpose: str, *, term: timedelta = TERM, now: datetime | None = None
    ) -> Holder:
        """Take the lease ``name`` where it is free, expired, or its holder is dead.

        Raises
        ------
        UnreachableError
            If another process holds it; the message says which, since when, and what for.
        """
        moment = now or datetime.now(UTC)
        holder = Holder(
            name=name,
            token=secrets.token_hex(16),
            host=socket.gethostname(),
            process=os.getpid(),
            started=_started(os.getpid()) or 0.0,
            purpose=purpose,
            acquired=moment,
            expires=moment + term,
        )
        found = self.holder(name)
        dead = found.token if found is not None and found.is_dead else None
        if self._take(holder, dead):
            return holder
        raise UnreachableError(_held(self.holder(name), name, moment))

    def renew(self, holder: Holder, *, term: timedelta = TERM, now: datetime | None = None) -> bool:
        """Put the end off; False where another process has taken the lease meanwhile."""
        moment = now or datetime.now(UTC)
        change = (
            TABLE.update()
            .where(TABLE.c.name == holder.name, TABLE.c.token == holder.token)
            .values(expires=(moment + term).timestamp())
        )
        with self._transaction(write=True) as connection:
            return connection.execute(change).rowcount == 1

    def release(self, holder: Holder) -> None:
        """Give the lease back; what another process has taken meanwhile stays with it."""
        mine = (TABLE.c.name == holder.name) & (TABLE.c.token == holder.token)
        with self._transaction(write=True) as connection:
            connection.execute(TABLE.delete().where(mine))

    def holder(self, name: str) -> Holder | None:
        """Return who holds a lease, or held it last without giving it back."""
        with self._transaction() as connection:
            query = sa.select(TABLE).where(TABLE.c.name == name)
            row = connection.execute(query).mappings().one_or_none()
        if row is None:
            return None
        times = {key: datetime.fromtimestamp(row[key], UTC) for key in ("acquired", "expires")}
        return Holder(**{**row, **times})

    @contextmanager
    def held(self, name: str, purpose: str, *, term: timedelta = TERM) -> Iterator[Held]:
        """Hold a lease, renewed by a thread, until the block ends.

        Raises
        ------
        UnreachableError
            If another process holds it.
        """
        holder = self.acquire(name, purpose, term=term)
        held = Held(self, holder, term)
        try:
            yield held
        finally:
            held.stop()
            self.release(holder)

    def _take(self, holder: Holder, dead: str | None) -> bool:
        """Write the row, where there is none, an expired one, or that with the token ``dead``."""
        times = {key: getattr(holder, key).timestamp() for key in ("acquired", "expires")}
        row: dict[str, Any] = {**holder.model_dump(), **times}
        make = postgresql.insert if self._engine.dialect.name == "postgresql" else sqlite.insert
        statement: Any = make(TABLE).values(row)
        free = TABLE.c.expires <= times["acquired"]
        if dead is not None:
            free |= TABLE.c.token == dead
        upsert = statement.on_conflict_do_update(index_elements=["name"], set_=row, where=free)
        with self._transaction(write=True) as connection:
            return connection.execute(upsert.returning(TABLE.c.token)).scalar() == holder.token

    def _make_tables(self, engine: sa.Engine) -> None:
        with engine.execution_options(immediate=True).begin() as connection:
            if engine.dialect.name == "postgresql":
                # Two processes that make the same table at once would trip over each other.
                connection.execute(sa.text("SELECT pg_advisory_xact_lock(hashtext('leases'))"))
            connection.execute(CreateTable(TABLE, if_not_exists=True))


class Held:
    """A lease in use, renewed in the background."""

    def __init__(self, leases: Leases, holder: Holder, term: timedelta) -> None:
        self.holder = holder
        self._leases = leases
        self._term = term
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="lease", daemon=True)
        self._thread.start()

    def require(self) -> None:
        """Make sure that the lease is still ours, before something that must happen once.

        Raises
        ------
        UnreachableError
            If it ran out (the machine slept, or the database was away) and another took it.
        """
        if not self._leases.renew(self.holder, term=self._term):
            raise UnreachableError(
                f"The lease {self.holder.name!r} ran out and was taken by another process: "
                "this run stops, and that one goes on."
            )

    def stop(self) -> None:
        """End the renewals; one that is stuck is left behind.

        Ctrl-C can strike while the main thread has taken a lock that a renewal needs, such as the
        one of `logging`, and then nobody gives that back.
        """
        self._ended.set()
        self._thread.join(timeout=STUCK)

    def _renew(self) -> None:
        while not self._ended.wait(self._term.total_seconds() / RENEWALS):
            try:
                if not self._leases.renew(self.holder, term=self._term):
                    return  # `require` tells
            except UnreachableError:
                continue  # there are further tries before the lease ends


def _started(process: int) -> float | None:
    """Return when a process of this machine began, in Unix seconds; None where there is none.

    Numbers are given again; number and beginning together are not.
    """
    try:
        return round(psutil.Process(process).create_time(), 2)
    except psutil.Error:
        return None


def _held(found: Holder | None, name: str, now: datetime) -> str:
    if found is None:  # given back between the two looks
        return f"The lease {name!r} was held until just now. Try again."
    left = max(0, round((found.expires - now).total_seconds()))
    return (
        f"{found.purpose} is under way (process {found.process} on {found.host}, since "
        f"{found.acquired:%Y-%m-%d %H:%M:%S} UTC), so this run does not start. Wait for it, or end "
        f"it: without a sign of life its lease ends in {left} s."
    )
