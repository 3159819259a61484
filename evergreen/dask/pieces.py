"""Work that falls into pieces, each done by whichever worker is free, and again if one is lost."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, TypeVar

from evergreen.dask import cluster
from evergreen.dask.cluster import WorkersPausedError, halted_workers, workers_of
from evergreen.errors import UnreachableError

if TYPE_CHECKING:
    from distributed import Client, Future

Piece = TypeVar("Piece")
Made = TypeVar("Made")

ATTEMPTS: Final = 3  # at one piece; beside those that a cluster makes by itself
AHEAD: Final = 2  # pieces per thread that are begun before they are asked for
WATCH_SECONDS: Final = 2.0  # between looks whether workers are there

logger = logging.getLogger(__name__)


class PieceLostError(UnreachableError):
    """The workers of a piece were lost again and again."""


def map_pieces(
    client: Client, function: Callable[[Piece], Made], pieces: Sequence[Piece]
) -> Iterator[Made]:
    """Yield what ``function`` makes of each piece, in order; a bounded number is under way.

    Function, pieces and results are pickled: what is large belongs in files that all workers see.
    The piece of a lost worker goes to another one, so ``function`` may work twice at it, even at
    the same time.

    Raises
    ------
    PieceLostError
        If the workers of a piece are lost again and again.
    UnreachableError
        If no workers are left, those there are paused, or the scheduler is gone.
    Exception
        Whatever ``function`` raises.
    """
    waiting: deque[_Task] = deque()
    tasks = (
        _Task(client, function, piece, f"Piece {number} of {len(pieces)}")
        for number, piece in enumerate(pieces, start=1)
    )
    try:
        while True:
            room = AHEAD * max(1, sum(client.nthreads().values())) - len(waiting)
            waiting.extend(islice(tasks, max(0, room)))
            if not waiting:
                return
            made: Made = waiting[0].result()
            waiting.popleft()
            yield made
    finally:
        if waiting and client.status == "running":
            client.cancel([task.future for task in waiting])


def map_pieces_or_do_them(
    client: Client, function: Callable[[Piece], Made], pieces: Sequence[Piece]
) -> Iterator[Made]:
    """Yield what `map_pieces` does; once a piece is lost again and again, the rest is done here.

    Raises
    ------
    UnreachableError, Exception
        As `map_pieces` does.
    """
    done = 0
    try:
        for made in map_pieces(client, function, pieces):
            done += 1
            yield made
    except PieceLostError as error:
        logger.warning("%s. What is left of it is done here", error)
        for piece in pieces[done:]:
            yield function(piece)


class _Task:
    """One piece on its way."""

    def __init__(self, client: Client, function: Callable[..., Any], piece: Any, name: str) -> None:
        self._client, self._function, self._piece, self._name = client, function, piece, name
        self.future = self._begun()

    def _begun(self) -> Future:
        return self._client.submit(self._function, self._piece, pure=False)

    def result(self) -> Any:
        """Wait for what comes of it; begin again where its worker is lost."""
        from distributed.scheduler import KilledWorker

        for attempt in range(1, ATTEMPTS + 1):
            self._await()
            try:
                return self.future.result()
            except KilledWorker as error:
                lost = error.last_worker.address
                logger.warning(
                    "%s lost its Dask worker %s (attempt %d of %d)",
                    *(self._name, lost, attempt, ATTEMPTS),
                )
                self.future = self._begun()
            except CancelledError as error:
                raise UnreachableError(
                    f"The Dask scheduler {self._client.scheduler.addr} is gone, or was started "
                    f"anew, while it worked ({error}). See that it runs, and run again"
                ) from error
        raise PieceLostError(
            f"{self._name} lost its Dask worker in each of {ATTEMPTS} attempts, the last one "
            f"{lost}. If they ran out of memory, give them more, or take smaller pieces. Their "
            "logs tell what ended them"
        )

    def _await(self) -> None:
        """Return once it is done, in whatever way."""
        from distributed import wait

        seen = time.monotonic()
        while not self.future.done():
            try:
                wait([self.future], timeout=WATCH_SECONDS)
            except TimeoutError:
                halted = self._halted()
                if self._client.status != "running" or (workers_of(self._client) and not halted):
                    seen = time.monotonic()
                elif halted and time.monotonic() - seen > cluster.START_SECONDS:
                    raise WorkersPausedError(halted) from None
                elif time.monotonic() - seen > cluster.START_SECONDS:
                    raise UnreachableError(
                        f"{self._name} waits, but the Dask cluster has no workers any more. "
                        "Start some, and run again"
                    ) from None
            except CancelledError:
                return

    def _halted(self) -> list[str]:
        """Return the paused worker that has the task, or all workers where all are paused."""
        if self._client.status != "running":
            return []
        halted = halted_workers(self._client)
        if set(halted) == set(workers_of(self._client)):
            return halted
        has = self._client.processing() if halted else {}
        return [worker for worker in halted if self.future.key in has.get(worker, ())]
