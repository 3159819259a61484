"""The deployment log: what was brought to which servers, in a table that is only ever added to.

A deployment that changes something is written twice: as ``started`` before, and as what became of
it after, which names the start in ``closes``. A start that nothing closes was cut short; the next
deployment finds what it left by looking at the servers themselves.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, Literal, get_args

import sqlalchemy as sa
from pydantic import TypeAdapter

from evergreen.database import Database
from evergreen.deployment.values import Check, ServerState
from evergreen.promotion.append_only import create_append_only
from evergreen.values import Value

Action = Literal["started", "deployed", "failed", "removed"]

TABLE: Final = sa.Table(
    "deployment_log",
    sa.MetaData(),
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("time", sa.DateTime(timezone=True), nullable=False),
    sa.Column("who", sa.String(200), nullable=False),
    sa.Column("host", sa.String(200), nullable=False),
    sa.Column("use_case", sa.String(100), nullable=False, index=True),
    sa.Column("action", sa.String(20), nullable=False),
    sa.Column("closes", sa.Integer, unique=True),
    sa.Column("version", sa.String(20)),
    sa.Column("former", sa.String(20)),
    sa.Column("stack", sa.String(200)),
    sa.Column("servers", sa.Text, nullable=False),
    sa.Column("checks", sa.Text, nullable=False),
    sa.Column("zenml_run", sa.String(200)),
    sa.Column("note", sa.Text),
    sa.CheckConstraint(
        "action IN ({})".format(", ".join(f"'{action}'" for action in get_args(Action))),
        name="deployment_log_action",
    ),
)
_SERVERS: Final = TypeAdapter(tuple[ServerState, ...])
_CHECKS: Final = TypeAdapter(tuple[Check, ...])


class DeploymentEntry(Value):
    """One row. ``version`` is deployed or removed, ``former`` was deployed before."""

    id: int | None = None  # given by the database
    time: datetime | None = None  # UTC; likewise
    host: str | None = None  # of the process that wrote the row
    who: str
    use_case: str
    action: Action
    closes: int | None = None  # the id of the start that this row ends
    version: str | None = None
    former: str | None = None
    stack: str | None = None
    servers: tuple[ServerState, ...] = ()
    checks: tuple[Check, ...] = ()
    zenml_run: str | None = None
    note: str | None = None


class DeploymentLog(Database):
    """The log in the database at a SQLAlchemy address: SQLite or PostgreSQL.

    The table is made on first use, with triggers that refuse every change and deletion. All
    methods raise `UnreachableError` if the database cannot be used.
    """

    title = "The deployment log"

    def record(self, entry: DeploymentEntry) -> DeploymentEntry:
        """Add a row, and return it with its id and time."""
        stamped = entry.model_copy(
            update={"time": datetime.now(UTC), "host": socket.gethostname(), "id": None}
        )
        row = stamped.model_dump(exclude={"id"})
        row["servers"] = _SERVERS.dump_json(stamped.servers).decode()
        row["checks"] = _CHECKS.dump_json(stamped.checks).decode()
        with self._transaction(write=True) as connection:
            key = connection.execute(TABLE.insert().values(row)).inserted_primary_key
        return stamped.model_copy(update={"id": None if key is None else int(key[0])})

    def entries(self, use_case: str | None = None) -> tuple[DeploymentEntry, ...]:
        """Return rows, the newest first."""
        query = sa.select(TABLE).order_by(TABLE.c.id.desc())
        if use_case is not None:
            query = query.where(TABLE.c.use_case == use_case)
        with self._transaction() as connection:
            return tuple(_entry(row) for row in connection.execute(query).mappings())

    def unfinished(self, use_case: str) -> tuple[DeploymentEntry, ...]:
        """Return the starts that nothing closes: those that were cut short, or are under way."""
        rows = self.entries(use_case)
        closed = {row.closes for row in rows}
        return tuple(row for row in rows if row.action == "started" and row.id not in closed)

    def deployed(self, use_case: str) -> DeploymentEntry | None:
        """Return the row of what is deployed; None where nothing is, or it was removed."""
        for row in self.entries(use_case):
            if row.action == "deployed":
                return row
            if row.action == "removed":
                return None
        return None

    def _make_tables(self, engine: sa.Engine) -> None:
        create_append_only(engine, TABLE)


def _entry(row: Mapping[str, Any] | sa.RowMapping) -> DeploymentEntry:
    values = {str(name): value for name, value in row.items()}
    moment: datetime = values["time"]
    values["time"] = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    values["servers"] = _SERVERS.validate_json(values["servers"])
    values["checks"] = _CHECKS.validate_json(values["checks"])
    return DeploymentEntry(**values)
