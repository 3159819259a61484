"""Candidates searched by the workers of a Dask cluster, one at a time by each.

A worker that is lost takes no more than the trial that it was at: those that had ended are known
here, and the candidate goes on with them on another worker, as after a kill of the whole search.
"""

from __future__ import annotations

import logging
import queue
import uuid
from collections import Counter, defaultdict, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

from evergreen.dask.cluster import connected, free_workers, workers_of
from evergreen.errors import UnreachableError
from evergreen.training.candidate_search import CandidateSearch
from evergreen.training.kept_trials import KeptTrials
from evergreen.training.progress import OnProgress
from evergreen.training.results import CandidateResult, TrialOutcome
from evergreen.training.search_task import Message, Order, SearchTask

if TYPE_CHECKING:
    from distributed import Client, Future

ATTEMPTS: Final = 3  # for a candidate whose worker is lost
WATCH_SECONDS: Final = 0.5  # between looks at who is there, and what is told
_SEARCH: Final = "search-"  # so the names of the tasks begin

logger = logging.getLogger(__name__)


def search_on_dask(
    task: SearchTask, names: Sequence[str], *, on_progress: OnProgress, kept: KeptTrials
) -> dict[str, CandidateResult]:
    """Search the candidates, the first names first; return what each gave.

    The task's table must lie where all workers see it. At most ``training.jobs`` are searched at
    once. ``on_progress`` is called from this thread.

    Raises
    ------
    InputError
        If the cluster does not suit this process, or the task its table.
    UnreachableError
        If there is no cluster, or a candidate's workers are lost again and again.
    """
    config = task.training.dask
    with connected(config) as client:
        search = _SharedSearch(client, task, kept, on_progress)
        try:
            with search.listening():
                search.run(names)
        finally:
            search.give_up(restart=config.scheduler is not None)
        return search.results


class _SharedSearch:
    """What is searched where, and what has been heard of it."""

    def __init__(
        self, client: Client, task: SearchTask, kept: KeptTrials, on_progress: OnProgress
    ) -> None:
        self.results: dict[str, CandidateResult] = {}
        self._client = client
        self._task = task
        self._kept = kept
        self._on_progress = on_progress
        self._topic = f"evergreen-{uuid.uuid4()}"
        self._told: queue.SimpleQueue[dict[str, str]] = queue.SimpleQueue()
        self._ended: dict[str, list[TrialOutcome]] = defaultdict(list)
        self._lost: Counter[str] = Counter()
        self._running: dict[Future, tuple[str, str]] = {}  # candidate and worker

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Hear what workers tell."""
        self._client.subscribe_topic(self._topic, lambda event: self._told.put(event[1]))
        try:
            yield
        finally:
            self._client.unsubscribe_topic(self._topic)

    def run(self, names: Sequence[str]) -> None:
        """Give candidates to idle workers until all have a result."""
        from distributed import wait

        waiting = deque(names)
        while waiting or self._running:
            there = workers_of(self._client)
            waiting.extendleft(self._candidates_lost(there))
            self._hand_out(waiting, there)
            if self._running:
                with suppress(TimeoutError):
                    wait(list(self._running), timeout=WATCH_SECONDS, return_when="FIRST_COMPLETED")
            self._hear()
            for future in [each for each in self._running if each.done()]:
                waiting.extendleft(self._take(future))

    def give_up(self, *, restart: bool) -> None:
        """Let workers forget what has not ended; in a cluster that runs on, they start anew."""
        busy = {worker for _, worker in self._running.values()}
        self._client.cancel(list(self._running), force=True)
        self._running.clear()
        if busy and restart:
            free_workers(self._client, busy, _SEARCH)

    def _hand_out(self, waiting: deque[str], there: Sequence[str]) -> None:
        busy = {worker for _, worker in self._running.values()}
        idle = [worker for worker in there if worker not in busy]
        most = self._task.training.jobs or len(there)
        while waiting and idle and len(self._running) < most:
            name, worker = waiting.popleft(), idle.pop(0)
            before = {each.trial.number: each for each in self._kept.of(name)}
            before |= {each.trial.number: each for each in self._ended[name]}
            order = Order(candidate=name, kept=tuple(before[number] for number in sorted(before)))
            future = self._client.submit(
                _search_there,
                self._task.model_dump_json(),
                order.model_dump_json(),
                self._topic,
                key=f"{_SEARCH}{name}-{uuid.uuid4()}",
                workers=[worker],
                pure=False,
            )
            self._running[future] = name, worker

    def _candidates_lost(self, there: Sequence[str]) -> list[str]:
        """Return the candidates whose workers are gone; raise where that goes on and on."""
        gone = [each for each, (_, worker) in self._running.items() if worker not in there]
        return [self._lose(future) for future in gone]

    def _lose(self, future: Future) -> str:
        name, worker = self._running.pop(future)
        future.cancel(force=True)
        self._lost[name] += 1
        logger.warning("The Dask worker %s was lost while it searched %s", worker, name)
        if self._lost[name] == ATTEMPTS:
            raise UnreachableError(
                f"{ATTEMPTS} workers of {self._task.training.dask.title} were lost while they "
                f"searched {name!r}, the last one {worker}. If they ran out of memory, give them "
                "more, or set training.search_rows. Their logs tell what ended them"
            )
        return name

    def _take(self, future: Future) -> list[str]:
        """Take a result; return the candidate again if its worker was lost."""
        from distributed import KilledWorker
        from distributed.client import FutureCancelledError

        try:
            told = future.result()
        except (KilledWorker, FutureCancelledError):
            return [self._lose(future)]
        name, _ = self._running.pop(future)
        self.results[name] = CandidateResult.model_validate_json(told)
        return []

    def _hear(self) -> None:
        while not self._told.empty():
            event = self._told.get()
            message = Message.model_validate_json(event["message"])
            if message.progress is not None:
                self._on_progress(message.progress)
            if message.trial is not None:
                self._ended[event["candidate"]].append(message.trial)
                self._kept.keep(event["candidate"], message.trial)


def _search_there(task_text: str, order_text: str, topic: str) -> str:
    """Search a candidate in a worker; what is told goes by the scheduler, as JSON.

    ``threads`` of the task: 1, or as many as the worker has.
    """
    from distributed import get_worker

    worker = get_worker()
    task = SearchTask.model_validate_json(task_text)
    order = Order.model_validate_json(order_text)
    if task.threads > 1:
        task = task.model_copy(update={"threads": worker.state.nthreads})

    def tell(message: Message) -> None:
        told: dict[str, Any] = {"candidate": order.candidate, "message": message.model_dump_json()}
        worker.log_event(topic, told)

    search = CandidateSearch(task)
    result = search.search(
        order.candidate,
        lambda progress: tell(Message(kind="progress", progress=progress)),
        kept=order.kept,
        on_trial=lambda outcome: tell(Message(kind="trial", trial=outcome)),
    )
    return result.model_dump_json()
