"""MLflow's tracking store: making the local one, and reaching any.

Clients are made with an explicit address; MLflow's global state is never touched.
"""

from __future__ import annotations

import contextlib
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from evergreen.errors import InputError, UnreachableError
from evergreen.paths import Home

if TYPE_CHECKING:
    from mlflow import MlflowClient

PATIENCE = 5.0  # seconds to wait for a server's or a database's first answer


def prepare_store(home: Home, experiment: str) -> str:
    """Make MLflow's SQLite store and an experiment under ``home``; return the experiment's id.

    What exists is kept. The first call takes a few seconds: MLflow builds its tables by going
    through every migration that it ever had, and offers no other way.

    Raises
    ------
    UnreachableError
        If the folder cannot be written, or the store cannot be opened.
    """
    database = home.mlflow_database
    try:
        database.parent.mkdir(parents=True, exist_ok=True)
        home.mlflow_artifacts.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UnreachableError(
            f"Cannot make MLflow's folder {database.parent}: {error.strerror or error}"
        ) from error
    if not database.exists():
        with mlflow_errors(home.mlflow_uri):
            _create_database(home, database)
    client = open_client(home.mlflow_uri)
    with mlflow_errors(home.mlflow_uri):
        return ensure_experiment(client, experiment, home.mlflow_artifacts.as_uri())


def ensure_experiment(client: MlflowClient, name: str, artifacts: str | None = None) -> str:
    """Return the id of an experiment, which is made or restored if need be.

    ``artifacts`` is the address under which a new one keeps its files. Without it the store
    decides, which is right for a server; a SQLite store would use the working directory.
    """
    found = client.get_experiment_by_name(name)
    if found is None:
        location = None if artifacts is None else f"{artifacts.rstrip('/')}/{name}"
        return str(client.create_experiment(name, artifact_location=location))
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    return str(found.experiment_id)


def open_client(tracking_uri: str) -> MlflowClient:
    """Return a client of the store at ``tracking_uri``, after making sure that it answers.

    Raises
    ------
    UnreachableError
        If it does not answer.
    InputError
        If the address is of no kind that is known.
    """
    from mlflow import MlflowClient

    require_reachable(tracking_uri)
    with mlflow_errors(tracking_uri):
        return MlflowClient(tracking_uri=tracking_uri, registry_uri=tracking_uri)


def require_reachable(tracking_uri: str) -> None:
    """Ask the store for a sign of life; MLflow itself would go on trying for minutes.

    Raises
    ------
    UnreachableError
        If there is none.
    InputError
        If the address is of no kind that is known.
    """
    scheme = urlsplit(tracking_uri).scheme
    if scheme in ("http", "https"):
        _ask_server(tracking_uri)
    elif scheme.startswith("sqlite"):
        _ask_sqlite(tracking_uri)
    elif scheme.split("+")[0] in ("postgresql", "mysql", "mssql"):
        _ask_database(tracking_uri)
    else:
        raise InputError(
            f"{tracking_uri!r} is no address of an MLflow store that can be used; use http(s)://, "
            "sqlite:/// or postgresql://"
        )


@contextlib.contextmanager
def mlflow_errors(tracking_uri: str) -> Iterator[None]:
    """Turn MLflow's failures to reach its store or its files into `UnreachableError`."""
    import requests
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import OperationalError

    try:
        yield
    except (requests.RequestException, OperationalError, OSError) as error:
        raise _unreachable(tracking_uri, error) from error
    except MlflowException as error:
        # The stores wrap what their database or connection says, and keep its name in the text.
        wrapped = ("OperationalError", "API request to", "Connection", "Max retries")
        if any(word in str(error) for word in wrapped):
            raise _unreachable(tracking_uri, error) from error
        raise


def shown(tracking_uri: str) -> str:
    """Return the address without its password."""
    parts = urlsplit(tracking_uri)
    if parts.password is None:
        return tracking_uri
    return tracking_uri.replace(f":{parts.password}@", ":***@", 1)


def _create_database(home: Home, database: Path) -> None:
    """Build the tables, with the default experiment's files under ``home`` as well.

    They are built in a file beside, which takes its place when it is complete: a run that is
    killed meanwhile leaves no half-built store, and of two runs the first one wins.
    """
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    with tempfile.TemporaryDirectory(dir=database.parent, prefix=".making-") as folder:
        built = Path(folder) / database.name
        artifacts = home.mlflow_artifacts / "default"
        store = SqlAlchemyStore(f"sqlite:///{built}", artifacts.as_uri())
        store.engine.dispose()
        with contextlib.suppress(FileExistsError):
            database.hardlink_to(built)


def _ask_server(tracking_uri: str) -> None:
    import httpx
    from mlflow.environment_variables import MLFLOW_TRACKING_INSECURE_TLS

    verify = not MLFLOW_TRACKING_INSECURE_TLS.get()
    try:
        answer = httpx.get(f"{tracking_uri.rstrip('/')}/health", timeout=PATIENCE, verify=verify)
    except httpx.HTTPError as error:
        raise _unreachable(tracking_uri, error) from error
    if answer.is_server_error:
        raise _unreachable(tracking_uri, f"it answers with status {answer.status_code}")


def _ask_sqlite(tracking_uri: str) -> None:
    path = tracking_uri.split(":///", 1)[-1]
    if not Path(path).exists():
        raise _unreachable(tracking_uri, "there is no such file; a training run makes it")
    try:
        connection = sqlite3.connect(path, timeout=PATIENCE)
        try:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise _unreachable(tracking_uri, error) from error


def _ask_database(tracking_uri: str) -> None:
    import sqlalchemy
    from sqlalchemy.exc import SQLAlchemyError

    try:
        url = sqlalchemy.make_url(tracking_uri)
        timeout = {"connect_timeout": int(PATIENCE)} if "psycopg" in url.drivername else {}
        engine = sqlalchemy.create_engine(url, connect_args=timeout)
        with engine.connect():
            pass
        engine.dispose()
    except (SQLAlchemyError, ImportError) as error:
        raise _unreachable(tracking_uri, error) from error


def _unreachable(tracking_uri: str, reason: Any) -> UnreachableError:
    first = (str(reason).strip() or type(reason).__name__).splitlines()[0]
    return UnreachableError(f"MLflow's store at {shown(tracking_uri)} cannot be reached: {first}")
