"""Optuna's own storage in a database, with a study for each candidate that is searched.

Its tables have names that others use, too (``alembic_version``, ``trials``), so they get a place
of their own: in PostgreSQL a schema, beside a SQLite file another one. Trials are written when they
have ended, so none is left as running by a process that was killed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa
from filelock import FileLock

from evergreen.database import PATIENCE, connect
from evergreen.training.candidates import Plan
from evergreen.training.proposals import contains, distributions_of
from evergreen.training.results import TrialOutcome

if TYPE_CHECKING:
    from optuna.storages import RDBStorage

SCHEMA: Final = "evergreen_searches"
KEPT_FOR: Final = timedelta(days=30)  # a search that nobody went on with
_TITLE: Final = "The store of interrupted searches"
_OUTCOME: Final = "outcome"
_BEGUN: Final = "begun"


class TrialStore:
    """The studies beside Evergreen's own tables in the database at a SQLAlchemy address.

    What goes wrong is raised as SQLAlchemy's, Optuna's or Evergreen's error: callers go without.
    """

    def __init__(self, database_url: str) -> None:
        self._at = _place(database_url)

    def close(self) -> None:
        """Give the database's connections back."""
        for name in ("_existing", "_storage"):
            storage = vars(self).pop(name, None)
            if storage is not None:
                storage.remove_session()
                storage.engine.dispose()

    @property
    def exists(self) -> bool:
        """Whether there is anything to read."""
        return self._existing is not None

    def read(self, study: str) -> tuple[TrialOutcome, ...]:
        """Return the trials of a study in the order in which they were added; none if unknown."""
        if self._existing is None:
            return ()
        try:
            number = self._existing.get_study_id_from_name(study)
        except KeyError:
            return ()
        return tuple(
            TrialOutcome.model_validate_json(trial.user_attrs[_OUTCOME])
            for trial in self._existing.get_all_trials(number, deepcopy=False)
            if _OUTCOME in trial.user_attrs
        )

    def add(
        self, study: str, outcomes: Iterable[TrialOutcome], plan: Plan, *, maximize: bool
    ) -> None:
        """Add trials that have ended to a study, which is made if it is not there."""
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        into = optuna.create_study(
            storage=self._storage,
            study_name=study,
            direction="maximize" if maximize else "minimize",
            load_if_exists=True,
        )
        if _BEGUN not in into.user_attrs:
            into.set_user_attr(_BEGUN, datetime.now(UTC).isoformat())
        for outcome in outcomes:
            into.add_trial(_frozen(outcome, plan))

    def forget(self, use_case: str) -> None:
        """Delete the studies of a use case, and those that are older than `KEPT_FOR`."""
        if self._existing is None:
            return
        oldest = (datetime.now(UTC) - KEPT_FOR).isoformat()
        for study in self._existing.get_all_studies():
            begun = study.user_attrs.get(_BEGUN, "")
            if study.study_name.startswith(f"{use_case}/") or begun < oldest:
                with suppress(KeyError):  # another process was quicker
                    self._existing.delete_study(study._study_id)

    @cached_property
    def _existing(self) -> RDBStorage | None:
        """What earlier searches left; None where there is nothing, which makes nothing."""
        url = self._at
        if url.get_backend_name() == "sqlite" and not Path(url.database or "").exists():
            return None
        engine = connect(_shown(url), _TITLE)
        try:
            schema = SCHEMA if url.get_backend_name() == "postgresql" else None
            found = sa.inspect(engine).has_table("alembic_version", schema=schema)
        finally:
            engine.dispose()
        return (
            self._open(skip_compatibility_check=True, skip_table_creation=True) if found else None
        )

    @cached_property
    def _storage(self) -> RDBStorage:
        """What trials are written to; its tables are made if they are not there."""
        with self._alone():
            storage = self._open(skip_compatibility_check=True)
            if storage.get_current_version() != storage.get_head_version():
                storage.upgrade()
        return storage

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep others from making the tables at the same time; make what they lie in."""
        engine = connect(_shown(self._at), _TITLE)
        with ExitStack() as held:
            held.callback(engine.dispose)  # which frees a server's lock, too
            if engine.dialect.name != "postgresql":
                held.enter_context(FileLock(f"{self._at.database}.lock", timeout=PATIENCE))
            connection = held.enter_context(engine.connect())  # makes SQLite's file
            connection = connection.execution_options(isolation_level="AUTOCOMMIT")
            if engine.dialect.name == "postgresql":
                lock = "SELECT pg_advisory_lock(hashtext(:schema))"
                connection.execute(sa.text(lock), {"schema": SCHEMA})
                connection.execute(sa.text(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}"))
            yield

    def _open(self, **options: bool) -> RDBStorage:
        from optuna.storages import RDBStorage

        timeout = "timeout" if self._at.get_backend_name() == "sqlite" else "connect_timeout"
        return RDBStorage(
            _shown(self._at),
            engine_kwargs={"connect_args": {timeout: PATIENCE}, "hide_parameters": True},
            **options,
        )


def _place(database_url: str) -> sa.URL:
    """Return the address of the tables' own place in, or beside, a database."""
    engine = connect(database_url, _TITLE)  # for what it makes of the address; nothing is opened
    url = engine.url
    engine.dispose()
    if url.get_backend_name() == "sqlite":
        file = Path(url.database or "evergreen.db")
        return url.set(database=str(file.with_name(f"{file.stem}-searches{file.suffix}")))
    given = url.query.get("options", "")
    options = given if isinstance(given, str) else " ".join(given)
    return url.update_query_dict({"options": f"{options} -csearch_path={SCHEMA}".strip()})


def _shown(url: sa.URL) -> str:
    return url.render_as_string(hide_password=False)


def _frozen(outcome: TrialOutcome, plan: Plan) -> Any:
    """Return a trial as Optuna keeps it; its settings are those inside of the searched space.

    The folds' scores stay in the outcome: as Optuna's own values each would cost five queries.
    """
    import optuna
    from optuna.trial import TrialState

    trial = outcome.trial
    states = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED}
    inside = {
        name: space
        for name, space in distributions_of(plan).items()
        if name in trial.params and contains(space, trial.params[name])
    }
    return optuna.create_trial(
        state=states.get(trial.state, TrialState.FAIL),
        value=trial.score,
        params={name: trial.params[name] for name in inside},
        distributions=inside,
        user_attrs={_OUTCOME: outcome.model_dump_json()},
    )
