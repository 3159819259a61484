"""What a search leaves behind while it runs, so that one that is killed can be gone on with.

Trials go to the database a few seconds after they have ended, from a thread of their own: a search
that is over before costs nothing, and a kill loses no more than these seconds and the trials that
were running. Where there is no database to be reached, the search does without.
"""

from __future__ import annotations

import hashlib
import json
import logging
import threading
from collections import defaultdict
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeVar

from evergreen.config import CandidateConfig
from evergreen.provenance import TRAINING_CODE, code_fingerprint
from evergreen.training.candidates import candidates_for
from evergreen.training.results import TrialOutcome
from evergreen.training.search_task import SearchTask

if TYPE_CHECKING:
    from evergreen.training.trial_store import TrialStore

T = TypeVar("T")

FIRST: Final = 10.0  # seconds until the first write: a shorter search is sooner made anew
EVERY: Final = 5.0  # seconds from one write to the next
PATIENCE: Final = 15.0  # seconds that a search that ends waits for the last write
_UNKEPT: Final = ("jobs", "spread", "dask", "trials", "timeout", "candidates")

logger = logging.getLogger(__name__)


class KeptTrials:
    """The trials of one search: those that were made before, and those that end now.

    With no ``database_url``, nothing is kept. ``rows`` is the fingerprint of the rows that are
    searched on. Left by an exception, it writes what it has; left well, the result is there.
    Nothing that goes wrong with the database is raised; the log says so, once.
    """

    def __init__(self, database_url: str | None, task: SearchTask, rows: str) -> None:
        self._url = database_url
        self._task = task
        self._rows = rows
        self._plans = {
            plan.candidate.name: plan for plan in candidates_for(task.contract.task, task.training)
        }
        self._before: dict[str, tuple[TrialOutcome, ...]] = {}
        self._waiting: dict[str, list[TrialOutcome]] = defaultdict(list)
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._writer: threading.Thread | None = None
        self._interrupted = False

    def __enter__(self) -> KeptTrials:
        self._before = self._try(self._read, {})
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._interrupted = kind is not None
        self._ended.set()
        if self._writer is not None:
            self._writer.join(PATIENCE)

    def of(self, candidate: str) -> tuple[TrialOutcome, ...]:
        """Return a candidate's trials that a search left that was interrupted."""
        return self._before.get(candidate, ())

    def keep(self, candidate: str, outcome: TrialOutcome) -> None:
        """Take a trial that has ended, to be written soon. Any thread may call this."""
        if self._url is None:
            return
        with self._lock:
            self._waiting[candidate].append(outcome)
            if self._writer is None:
                self._writer = threading.Thread(target=self._write, daemon=True)
                self._writer.start()

    def _read(self, store: TrialStore) -> dict[str, tuple[TrialOutcome, ...]]:
        if not store.exists:
            return {}
        return {candidate: store.read(self._study(candidate)) for candidate in self._plans}

    def _write(self) -> None:
        pause = FIRST
        while not self._ended.wait(pause):
            self._try(self._flush, None)
            pause = EVERY
        if self._interrupted:
            self._try(self._flush, None)

    def _flush(self, store: TrialStore) -> None:
        with self._lock:
            waiting, self._waiting = self._waiting, defaultdict(list)
        for candidate, outcomes in waiting.items():
            store.add(
                self._study(candidate),
                outcomes,
                self._plans[candidate],
                maximize=self._task.metric.greater_is_better,
            )

    def _try(self, work: Callable[[TrialStore], T], otherwise: T) -> T:
        """Return what ``work`` returns; where it fails, keep nothing from here on."""
        if self._url is None:
            return otherwise
        done, failure = _tried(self._url, work, otherwise)
        if failure is not None:
            self._url = None
            logger.warning(
                "The search's trials cannot be kept, so it could not go on after a kill: %s",
                failure,
            )
        return done

    def _study(self, candidate: str) -> str:
        return study_name(self._task, self._rows, candidate)


def study_name(task: SearchTask, rows: str, candidate: str) -> str:
    """Return the name under which a candidate's trials are kept: use case, candidate, and a hash.

    The hash is of everything that decides a trial. How many trials there are, how long they may
    take, and who does the work does not.
    """
    parts = {
        "rows": rows,
        "code": code_fingerprint(*TRAINING_CODE),
        "contract": task.contract.model_dump(mode="json"),
        "features": task.features.model_dump(mode="json"),
        "split": task.split.model_dump(mode="json"),
        "training": task.training.model_dump(mode="json", exclude=set(_UNKEPT)),
        "candidate": task.training.candidates.get(candidate, CandidateConfig()).model_dump(
            mode="json"
        ),
    }
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    return f"{task.contract.use_case}/{candidate}/{digest[:32]}"


def forget_trials(database_url: str, use_case: str) -> None:
    """Delete what searches of a use case have kept, and what nobody went on with for long.

    For when a search's result is safe. A database that cannot be reached is left as it is.
    """
    _, failure = _tried(database_url, lambda store: store.forget(use_case), None)
    if failure is not None:
        logger.info("Trials that were kept cannot be deleted: %s", failure)


def _tried(
    database_url: str, work: Callable[[TrialStore], T], otherwise: T
) -> tuple[T, str | None]:
    """Return what ``work`` returns, or ``otherwise`` and what went wrong, in a line."""
    from evergreen.training.trial_store import TrialStore  # SQLAlchemy takes a while to load

    try:
        store = TrialStore(database_url)
        try:
            return work(store), None
        finally:
            store.close()
    except Exception as error:  # whatever it is, no search is to fail for it
        reason = getattr(error.__cause__ or error, "orig", None) or error
        return otherwise, str(reason).strip().partition("\n")[0]
