"""MLflow's registry in a database, read from its tables."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError

from evergreen.errors import InputError, UnreachableError
from evergreen.serving.artifacts import fetch_by_mlflow, local_folder
from evergreen.serving.registry_reader import ModelState
from evergreen.serving.traffic import TAG

# The tables' revisions (Alembic's) that were checked, each with a version of MLflow that has it.
KNOWN_REVISIONS: Final = {"dc11669786a5": "3.17.2"}
PATIENCE: Final = 5  # seconds
_WORKSPACE: Final = "default"  # what MLflow uses where nobody asks for another one

_METADATA: Final = sa.MetaData()
_MODELS: Final = sa.Table("registered_models", _METADATA, sa.Column("workspace"), sa.Column("name"))
_ALIASES: Final = sa.Table(
    "registered_model_aliases",
    _METADATA,
    sa.Column("workspace"),
    sa.Column("name"),
    sa.Column("alias"),
    sa.Column("version"),
)
_TAGS: Final = sa.Table(
    "registered_model_tags",
    _METADATA,
    sa.Column("workspace"),
    sa.Column("name"),
    sa.Column("key"),
    sa.Column("value"),
)
_VERSIONS: Final = sa.Table(
    "model_versions",
    _METADATA,
    sa.Column("workspace"),
    sa.Column("name"),
    sa.Column("version"),
    sa.Column("source"),
    sa.Column("current_stage"),
)
_DELETED: Final = "Deleted_Internal"  # the stage of a version that was deleted


class TableRegistry:
    """The registry in a SQLite file or a PostgreSQL database."""

    def __init__(self, tracking_uri: str) -> None:
        try:
            url = sa.make_url(tracking_uri)
            if url.drivername in ("postgres", "postgresql"):
                url = url.set(drivername="postgresql+psycopg")
            self.address = url.render_as_string(hide_password=True)
            self._sqlite = url.get_backend_name() == "sqlite"
            self._file = Path(url.database or "")
            arguments = {"timeout": PATIENCE} if self._sqlite else {"connect_timeout": PATIENCE}
            # A look every few seconds needs no connection in between.
            self._engine = sa.create_engine(url, poolclass=sa.pool.NullPool, connect_args=arguments)
        except (ArgumentError, NoSuchModuleError, ImportError) as error:
            raise InputError(f"The registry's address cannot be used: {error}") from error
        self._tracking_uri = tracking_uri
        self._checked = False

    def models(self) -> tuple[str, ...]:
        """Return the names of the registered models."""
        query = sa.select(_MODELS.c.name).where(_MODELS.c.workspace == _WORKSPACE)
        with self._connection() as connection:
            return tuple(connection.execute(query).scalars())

    def state(self, name: str) -> ModelState | None:
        """Return a model's aliases and traffic plan, or None where it is unknown."""
        query = (
            sa.select(_ALIASES.c.alias, _ALIASES.c.version, _TAGS.c.value)
            .select_from(
                _MODELS.outerjoin(_ALIASES, _same(_ALIASES)).outerjoin(
                    _TAGS, _same(_TAGS) & (_TAGS.c.key == TAG)
                )
            )
            .where(*_of(_MODELS, name))
        )
        with self._connection() as connection:
            rows = connection.execute(query).all()
        if not rows:
            return None
        aliases = {row.alias: str(row.version) for row in rows if row.alias is not None}
        return ModelState(aliases, rows[0].value or None)

    def source(self, name: str, version: str) -> str | None:
        """Return the address of a version's files, or None where it is unknown."""
        if not version.isdecimal():
            return None
        query = sa.select(_VERSIONS.c.source).where(
            *_of(_VERSIONS, name),
            _VERSIONS.c.version == int(version),
            _VERSIONS.c.current_stage != _DELETED,
        )
        with self._connection() as connection:
            return connection.execute(query).scalar()

    def download(self, source: str, folder: Path) -> Path:
        """Copy the files at an address into ``folder``, unless they are on this machine."""
        if source.startswith("mlflow-artifacts:"):
            raise InputError(
                f"The bundle's files, {source}, are kept by a tracking server; give its address "
                "instead of its database's: MLFLOW_TRACKING_URI=http://…"
            )
        return local_folder(source) or fetch_by_mlflow(source, folder, self._tracking_uri)

    @contextmanager
    def _connection(self) -> Iterator[sa.Connection]:
        if self._sqlite and not self._file.exists():
            raise UnreachableError(
                f"The registry {self.address} cannot be reached: there is no such file. A "
                "training run makes it: python run.py --pipeline train"
            )
        try:
            with self._engine.connect() as connection:
                if not self._checked:
                    self._require_known(connection)
                yield connection
        except (DBAPIError, OSError) as error:
            reason = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
            raise UnreachableError(
                f"The registry {self.address} cannot be reached: {reason}"
            ) from error

    def _require_known(self, connection: sa.Connection) -> None:
        """Refuse tables of another version of MLflow: they may mean something else."""
        if not sa.inspect(connection).has_table("alembic_version"):
            raise InputError(f"{self.address} holds no registry of MLflow.")
        found: Any = connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()
        if found not in KNOWN_REVISIONS:
            raise InputError(
                f"The registry {self.address} was written by another version of MLflow (its "
                f"tables have revision {found}; this version reads those of MLflow "
                f"{', '.join(KNOWN_REVISIONS.values())}). Install that one, or run 'mlflow server' "
                "on it and give its address: MLFLOW_TRACKING_URI=http://…"
            )
        self._checked = True


def _of(table: sa.Table, name: str) -> tuple[sa.ColumnElement[bool], ...]:
    return table.c.workspace == _WORKSPACE, table.c.name == name


def _same(table: sa.Table) -> sa.ColumnElement[bool]:
    return (table.c.workspace == _MODELS.c.workspace) & (table.c.name == _MODELS.c.name)
