"""SQL: a table or the rows of a query, from any database that SQLAlchemy speaks to."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import pandas as pd
import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection, Engine, make_url
from sqlalchemy.pool import NullPool

from evergreen.data.source_config import SqlSource
from evergreen.data.sources.environment import Environment, mask_url
from evergreen.data.sources.files import missing_file
from evergreen.data.sources.tidy import column_names, tidy
from evergreen.errors import InputError, UnreachableError

URL_KEY = "data.source.url"
CHUNK_ROWS = 50_000
# SQLAlchemy's own defaults (psycopg2, mysqlclient) need a compiler; these come as wheels.
DRIVERS = {
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
    "mysql": "mysql+pymysql",
    "mariadb": "mariadb+pymysql",
}
TIMEOUT_ARGUMENTS = {
    "psycopg": "connect_timeout",
    "psycopg2": "connect_timeout",
    "pymysql": "connect_timeout",
    "mysqldb": "connect_timeout",
    "mysqlconnector": "connection_timeout",
    "pyodbc": "timeout",
    "pg8000": "timeout",
    "oracledb": "tcp_connect_timeout",
    "pysqlite": "timeout",
}


def read_sql(source: SqlSource, environment: Environment) -> pd.DataFrame:
    """Return the rows of a table, ordered by its primary key where it has one, or of a query.

    Nothing is ever committed.

    Raises
    ------
    InputError
        The address is malformed, its driver is missing, the table does not exist, the query is
        wrong or gives no rows.
    UnreachableError
        The database does not answer, refuses the credentials, or goes away while being read.
    """
    url = url_of(source.url, environment)
    where = f"sql {mask_url(url.render_as_string(hide_password=True))}"
    engine = engine_of(url, source.timeout, where)
    try:
        with connected(engine, where, environment) as connection:
            frame = _read(connection, source, where, environment)
    finally:
        engine.dispose()
    return tidy(frame, where)


def url_of(address: str, environment: Environment, key: str = URL_KEY) -> URL:
    """Return the resolved address with a driver that is usually there."""
    text = environment.resolve_url(address, key)
    try:
        url = make_url(text)
    except (sa.exc.ArgumentError, ValueError):
        raise InputError(
            f"{key}: {mask_url(address)} is no database address; write "
            "dialect://user:${DB_PASSWORD}@host:port/database, and percent-encode special "
            "characters that stand there literally"
        ) from None
    return url.set(drivername=DRIVERS.get(url.drivername, url.drivername))


def engine_of(
    url: URL, timeout: float, where: str, *, key: str = URL_KEY, must_exist: bool = True
) -> Engine:
    """Return an engine that opens one connection; raise `InputError` where it cannot exist.

    ``must_exist``: SQLite would silently create an empty database.
    """
    try:
        driver = url.get_dialect().driver
        arguments: dict[str, Any] = {}
        if name := TIMEOUT_ARGUMENTS.get(driver):
            arguments[name] = math.ceil(timeout)
        engine = sa.create_engine(
            url, poolclass=NullPool, connect_args=arguments, hide_parameters=True
        )
    except sa.exc.NoSuchModuleError:
        kinds = ["postgresql", "mysql", "mariadb", "sqlite", "oracle", "mssql"]
        near = get_close_matches(url.drivername, kinds, n=1)
        hint = f"did you mean {near[0]}?" if near else "install its SQLAlchemy dialect"
        raise InputError(
            f"{key}: SQLAlchemy knows no database {url.drivername!r}; {hint}"
        ) from None
    except ImportError as error:
        raise InputError(
            f"{where}: the driver {error.name or url.drivername} is not installed; "
            f"run pip install {error.name or url.drivername}"
        ) from None
    if engine.dialect.is_async:
        raise InputError(f"{key}: {url.drivername} is an asynchronous driver; leave +{driver} out")
    if must_exist:
        _require_sqlite_file(url)
    return engine


def _require_sqlite_file(url: URL) -> None:
    """Raise `InputError` where SQLite would silently create an empty database."""
    name = url.database
    if url.get_backend_name() != "sqlite" or not name or name.startswith((":memory:", "file:")):
        return
    if not Path(name).is_file():
        raise InputError(missing_file(Path(name).absolute(), URL_KEY))


@contextmanager
def connected(engine: Engine, where: str, environment: Environment) -> Iterator[Connection]:
    """Connect; raise `UnreachableError` where that fails."""
    try:
        connection = engine.connect()
    except sa.exc.DBAPIError as error:
        reason = reason_of(error, environment)
        refused = any(word in reason.lower() for word in ("password", "access denied", "login"))
        hint = "check user and password" if refused else "is it running, and the address right?"
        raise UnreachableError(f"{where}: cannot connect: {reason}; {hint}") from None
    except (sa.exc.SQLAlchemyError, RuntimeError, TypeError, ValueError) as error:
        text = environment.hide(str(error))
        raise InputError(f"{where}: the address is not usable: {text}") from None
    with connection:
        yield connection


def _read(
    connection: Connection, source: SqlSource, where: str, environment: Environment
) -> pd.DataFrame:
    with result_of(connection, source, where, environment) as result:
        return _frame(result, where)


@contextmanager
def result_of(
    connection: Connection,
    source: SqlSource,
    where: str,
    environment: Environment,
    rows: int = CHUNK_ROWS,
) -> Iterator[sa.CursorResult[Any]]:
    """Yield the rows as a server-side cursor has them, ``rows`` at a time.

    Raises
    ------
    InputError
        The table does not exist, or the query is wrong or gives no rows.
    UnreachableError
        The database goes away, also while the rows are read inside the block.
    """
    streaming = connection.execution_options(stream_results=True, max_row_buffer=rows)
    try:
        if source.table is not None:
            name = environment.resolve(source.table, "data.source.table")
            result = streaming.execute(select_all(connection, name, where))
        else:
            query = environment.resolve(str(source.query), "data.source.query")
            # Without parameters, so that neither ``:`` nor ``%`` in the query means anything.
            raw = streaming.execution_options(no_parameters=True)
            result = raw.exec_driver_sql(query.strip().rstrip(";"))
        if not result.returns_rows:
            raise InputError(f"{where}: data.source.query returns no table; it must be a SELECT")
        with result:
            yield result
    except sa.exc.DBAPIError as error:
        reason = reason_of(error, environment)
        if lost(error, connection.dialect.name, reason):
            raise UnreachableError(f"{where}: the database went away: {reason}") from None
        what = "data.source.query" if source.query is not None else "data.source.table"
        raise InputError(f"{where}: {what} cannot be read: {reason}") from None


def count_rows(source: SqlSource, environment: Environment) -> int | None:
    """Let the database count a source's rows; None where it cannot.

    Raises
    ------
    InputError
        The address is not usable, or the table does not exist.
    UnreachableError
        The database does not answer.
    """
    url = url_of(source.url, environment)
    where = f"sql {mask_url(url.render_as_string(hide_password=True))}"
    engine = engine_of(url, source.timeout, where)
    try:
        with connected(engine, where, environment) as connection:
            if source.table is not None:
                name = environment.resolve(source.table, "data.source.table")
                counted = select_all(connection, name, where).order_by(None).subquery()
                number = connection.execute(sa.select(sa.func.count()).select_from(counted))
            else:
                query = environment.resolve(str(source.query), "data.source.query")
                inner = query.strip().rstrip(";")
                raw = connection.execution_options(no_parameters=True)
                number = raw.exec_driver_sql(f"SELECT count(*) FROM ({inner}) AS counted")  # noqa: S608
            return int(number.scalar_one())
    except sa.exc.DBAPIError:  # reading the rows will tell what is wrong, if anything is
        return None
    finally:
        engine.dispose()


def _frame(result: sa.CursorResult[Any], where: str) -> pd.DataFrame:
    """Return all rows, converted chunk by chunk so that few live as Python objects at once."""
    names = column_names(list(result.keys()), where)
    chunks = [
        pd.DataFrame.from_records([tuple(row) for row in rows], columns=names, coerce_float=True)
        for rows in result.partitions(CHUNK_ROWS)
    ]
    return pd.concat(chunks, ignore_index=True) if chunks else pd.DataFrame(columns=names)


def select_all(connection: Connection, name: str, where: str) -> sa.Select[Any]:
    """Return the statement that reads one table in a repeatable order.

    Raises
    ------
    InputError
        The database has no such table or view.
    """
    inspector = sa.inspect(connection)
    schema, dot, table = name.partition(".")
    if dot and not inspector.has_table(name):
        found, place = inspector.has_table(table, schema=schema), schema
    else:
        found, place, table = inspector.has_table(name), None, name
    if not found:
        raise InputError(f"{where}: there is no table {name!r}; {_similar(inspector, name)}")
    key = inspector.get_pk_constraint(table, schema=place)["constrained_columns"]
    return (
        sa.select(sa.text("*"))
        .select_from(sa.table(table, schema=place))
        .order_by(*(sa.column(column) for column in key))
    )


def _similar(inspector: sa.Inspector, name: str) -> str:
    """Name the tables that may have been meant."""
    there: list[str] = []
    for schema in inspector.get_schema_names():
        if schema == "information_schema" or schema.startswith("pg_"):
            continue
        prefix = "" if schema == inspector.default_schema_name else f"{schema}."
        tables = [*inspector.get_table_names(schema), *inspector.get_view_names(schema)]
        there += [f"{prefix}{table}" for table in tables]
    lowered = {full.lower(): full for full in there}
    lowered |= {full.rpartition(".")[2].lower(): full for full in there}
    near = get_close_matches(name.lower(), lowered, n=1) or get_close_matches(
        name.rpartition(".")[2].lower(), lowered, n=1
    )
    if near:
        return f"did you mean {lowered[near[0]]!r}?"
    return f"there are {', '.join(sorted(there)[:20])}" if there else "there are no tables at all"


def lost(error: sa.exc.DBAPIError, dialect: str, reason: str) -> bool:
    """Tell a database that fails from a query that is wrong."""
    if error.connection_invalidated:
        return True
    if dialect == "sqlite":
        return "locked" in reason or "disk I/O" in reason
    return dialect == "postgresql" and isinstance(error, sa.exc.OperationalError)


def reason_of(error: sa.exc.DBAPIError, environment: Environment) -> str:
    """Return what the driver says, in one line without secrets."""
    return environment.hide(" ".join(str(error.orig).split()))
