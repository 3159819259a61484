"""The prediction log's tables, in SQLite or PostgreSQL.

Batches arrive as the JSON lines that the spool holds, and the database takes them apart itself:
one statement per batch, during which Python is free to answer requests.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.exc import (
    ArgumentError,
    DataError,
    IntegrityError,
    NoSuchModuleError,
)

from evergreen.errors import InputError

SMOKE_TEST: Final = "evergreen-smoke-test"  # the name of requests that only try a server
PATIENCE: Final = 5  # seconds to wait for a connection, or for another writer
_DRIVERS: Final = {"postgres": "postgresql+psycopg", "postgresql": "postgresql+psycopg"}
_METADATA: Final = sa.MetaData()
# Text in SQLite: a column of type JSON would turn "1.50" into a number.
_JSON: Final = sa.Text().with_variant(JSONB(), "postgresql")
# SQLite has no type for times: Unix seconds there, so that datetime(time, 'unixepoch') reads them.
_TIME: Final = sa.Float().with_variant(sa.DateTime(timezone=True), "postgresql")

PREDICTIONS: Final = sa.Table(
    "predictions",
    _METADATA,
    sa.Column("request_id", sa.Text, primary_key=True),
    sa.Column("request_row", sa.Integer, primary_key=True),
    sa.Column("time", _TIME, nullable=False),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("version", sa.Text),
    sa.Column("arm", sa.Text, primary_key=True),  # champion, challenger, or shadow beside either
    sa.Column("key_id", sa.Text),
    sa.Column("inputs", _JSON, nullable=False),
    sa.Column("prediction", _JSON, nullable=False),
    sa.Column("probabilities", _JSON),
    sa.Column("flags", _JSON, nullable=False),
    sa.Column("latency_ms", sa.Float),
    sa.Index("predictions_by_time", "model", "time"),
)
FEEDBACK: Final = sa.Table(
    "feedback",
    _METADATA,
    sa.Column("request_id", sa.Text, primary_key=True),
    sa.Column("request_row", sa.Integer, primary_key=True),
    sa.Column("time", _TIME, nullable=False),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("key_id", sa.Text),
    sa.Column("label", _JSON, nullable=False),
    sa.Index("feedback_by_time", "model", "time"),
)

_NEWER: Final = (
    " ON CONFLICT (request_id, request_row) DO UPDATE SET label = excluded.label, "
    "time = excluded.time, key_id = excluded.key_id WHERE excluded.time > feedback.time"
)
_SQLITE: Final = {
    "prediction": (
        "INSERT INTO predictions (request_id, request_row, time, model, version, arm, key_id, "
        "inputs, prediction, probabilities, flags, latency_ms) "
        "SELECT value ->> 'request_id', value ->> 'row', value ->> 'time', value ->> 'model', "
        "value ->> 'version', value ->> 'arm', value ->> 'key_id', value -> 'inputs', "
        "value -> 'prediction', nullif(value -> 'probabilities', 'null'), value -> 'flags', "
        "value ->> 'latency_ms' FROM json_each(:batch) WHERE true "
        "ON CONFLICT (request_id, request_row, arm) DO NOTHING"
    ),
    "feedback": (
        "INSERT INTO feedback (request_id, request_row, time, model, key_id, label) "  # noqa: S608
        "SELECT value ->> 'request_id', value ->> 'row', value ->> 'time', value ->> 'model', "
        f"value ->> 'key_id', value -> 'label' FROM json_each(:batch) WHERE true{_NEWER}"
    ),
}
_RECORDS: Final = (
    ' FROM json_to_recordset(CAST(:batch AS json)) AS one(request_id text, "row" integer, '
    "time double precision, model text, version text, arm text, key_id text, inputs jsonb, "
    "prediction jsonb, probabilities jsonb, flags jsonb, latency_ms double precision, label jsonb)"
)
_POSTGRESQL: Final = {
    "prediction": (
        "INSERT INTO predictions (request_id, request_row, time, model, version, arm, key_id, "
        "inputs, prediction, probabilities, flags, latency_ms) "
        'SELECT request_id, "row", to_timestamp(time), model, version, arm, key_id, inputs, '
        "coalesce(prediction, 'null'), probabilities, flags, latency_ms"
        + _RECORDS
        + " ON CONFLICT (request_id, request_row, arm) DO NOTHING"
    ),
    # Within one statement PostgreSQL updates no row twice: the newest of each goes in.
    "feedback": (
        "INSERT INTO feedback (request_id, request_row, time, model, key_id, label) "
        'SELECT DISTINCT ON (request_id, "row") request_id, "row", to_timestamp(time), model, '
        "key_id, coalesce(label, 'null')"
        + _RECORDS
        + ' ORDER BY request_id, "row", time DESC'
        + _NEWER
    ),
}


def from_clients() -> sa.ColumnElement[bool]:
    """Return the condition that a prediction answered a client, and was no deployment's trial.

    The id of a request begins with the name that the client gave it, and a dot.
    """
    return sa.not_(PREDICTIONS.c.request_id.startswith(f"{SMOKE_TEST}.", autoescape=True))


def connect(url: str, *, durable: bool = False) -> sa.Engine:
    """Return an engine for the log's database. Nothing is contacted yet.

    Raises
    ------
    InputError
        If the address is unusable: no URL, or of a database that is neither SQLite nor PostgreSQL.
    """
    try:
        parsed = sa.make_url(url)
        parsed = parsed.set(drivername=_DRIVERS.get(parsed.drivername, parsed.drivername))
        kind = parsed.get_backend_name()
        if kind not in ("sqlite", "postgresql"):
            raise InputError(
                f"The prediction log cannot be kept in {kind}; use sqlite:///FILE or postgresql://"
            )
        if kind == "sqlite" and parsed.database in (None, "", ":memory:"):
            raise InputError("The prediction log needs a file: sqlite:///FILE")
        arguments = {"timeout": PATIENCE} if kind == "sqlite" else _postgresql_arguments()
        engine = sa.create_engine(parsed, connect_args=arguments, hide_parameters=True, pool_size=2)
    except ArgumentError as error:
        raise InputError(f"The prediction log's address is no SQLAlchemy URL: {error}") from error
    except (NoSuchModuleError, ImportError) as error:
        raise InputError(
            f"The prediction log's database has no driver installed: {error}"
        ) from error
    if kind == "sqlite":
        _configure_sqlite(engine, durable=durable)
    return engine


def shown(url: str) -> str:
    """Return the address without its password."""
    try:
        return sa.make_url(url).render_as_string(hide_password=True)
    except ArgumentError:
        return "an address that is no URL"


def create_tables(engine: sa.Engine) -> None:
    """Make the tables where they do not exist; several processes may do so at once."""
    if engine.dialect.name == "sqlite":
        Path(str(engine.url.database)).parent.mkdir(parents=True, exist_ok=True)
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            # Two processes that make the same table at once would trip over each other.
            connection.execute(sa.text("SELECT pg_advisory_xact_lock(hashtext('predictions'))"))
        _widen_key(connection)
        for table in (PREDICTIONS, FEEDBACK):
            connection.execute(sa.schema.CreateTable(table, if_not_exists=True))
            for index in table.indexes:
                connection.execute(sa.schema.CreateIndex(index, if_not_exists=True))


def _widen_key(connection: sa.Connection) -> None:
    """Take the arm into the key of a table that was made before there were arms."""
    inspector = sa.inspect(connection)
    if not inspector.has_table(PREDICTIONS.name):
        return
    present = inspector.get_pk_constraint(PREDICTIONS.name)
    if "arm" in present["constrained_columns"]:
        return
    if connection.dialect.name == "postgresql":
        quoted = connection.dialect.identifier_preparer.quote(str(present["name"]))
        connection.exec_driver_sql(
            f"ALTER TABLE predictions DROP CONSTRAINT {quoted}, "
            "ADD PRIMARY KEY (request_id, request_row, arm)"
        )
        return
    # SQLite cannot change a key: the rows move into a new table, in this transaction or not at all.
    connection.exec_driver_sql("ALTER TABLE predictions RENAME TO predictions_before_arms")
    connection.exec_driver_sql("DROP INDEX IF EXISTS predictions_by_time")
    connection.execute(sa.schema.CreateTable(PREDICTIONS))
    names = ", ".join(column.name for column in PREDICTIONS.columns)
    connection.exec_driver_sql(
        f"INSERT INTO predictions ({names}) SELECT {names} FROM predictions_before_arms"  # noqa: S608
    )
    connection.exec_driver_sql("DROP TABLE predictions_before_arms")


def insert(engine: sa.Engine, contents: Sequence[bytes]) -> None:
    """Add records, given as JSON, in one transaction. What is there already stays as it is.

    Raises
    ------
    sqlalchemy.exc.DBAPIError
        If the database is away, or (see `refuses`) does not take a value.
    """
    statements = _POSTGRESQL if engine.dialect.name == "postgresql" else _SQLITE
    # The type comes first in each line, as msgspec writes it.
    feedback = [content for content in contents if content.startswith(b'{"type":"feedback"')]
    if len(feedback) == len(contents):
        batches = {"feedback": feedback}
    elif feedback:
        others = [one for one in contents if not one.startswith(b'{"type":"feedback"')]
        batches = {"prediction": others, "feedback": feedback}
    else:
        batches = {"prediction": list(contents)}
    with engine.begin() as connection:
        for kind, batch in batches.items():
            if batch:
                joined = b"[%b]" % b",".join(batch)
                connection.execute(sa.text(statements[kind]), {"batch": joined.decode()})


def refuses(error: BaseException) -> bool:
    """Whether the database will never take these values; otherwise it is worth trying again."""
    return isinstance(error, DataError | IntegrityError) or "malformed JSON" in str(error)


def seconds(column: Any, engine: sa.Engine) -> Any:
    """Return an expression of a time column in Unix seconds."""
    return sa.extract("epoch", column) if engine.dialect.name == "postgresql" else column


def moment(value: float, engine: sa.Engine) -> Any:
    """Return an expression that compares Unix seconds with a time column."""
    if engine.dialect.name == "postgresql":
        return sa.func.to_timestamp(value)
    return sa.literal(value)


def _postgresql_arguments() -> dict[str, Any]:
    """Give up on a server that is there and does not answer."""
    return {
        "connect_timeout": PATIENCE,
        "tcp_user_timeout": PATIENCE * 1000,
        # What is committed leaves the spool: a commit must be one, whatever the server's default.
        "options": f"-c statement_timeout={PATIENCE * 6000} -c synchronous_commit=on",
        "application_name": "evergreen",
    }


def _configure_sqlite(engine: sa.Engine, *, durable: bool) -> None:
    """Write ahead, so that readers never wait; one writer at a time, who asks first."""

    @sa.event.listens_for(engine, "connect")
    def _configure(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # transactions are begun below
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        reading = connection.get_execution_options().get("reading", False)
        connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")
