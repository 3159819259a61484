"""Tables that can only be added to: the database itself refuses every change and deletion."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from sqlalchemy.schema import AddConstraint, CreateIndex, CreateTable


def create_append_only(engine: sa.Engine, table: sa.Table) -> None:
    """Make ``table`` (with an integer key ``id``, maybe a unique ``closes``) and its triggers.

    What exists is kept; a table of an earlier version gets the columns that it lacks and the
    checks of today, in one transaction. SQLite and PostgreSQL only.
    """
    postgresql = engine.dialect.name == "postgresql"
    guards = _POSTGRESQL if postgresql else _SQLITE
    with engine.connect() as connection:
        count = connection.execute(
            sa.text(_COUNT_POSTGRESQL if postgresql else _COUNT_SQLITE), {"table": table.name}
        ).scalar_one()
        outdated = _is_outdated(connection, table)
    if count == len(guards) and not outdated:
        return
    with engine.execution_options(immediate=True).begin() as connection:
        if postgresql:
            # Two processes that make the same table at once would trip over each other.
            connection.execute(sa.text("SELECT pg_advisory_xact_lock(hashtext('append_only'))"))
            connection.exec_driver_sql(_REFUSE.replace("{table}", table.name))
        if _is_outdated(connection, table):  # still: another process may have been quicker
            (_alter if postgresql else _rebuild)(connection, table)
        connection.execute(CreateTable(table, if_not_exists=True))
        for index in table.indexes:
            connection.execute(CreateIndex(index, if_not_exists=True))
        also = " OR closes = NEW.closes" if "closes" in table.columns else ""
        for guard in guards:
            statement = guard.replace("{table}", table.name).replace("{or_closes}", also)
            connection.exec_driver_sql(statement)


def _is_outdated(connection: sa.Connection, table: sa.Table) -> bool:
    """Tell whether the table exists and lacks a column, as an earlier version left it."""
    known = _columns(connection, table)
    return bool(known) and not {column.name for column in table.columns} <= known


def _columns(connection: sa.Connection, table: sa.Table) -> set[str]:
    inspector = sa.inspect(connection)
    if not inspector.has_table(table.name):
        return set()
    return {column["name"] for column in inspector.get_columns(table.name)}


def _alter(connection: sa.Connection, table: sa.Table) -> None:
    """Add what is missing; PostgreSQL can do that to a table in place."""
    known = _columns(connection, table)
    for column in table.columns:
        if column.name not in known:
            kind = column.type.compile(connection.dialect)
            connection.exec_driver_sql(f"ALTER TABLE {table.name} ADD COLUMN {column.name} {kind}")
    for check in _checks(table):
        connection.exec_driver_sql(
            f"ALTER TABLE {table.name} DROP CONSTRAINT IF EXISTS {check.name}"
        )
        connection.execute(AddConstraint(check))


def _rebuild(connection: sa.Connection, table: sa.Table) -> None:
    """Copy the rows into a new table that takes the old one's name.

    SQLite cannot change a check otherwise (https://www.sqlite.org/lang_altertable.html, section 7).
    Dropping a table fires no trigger.
    """
    kept = ", ".join(c.name for c in table.columns if c.name in _columns(connection, table))
    renewed = f"{table.name}_renewed"
    connection.execute(CreateTable(table.to_metadata(sa.MetaData(), name=renewed)))
    connection.exec_driver_sql(
        f"INSERT INTO {renewed} ({kept}) SELECT {kept} FROM {table.name}"  # noqa: S608
    )
    connection.exec_driver_sql(f"DROP TABLE {table.name}")
    connection.exec_driver_sql(f"ALTER TABLE {renewed} RENAME TO {table.name}")


def _checks(table: sa.Table) -> list[sa.CheckConstraint]:
    return [each for each in table.constraints if isinstance(each, sa.CheckConstraint)]


_COUNT_SQLITE: Final = (
    "SELECT count(*) FROM sqlite_master WHERE type = 'trigger' AND tbl_name = :table"
)

# INSERT OR REPLACE deletes the row in its way without firing a trigger of deletion, so a row that
# is in the way of another is refused before. (A key that is yet to be given is -1 there.)
_SQLITE: Final = (
    "CREATE TRIGGER IF NOT EXISTS {table}_no_update BEFORE UPDATE ON {table} "
    "BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END",
    "CREATE TRIGGER IF NOT EXISTS {table}_no_delete BEFORE DELETE ON {table} "
    "BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END",
    "CREATE TRIGGER IF NOT EXISTS {table}_no_replace BEFORE INSERT ON {table} "
    "WHEN EXISTS (SELECT 1 FROM {table} WHERE id = NEW.id{or_closes}) "
    "BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END",
)

_COUNT_POSTGRESQL: Final = (
    "SELECT count(*) FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid "
    "WHERE relname = :table AND NOT tgisinternal AND pg_table_is_visible(pg_class.oid)"
)
_REFUSE: Final = (
    "CREATE OR REPLACE FUNCTION {table}_refuse() RETURNS trigger LANGUAGE plpgsql AS "
    "$$ BEGIN RAISE EXCEPTION '{table} is append-only'; END $$"
)
_POSTGRESQL: Final = (
    "CREATE OR REPLACE TRIGGER {table}_no_change BEFORE UPDATE OR DELETE ON {table} "
    "FOR EACH STATEMENT EXECUTE FUNCTION {table}_refuse()",
    "CREATE OR REPLACE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table} "
    "FOR EACH STATEMENT EXECUTE FUNCTION {table}_refuse()",
)
