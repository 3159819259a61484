"""What was told to whom and what is still to be told, in a table of the database.

One row per alert and target. A row is written before anything is sent, so an alert outlives its
process; a target may get one twice (never none), and its ``id`` tells.
"""

from __future__ import annotations

import socket
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import sqlalchemy as sa
from sqlalchemy.schema import CreateIndex, CreateTable

from evergreen.alerts.alert import RANK, Alert
from evergreen.database import Database
from evergreen.values import Value

KEPT: Final = timedelta(days=7)  # an alert that cannot be delivered is then given up
CLAIM: Final = timedelta(minutes=5)  # a process that sends and dies leaves it to others then
BATCH: Final = 100  # letters that one call sends at most, so that a backlog stops no pipeline

_METADATA: Final = sa.MetaData()
TABLE: Final = sa.Table(
    "alert_deliveries",
    _METADATA,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("event", sa.String(32), nullable=False),
    sa.Column("time", sa.Float, nullable=False),  # Unix seconds, as all times here
    sa.Column("host", sa.String(200), nullable=False),
    sa.Column("use_case", sa.String(100), nullable=False),
    sa.Column("key", sa.Text, nullable=False),
    sa.Column("rank", sa.Integer, nullable=False),  # of the severity
    sa.Column("target", sa.String(100), nullable=False),
    sa.Column("alert", sa.Text, nullable=False),
    sa.Column("before", sa.Integer, nullable=False),  # repeats that were kept back before it
    sa.Column("repeats", sa.Integer, nullable=False),  # kept back after it
    sa.Column("state", sa.String(20), nullable=False),  # pending, delivered, given_up
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("claimed_until", sa.Float, nullable=False),
    sa.Column("ended", sa.Float),
    sa.Column("error", sa.Text),
    sa.Index("alert_deliveries_recent", "use_case", "target", "key"),
)


class Letter(Value):
    """One alert on its way to one target."""

    id: int | None  # of its row; None where the outbox could not be used
    event: str  # the same for all targets, and for every try
    target: str
    alert: Alert
    time: datetime  # UTC, of the alert
    repeats: int = 0  # of the same alert that were kept back since the last one


class Outbox(Database):
    """The outbox in the database at a SQLAlchemy address: SQLite or PostgreSQL.

    All methods raise `UnreachableError` if the database cannot be used, `InputError` if its
    address is unusable.
    """

    title = "The alerts' outbox"

    def add(
        self,
        alert: Alert,
        targets: Sequence[str],
        repeat_after: timedelta,
        now: datetime | None = None,
    ) -> tuple[str, ...]:
        """Put an alert into the outbox, and return the targets for which it is no repeat.

        A repeat is counted instead. One that is more severe than what was told is no repeat.
        """
        moment = now or datetime.now(UTC)
        event = uuid.uuid4().hex
        told = []
        with self._transaction(write=True) as connection:
            for target in targets:
                last = _last(connection, alert, target)
                since = (moment - repeat_after).timestamp()
                known = last is not None and last.time > since and last.state != "given_up"
                if last is not None and known and last.rank >= RANK[alert.severity]:
                    again = {"repeats": TABLE.c.repeats + 1}
                    connection.execute(TABLE.update().where(TABLE.c.id == last.id).values(again))
                    continue
                row = _row(alert, target, event, moment)
                row["before"] = 0 if last is None else last.repeats
                connection.execute(TABLE.insert().values(row))
                told.append(target)
        return tuple(told)

    def claim(
        self, use_case: str, targets: Sequence[str], now: datetime | None = None
    ) -> tuple[Letter, ...]:
        """Take what is to be sent to ``targets``, the oldest first; no other process gets it."""
        moment = (now or datetime.now(UTC)).timestamp()
        free = (TABLE.c.state == "pending") & (TABLE.c.claimed_until <= moment)
        mine = (TABLE.c.use_case == use_case) & TABLE.c.target.in_(targets)
        query = sa.select(TABLE).where(free, mine).order_by(TABLE.c.id).limit(BATCH)
        taken = []
        with self._transaction(write=True) as connection:
            for row in connection.execute(query).mappings().all():
                change = (
                    TABLE.update()
                    .where(TABLE.c.id == row["id"], free)
                    .values(claimed_until=moment + CLAIM.total_seconds())
                )
                if connection.execute(change).rowcount == 1:
                    taken.append(_letter(row))
        return tuple(taken)

    def delivered(self, letter: Letter) -> None:
        """Note that a letter has arrived."""
        self._update(letter, state="delivered", ended=datetime.now(UTC).timestamp(), error=None)

    def kept(self, letter: Letter, reason: str) -> None:
        """Note that a letter could not be delivered; the next call tries again."""
        attempts = TABLE.c.attempts + 1
        self._update(letter, attempts=attempts, claimed_until=0.0, error=reason[:2000])

    def released(self, letter: Letter) -> None:
        """Give a letter back that was not tried."""
        self._update(letter, claimed_until=0.0)

    def give_up(self, use_case: str, now: datetime | None = None) -> tuple[Letter, ...]:
        """Mark and return what could not be delivered for `KEPT`."""
        moment = now or datetime.now(UTC)
        old = (
            (TABLE.c.use_case == use_case)
            & (TABLE.c.state == "pending")
            & (TABLE.c.time < (moment - KEPT).timestamp())
        )
        with self._transaction(write=True) as connection:
            found = connection.execute(sa.select(TABLE).where(old)).mappings().all()
            ended = {"state": "given_up", "ended": moment.timestamp()}
            connection.execute(TABLE.update().where(old).values(ended))
        return tuple(_letter(row) for row in found)

    def _update(self, letter: Letter, **values: object) -> None:
        with self._transaction(write=True) as connection:
            connection.execute(TABLE.update().where(TABLE.c.id == letter.id).values(values))

    def _make_tables(self, engine: sa.Engine) -> None:
        with engine.execution_options(immediate=True).begin() as connection:
            if engine.dialect.name == "postgresql":
                self._lock(connection)
            connection.execute(CreateTable(TABLE, if_not_exists=True))
            for index in TABLE.indexes:
                connection.execute(CreateIndex(index, if_not_exists=True))

    def _lock(self, connection: sa.Connection) -> None:
        # One writer at a time, as in SQLite: two must not tell the same alert.
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(hashtext('alert_deliveries'))"))


def _last(connection: sa.Connection, alert: Alert, target: str) -> sa.Row[tuple[object]] | None:
    same = (
        (TABLE.c.use_case == alert.use_case)
        & (TABLE.c.target == target)
        & (TABLE.c.key == alert.key)
    )
    query = sa.select(TABLE).where(same).order_by(TABLE.c.id.desc()).limit(1)
    return connection.execute(query).one_or_none()


def _row(alert: Alert, target: str, event: str, moment: datetime) -> dict[str, object]:
    return {
        "event": event,
        "time": moment.timestamp(),
        "host": socket.gethostname(),
        "use_case": alert.use_case,
        "key": alert.key,
        "rank": RANK[alert.severity],
        "target": target,
        "alert": alert.model_dump_json(),
        "repeats": 0,
        "state": "pending",
        "attempts": 0,
        "claimed_until": 0.0,
    }


def _letter(row: sa.RowMapping) -> Letter:
    return Letter(
        id=row["id"],
        event=row["event"],
        target=row["target"],
        alert=Alert.model_validate_json(row["alert"]),
        time=datetime.fromtimestamp(row["time"], UTC),
        repeats=row["before"],
    )
