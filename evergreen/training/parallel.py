"""Sharing candidates between this process and helpers.

This process works too: its libraries are loaded already, so it starts at once while the helpers
start up, and a small search is over before they would have been of use.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

from evergreen.training.helper import Helper
from evergreen.training.kept_trials import KeptTrials
from evergreen.training.progress import OnProgress, Progress
from evergreen.training.results import CandidateResult
from evergreen.training.search_task import Order, SearchTask

SearchHere = Callable[[str, OnProgress], CandidateResult]

SMALL_TABLE = 200_000  # values; below, starting a second thread takes longer than it saves


def processes_for(candidates: int, jobs: int | None) -> int:
    """Return how many processes to use: as many as jobs, cores and candidates allow.

    Cores are those that this process may use (affinity, container limits).
    """
    import joblib

    cores: int = joblib.cpu_count()
    return max(1, min(candidates, cores, jobs or cores))


def threads_for(processes: int, values: int) -> int:
    """Return how many threads each process may use on a table of so many values."""
    import joblib

    return 1 if values < SMALL_TABLE else max(1, joblib.cpu_count() // processes)


class Crew:
    """The candidates that wait, the helper processes that take them, and what came out.

    Entered, it starts the helpers; left, it waits for them. Whatever happens, none stays behind.
    The first names are taken first. ``on_progress`` is called from one thread at a time. ``kept``
    gets the helpers' trials, and gives them those that a search before has left.

    Raises (on leaving, or from `work`)
    -----------------------------------
    UnreachableError
        If a helper process was killed.
    """

    def __init__(
        self,
        task: SearchTask,
        names: Sequence[str],
        *,
        helpers: int,
        on_progress: OnProgress,
        kept: KeptTrials | None = None,
    ) -> None:
        self.results: dict[str, CandidateResult] = {}
        self._task = task
        self._waiting = deque(names)
        self._count = helpers
        self._on_progress = on_progress
        self._kept = kept
        self._lock = threading.Lock()
        self._failure: BaseException | None = None
        self._helpers: list[Helper] = []
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Crew:
        try:
            for _ in range(self._count):
                self._helpers.append(Helper(self._task))
        except BaseException:
            self._dismiss()
            raise
        for helper in self._helpers:
            thread = threading.Thread(target=self._serve, args=(helper,), daemon=True)
            self._threads.append(thread)
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._wait()
        finally:
            self._dismiss()

    @property
    def pids(self) -> list[int]:
        """The helpers' process ids."""
        return [helper.pid for helper in self._helpers]

    def work(self, search_here: SearchHere) -> None:
        """Search candidates in this process until none is waiting."""
        while (name := self._next(None)) is not None:
            result = search_here(name, self.pass_on)
            with self._lock:
                self.results[name] = result

    def pass_on(self, progress: Progress) -> None:
        """Tell of progress, and of a failure elsewhere, which ends the search."""
        self._raise_failure()
        with self._lock:
            self._on_progress(progress)

    def _wait(self) -> None:
        """Wait for the helpers that search; end those that wait for work."""
        for helper in self._helpers:
            if helper.current is None:
                helper.stop()
        for thread in self._threads:
            thread.join()
        self._raise_failure()

    def _dismiss(self) -> None:
        """End all helpers, whatever they do."""
        with self._lock:
            self._waiting.clear()
        for helper in self._helpers:
            helper.stop()
        for thread in self._threads:
            thread.join()
        for helper in self._helpers:
            helper.close()

    def _serve(self, helper: Helper) -> None:
        try:
            helper.start()
            while (name := self._next(helper)) is not None:
                result = self._search(helper, name)
                with self._lock:
                    self.results[name] = result
                    helper.current = None
        except BaseException as error:  # raised again where the search was called
            with self._lock:
                if self._waiting or helper.current is not None:
                    self._failure = self._failure or error

    def _search(self, helper: Helper, name: str) -> CandidateResult:
        if self._kept is None:
            return helper.search(Order(candidate=name), self.pass_on)
        order = Order(candidate=name, kept=self._kept.of(name))
        return helper.search(order, self.pass_on, partial(self._kept.keep, name))

    def _next(self, helper: Helper | None) -> str | None:
        self._raise_failure()
        with self._lock:
            name = self._waiting.popleft() if self._waiting else None
            if helper is not None:
                helper.current = name
            return name

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure
