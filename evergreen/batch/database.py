"""A SQL table as the output: chunks go in one transaction each, together with a note of them.

Rows grow in ``TABLE__batch`` and ``TABLE_rejected__batch``, which take their names at the end, in
one transaction, where the database has such for tables (PostgreSQL and SQLite do). The notes are
in ``evergreen_batch_progress``: a row per chunk, and one (chunk -1) for what the run is made of.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import pyarrow as pa
import sqlalchemy as sa
from pyarrow import csv as arrow_csv
from sqlalchemy.engine import Connection

from evergreen.batch.files import flat, rows_of
from evergreen.batch.scoring import Scored
from evergreen.batch.settings import SqlOutput
from evergreen.batch.sink import Chunk, Kept, Key, difference
from evergreen.data.sources.environment import Environment, mask_url
from evergreen.data.sources.sql_source import connected, engine_of, lost, reason_of, url_of
from evergreen.errors import InputError, UnreachableError

PROGRESS: Final = "evergreen_batch_progress"
URL_KEY: Final = "batch.output.url"
_HEAD: Final = -1
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,53}")
_TYPES: Final[tuple[tuple[Any, Any], ...]] = (
    (pa.types.is_boolean, sa.Boolean()),
    (pa.types.is_integer, sa.BigInteger()),
    (pa.types.is_floating, sa.Double()),
    (pa.types.is_decimal, sa.Double()),
    (pa.types.is_timestamp, sa.DateTime()),
    (pa.types.is_date, sa.Date()),
)


class DatabaseSink:
    """Inserts chunks into tables of a database."""

    def __init__(
        self,
        output: SqlOutput,
        rejected: str | None,
        schemas: tuple[pa.Schema, pa.Schema],
        environment: Environment,
    ) -> None:
        self._environment = environment
        url = url_of(output.url, environment, URL_KEY)
        self._where = f"sql {mask_url(url.render_as_string(hide_password=True))}"
        self._engine = engine_of(url, output.timeout, self._where, key=URL_KEY, must_exist=False)
        if self._engine.dialect.name == "sqlite":
            _let_tables_roll_back(self._engine)
        if rejected is not None and not _NAME.fullmatch(rejected):
            raise InputError(f"batch.rejected: {rejected!r} is no plain name of a table")
        self._schema, _, name = output.table.rpartition(".")
        self._names = {"accepted": name, "rejected": rejected or f"{name}_rejected"}
        self.address = f"{self._where} table {output.table}"
        self.rejected_address = f"{self._where} table {self._names['rejected']}"
        self._output = output.table
        self._arrow = dict(zip(("accepted", "rejected"), schemas, strict=True))
        metadata = sa.MetaData(schema=self._schema or None)
        self._growing = {
            kind: _table(metadata, f"{self._names[kind]}__batch", schema)
            for kind, schema in self._arrow.items()
        }
        self._progress = sa.Table(
            PROGRESS,
            metadata,
            sa.Column("output", sa.String(200), primary_key=True),
            sa.Column("chunk", sa.Integer, primary_key=True, autoincrement=False),
            sa.Column("state", sa.Text, nullable=False),
        )

    def open(self, key: Key, *, overwrite: bool) -> tuple[Kept, str | None]:
        """Make ready; see `evergreen.batch.sink.Sink`."""
        with self._transaction() as connection:
            self._progress.create(connection, checkfirst=True)
            former, kept = self._read(connection)
            there = sa.inspect(connection)
            if former is not None and former["done"]:
                whole = self._has(there, self._names["accepted"])
                if whole and former["key"] == key and key["proven"]:
                    return kept.model_copy(update={"complete": True}), None
                former = None
            if not overwrite:
                for name in self._names.values():
                    if self._has(there, name):
                        raise InputError(
                            f"The table {name!r} is in {self._where} already, from another run. "
                            "Name another one, or replace it: --overwrite"
                        )
            if former is not None and former["key"] == key:
                return kept, None
            if former is None and self._has(there, self._growing["accepted"].name):
                self._require_ours(overwrite)
            self._begin(connection, key)
        if former is None:
            return Kept(), None
        changed = difference(former["key"], key)
        return (
            Kept(),
            f"Started over: the {changed} changed since {rows_of(kept)} rows were scored.",
        )

    def restart(self, key: Key) -> None:
        """Forget the chunks that were kept."""
        with self._transaction() as connection:
            self._begin(connection, key)

    def encode(self, number: int, scored: Scored) -> dict[str, Any]:
        """Write rows as the database takes them: CSV for PostgreSQL, else mappings."""
        tables = {"accepted": flat(scored.accepted), "rejected": flat(scored.rejected)}
        return {kind: self._encoded(table) for kind, table in tables.items() if table.num_rows}

    def keep(self, number: int, encoded: dict[str, Any], chunk: Chunk) -> None:
        """Keep the next chunk."""
        with self._transaction() as connection:
            note = {"output": self._output, "chunk": number, "state": chunk.model_dump_json()}
            # First of all: where another run has kept this chunk, it fails.
            connection.execute(self._progress.insert(), note)
            for kind, rows in encoded.items():
                self._insert(connection, self._growing[kind], rows)

    def finish(self, kept: Kept) -> None:
        """Give the tables their names."""
        with self._transaction() as connection:
            former, _ = self._read(connection)
            if former is None or former["done"]:
                return
            there = sa.inspect(connection)
            refused = any(chunk.rejected for chunk in kept.chunks)
            for kind, name in self._names.items():
                if self._has(there, name):
                    connection.execute(sa.text(f"DROP TABLE {self._quoted(name)}"))
                growing = self._growing[kind]
                if kind == "rejected" and not refused:
                    growing.drop(connection)
                    continue
                preparer = connection.dialect.identifier_preparer
                connection.execute(
                    sa.text(
                        f"ALTER TABLE {self._quoted(growing.name)} RENAME TO {preparer.quote(name)}"
                    )
                )
            head = {"key": former["key"], "done": True}
            connection.execute(
                self._progress.update().where(*self._head()).values(state=json.dumps(head))
            )

    def close(self) -> None:
        """Let the database go."""
        self._engine.dispose()

    def _begin(self, connection: Connection, key: Key) -> None:
        own = self._progress.c.output == self._output
        connection.execute(self._progress.delete().where(own))
        for table in self._growing.values():
            table.drop(connection, checkfirst=True)
            table.create(connection)
        head = {"output": self._output, "chunk": _HEAD}
        state = json.dumps({"key": key, "done": False})
        connection.execute(self._progress.insert(), {**head, "state": state})

    def _read(self, connection: Connection) -> tuple[dict[str, Any] | None, Kept]:
        rows = connection.execute(
            sa.select(self._progress.c.chunk, self._progress.c.state)
            .where(self._progress.c.output == self._output)
            .order_by(self._progress.c.chunk)
        ).all()
        if not rows:
            return None, Kept()
        chunks = tuple(Chunk.model_validate_json(state) for number, state in rows if number >= 0)
        return json.loads(rows[0].state), Kept(chunks=chunks)

    def _head(self) -> tuple[Any, Any]:
        return self._progress.c.output == self._output, self._progress.c.chunk == _HEAD

    def _has(self, there: sa.Inspector, name: str) -> bool:
        return there.has_table(name, schema=self._schema or None)

    def _require_ours(self, overwrite: bool) -> None:
        if not overwrite:
            raise InputError(
                f"The table {self._growing['accepted'].name!r} is in {self._where}, and no run of "
                "ours made it. Drop it, or name another output."
            )

    def _quoted(self, name: str) -> str:
        quote = self._engine.dialect.identifier_preparer.quote
        return f"{quote(self._schema)}.{quote(name)}" if self._schema else quote(name)

    def _encoded(self, table: pa.Table) -> Any:
        if self._engine.dialect.driver != "psycopg":
            return table.to_pylist()
        content = io.BytesIO()
        # With every value in quotes, what has none is missing.
        options = arrow_csv.WriteOptions(include_header=False, quoting_style="all_valid")
        arrow_csv.write_csv(table, content, options)
        return content.getvalue()

    def _insert(self, connection: Connection, table: sa.Table, rows: Any) -> None:
        if not isinstance(rows, bytes):
            connection.execute(table.insert(), rows)
            return
        driver: Any = connection.connection.driver_connection
        with driver.cursor() as cursor:
            statement = f"COPY {self._quoted(table.name)} FROM STDIN (FORMAT csv)"
            with cursor.copy(statement) as copy:
                copy.write(rows)

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        try:
            with (
                connected(self._engine, self._where, self._environment) as connection,
                connection.begin(),
            ):
                yield connection
        except sa.exc.DBAPIError as error:
            raise self._explained(error, reason_of(error, self._environment)) from None
        except sa.exc.SQLAlchemyError:
            raise
        except Exception as error:  # psycopg's own, of COPY
            if type(error).__module__.split(".")[0] != "psycopg":
                raise
            raise self._away(self._environment.hide(str(error))) from None

    def _explained(self, error: sa.exc.DBAPIError, reason: str) -> InputError | UnreachableError:
        full = "disk is full" in reason or "No space left" in reason
        if full or lost(error, self._engine.dialect.name, reason):
            return self._away(reason)
        if isinstance(error, sa.exc.IntegrityError):
            return UnreachableError(
                f"{self.address}: another run writes it at this moment. Wait for it, or end it."
            )
        return InputError(f"{self.address} cannot be written: {reason}")

    def _away(self, reason: str) -> UnreachableError:
        return UnreachableError(
            f"{self.address}: the database does not go on: {reason}. The chunks that were kept "
            "stay; mend that and run the same command again to go on."
        )


def _let_tables_roll_back(engine: sa.Engine) -> None:
    """Begin SQLite's transactions ourselves: Python's driver leaves DROP and CREATE out of them."""

    @sa.event.listens_for(engine, "connect")
    def connect(connection: Any, _: Any) -> None:
        connection.isolation_level = None

    @sa.event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def _table(metadata: sa.MetaData, name: str, schema: pa.Schema) -> sa.Table:
    columns = [
        sa.Column(one.name, next((kind for fits, kind in _TYPES if fits(one.type)), sa.Text()))
        for one in schema
    ]
    return sa.Table(name, metadata, *columns)
