"""The promotion log: every decision about a champion, in a table that is only ever added to.

A decision that moves an alias is written twice: as an ``intent`` before, and as what became of it
after, which names the intent in ``closes``. An intent that nothing closes is a decision that a
crash cut short; `Registry.reconcile` finishes or voids it.
"""

from __future__ import annotations

import json
import math
import socket
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, Literal, get_args

import sqlalchemy as sa
from sqlalchemy.exc import (
    IntegrityError,
)

from evergreen.database import Database
from evergreen.errors import RefusedError
from evergreen.promotion.append_only import create_append_only
from evergreen.promotion.verdict import Verdict
from evergreen.serving.traffic import TrafficPlan
from evergreen.values import Value

Intended = Literal[
    "promoted", "waiting", "approved", "rejected", "rolled_back", "traffic", "stepped"
]
Action = Literal[
    "intent",
    "promoted",
    "waiting",
    "approved",
    "rejected",
    "refused",
    "rolled_back",
    "traffic",
    "stepped",
    "voided",
]

_METADATA: Final = sa.MetaData()
TABLE: Final = sa.Table(
    "promotion_log",
    _METADATA,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("time", sa.DateTime(timezone=True), nullable=False),
    sa.Column("who", sa.String(200), nullable=False),
    sa.Column("host", sa.String(200), nullable=False),
    sa.Column("use_case", sa.String(100), nullable=False, index=True),
    sa.Column("action", sa.String(20), nullable=False),
    sa.Column("intended", sa.String(20)),
    sa.Column("closes", sa.Integer, unique=True),
    sa.Column("from_version", sa.String(20)),
    sa.Column("to_version", sa.String(20)),
    sa.Column("verdict", sa.Text),
    sa.Column("figures", sa.Text),
    sa.Column("zenml_run", sa.String(200)),
    sa.Column("mlflow_run", sa.String(64)),
    sa.Column("note", sa.Text),
    sa.Column("plan", sa.Text),
    sa.CheckConstraint(
        "action IN ({})".format(", ".join(f"'{action}'" for action in get_args(Action))),
        name="promotion_log_action",
    ),
)


class Entry(Value):
    """One row. ``from_version`` was champion, ``to_version`` is what the decision is about."""

    id: int | None = None  # given by the database
    time: datetime | None = None  # UTC; likewise
    host: str | None = None  # of the process that wrote the row
    who: str
    use_case: str
    action: Action
    intended: Intended | None = None  # of an intent: the action that is to follow
    closes: int | None = None  # the id of the intent that this row ends
    from_version: str | None = None
    to_version: str | None = None
    verdict: Verdict | None = None
    figures: Mapping[str, float | None] = {}
    zenml_run: str | None = None
    mlflow_run: str | None = None
    note: str | None = None
    plan: TrafficPlan | None = None  # of the traffic, that the decision puts in force


class PromotionLog(Database):
    """The log in the database at a SQLAlchemy address: SQLite or PostgreSQL.

    The table is made on first use, with triggers that refuse every change and deletion.
    """

    title = "The promotion log"

    def record(self, entry: Entry, *, seen: int | None = None) -> Entry:
        """Add a row, and return it with its id and time.

        ``seen`` is the use case's `newest` row that the writer knew when it decided.

        Raises
        ------
        RefusedError
            If the entry is an intent and another one of the same use case is still open, if
            it closes an intent that is closed already, or if there are rows after ``seen``.
        UnreachableError
            If the database cannot be reached or written.
        InputError
            If the address is unusable.
        """
        stamped = entry.model_copy(
            update={"time": datetime.now(UTC), "host": socket.gethostname(), "id": None}
        )
        with self._transaction(write=True) as connection:
            if entry.action == "intent":
                _require_no_open_intent(connection, entry.use_case)
            if seen is not None and _newest(connection, entry.use_case) != seen:
                raise RefusedError(
                    f"Somebody else decided on {entry.use_case!r} at the same moment "
                    "(python run.py --history shows what). Nothing was changed; look and try again."
                )
            try:
                result = connection.execute(TABLE.insert().values(_row(stamped)))
            except IntegrityError as error:
                raise RefusedError(
                    f"Decision {entry.closes} on {entry.use_case!r} was concluded by another "
                    "process meanwhile; look at the promotion log."
                ) from error
            key = result.inserted_primary_key
        return stamped.model_copy(update={"id": None if key is None else int(key[0])})

    def entries(self, use_case: str | None = None, limit: int | None = None) -> tuple[Entry, ...]:
        """Return rows, the newest first.

        Raises as `record` does.
        """
        query = sa.select(TABLE).order_by(TABLE.c.id.desc()).limit(limit)
        if use_case is not None:
            query = query.where(TABLE.c.use_case == use_case)
        with self._transaction() as connection:
            return tuple(_entry(row) for row in connection.execute(query).mappings())

    def newest(self, use_case: str) -> int:
        """Return the id of the newest row, 0 where there is none. Raises as `record` does."""
        with self._transaction() as connection:
            return _newest(connection, use_case)

    def open_intents(self, use_case: str) -> tuple[Entry, ...]:
        """Return the intents that nothing closes, the oldest first.

        Raises as `record` does.
        """
        with self._transaction() as connection:
            return _open_intents(connection, use_case)

    def _make_tables(self, engine: sa.Engine) -> None:
        create_append_only(engine, TABLE)

    def _lock(self, connection: sa.Connection) -> None:
        # One writer at a time, as in SQLite: an intent must see all before it.
        connection.execute(sa.text("LOCK TABLE promotion_log IN SHARE ROW EXCLUSIVE MODE"))


def _require_no_open_intent(connection: sa.Connection, use_case: str) -> None:
    for intent in _open_intents(connection, use_case):
        since = intent.time.isoformat(timespec="seconds") if intent.time else "some time"
        raise RefusedError(
            f"{intent.who} on {intent.host} is deciding on version {intent.to_version} of "
            f"{use_case!r} since {since}. If that process is gone, run the training again: it "
            "takes up what was left."
        )


def _newest(connection: sa.Connection, use_case: str) -> int:
    query = sa.select(sa.func.max(TABLE.c.id)).where(TABLE.c.use_case == use_case)
    return int(connection.execute(query).scalar() or 0)


def _open_intents(connection: sa.Connection, use_case: str) -> tuple[Entry, ...]:
    closed = sa.select(TABLE.c.closes).where(TABLE.c.closes.is_not(None))
    query = (
        sa.select(TABLE)
        .where(TABLE.c.use_case == use_case, TABLE.c.action == "intent", TABLE.c.id.not_in(closed))
        .order_by(TABLE.c.id)
    )
    return tuple(_entry(row) for row in connection.execute(query).mappings())


def _row(entry: Entry) -> dict[str, Any]:
    row = entry.model_dump(exclude={"id", "verdict", "figures", "plan"})
    row["verdict"] = None if entry.verdict is None else entry.verdict.model_dump_json()
    row["plan"] = None if entry.plan is None else entry.plan.model_dump_json()
    finite = {
        name: value if value is not None and math.isfinite(value) else None
        for name, value in entry.figures.items()
    }
    row["figures"] = json.dumps(finite)
    return row


def _entry(row: Mapping[str, Any] | sa.RowMapping) -> Entry:
    values = {str(name): value for name, value in row.items()}
    moment: datetime = values["time"]
    values["time"] = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    values["verdict"] = values["verdict"] and Verdict.model_validate_json(values["verdict"])
    values["plan"] = values["plan"] and TrafficPlan.model_validate_json(values["plan"])
    values["figures"] = json.loads(values["figures"] or "{}")
    return Entry(**values)
