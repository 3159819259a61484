"""The prediction log: every prediction that was answered, and the true labels that come later.

What it promises
----------------
A prediction is *acknowledged* when its answer goes out. Acknowledged predictions reach the
database exactly once, keyed by request id, row and arm:

* A database that is away, locked, slow or restarted loses nothing: rows wait on disk, in the
  spool, and are brought in when it is back, also by the next process after a restart.
* SIGTERM and SIGINT lose nothing.
* SIGKILL (or a crash of the process) loses, in the default mode, at most what is in the memory
  queue: rows of the last `GATHERING` seconds and the write that follows, and never more than
  ``queue_rows`` rows or one larger request, for a full queue is written to disk before more is
  taken. A crash of the machine may in addition lose what was not on the disk yet.
* With ``durable`` a prediction is acknowledged only after its row was synchronised to the disk
  (``fsync``): neither SIGKILL nor a crash of the machine loses any.

Where rows can be kept neither on disk nor in the database, nothing more is acknowledged: `record`
raises, and the server answers 503.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy.exc import SQLAlchemyError

from evergreen.errors import UnreachableError
from evergreen.serving import log_tables
from evergreen.serving.log_loader import Loader
from evergreen.serving.readable_log import ReadableLog
from evergreen.serving.records import (
    FeedbackRecord,
    PredictionBatch,
    PredictionRecord,
    Record,
    Scalar,
)
from evergreen.serving.redaction import Redaction
from evergreen.serving.row_encoding import encode
from evergreen.serving.spool import Spool
from evergreen.serving.spool_exchange import Courier, Outbox

GATHERING: Final = 0.05  # seconds that rows gather in memory before they go to the disk
QUEUE_ROWS: Final = 20_000
RETRY: Final = 1.0  # seconds between attempts while rows can be kept nowhere
DRAINING: Final = 10.0  # seconds that `close` gives the database

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LogCounts:
    """Where rows are. All but ``queued`` and ``spooled`` count from the start of the process."""

    logged: int  # in the database
    spooled: int  # on disk, waiting for it
    queued: int  # in memory
    refused: int  # not taken, so not acknowledged
    rejected: int  # damaged, or the database does not take them; see the log


class PredictionLog:
    """The log of one model, written by this process and possibly by others as well.

    `record` and `feedback` put rows into a queue and return at once; threads do the rest.

    Parameters
    ----------
    url
        SQLAlchemy address: ``sqlite:///FILE`` or ``postgresql://…``.
    model
        Name of the model, kept with every row.
    spool
        Folder of rows that the database does not have yet. Processes may share it.
    durable
        Whether `safe` waits for the disk; see the module.
    queue_rows
        How many rows may wait in memory.
    redaction
        What is dropped or hashed before a row reaches any disk.
    retain
        Seconds after which rows are deleted; None keeps them.
    readable
        A log file for people, besides.
    server
        Name of the server whose log process (`evergreen.serving.log_process`) brings the rows to
        the database; None: a thread of this process does.

    Raises
    ------
    InputError
        If the address is unusable. A database that does not answer is no error: it may come back.
    """

    def __init__(
        self,
        url: str,
        model: str,
        *,
        spool: Path,
        durable: bool = False,
        queue_rows: int = QUEUE_ROWS,
        redaction: Redaction | None = None,
        retain: float | None = None,
        readable: ReadableLog | None = None,
        server: str | None = None,
    ) -> None:
        self.model = model
        self.durable = durable
        self.queue_rows = queue_rows
        self._redaction = redaction or Redaction({})
        self._readable = readable
        folder = folder_for(spool, url)
        self._spool: Spool
        self._loader: Loader | Courier
        if server is None:
            engine = log_tables.connect(url, durable=durable)
            self._spool = Spool(folder, durable=durable)
            self._loader = Loader(engine, self._spool, model=model, retain=retain)
        else:
            self._spool = outbox = Outbox(folder, server, durable=durable)
            self._loader = Courier(url, outbox, server, model=model)
        self._queue: list[Record | PredictionBatch] = []
        self._queued = 0  # rows in memory
        self._handed = 0  # calls of `record`, counted
        self._kept = 0  # of which so many are on disk or in the database
        self._pending: list[bytes] = []  # encoded rows that could not be kept yet
        self._failure: str | None = None  # why rows can be kept nowhere
        self._refused = 0
        self._unwritable = 0
        self._waiting: list[tuple[int, Callable[[str | None], None]]] = []
        self._lock = threading.Lock()  # of what stands above; held for moments only
        self._writing = threading.Lock()  # one thread at a time brings rows to the disk
        self._news = threading.Event()
        self._closing = threading.Event()
        self._writer = threading.Thread(target=self._run, name="prediction-queue", daemon=True)
        self._loader.start()
        self._writer.start()

    # --- the hot path ----------------------------------------------------------------------

    def record(self, records: Sequence[PredictionRecord | FeedbackRecord]) -> None:
        """Take rows; microseconds, unless the queue is full and must go to the disk first.

        Raises
        ------
        UnreachableError
            If the queue is full and rows can be kept nowhere, or the log was closed. The
            prediction must not be acknowledged.
        """
        self._take(records, len(records))

    def record_batch(self, batch: PredictionBatch) -> None:
        """Take the rows of one large request; raises as `record` does.

        Raises
        ------
        ValueError
            If its columns are not of one length.
        """
        batch.require_even()
        self._take((batch,), len(batch))

    def feedback(
        self,
        request_id: str,
        label: Scalar,
        *,
        row: int = 0,
        moment: float | None = None,
        key_id: str | None = None,
    ) -> None:
        """Take the true label of a prediction, whose own row may come later, or never.

        Of several labels for one prediction, the one with the newest ``moment`` (Unix seconds;
        default: now) holds. Raises as `record` does.
        """
        moment = time.time() if moment is None else moment
        self.record(
            [
                FeedbackRecord(
                    request_id=request_id, label=label, row=row, time=moment, key_id=key_id
                )
            ]
        )

    async def safe(self) -> None:
        """Return when what was recorded before may be acknowledged: at once, unless ``durable``.

        Raises
        ------
        UnreachableError
            If it cannot be kept. The prediction must not be acknowledged.
        """
        if not self.durable:
            return
        loop = asyncio.get_running_loop()
        future: asyncio.Future[str | None] = loop.create_future()

        def tell(problem: str | None) -> None:
            loop.call_soon_threadsafe(_set_result, future, problem)

        if self._register(tell) and (problem := await future) is not None:
            raise UnreachableError(problem)

    def wait_safe(self, timeout: float | None = None) -> None:
        """Do as `safe` does, for callers without an event loop; always waits for the disk."""
        done = threading.Event()
        problems: list[str] = []

        def tell(problem: str | None) -> None:
            if problem is not None:
                problems.append(problem)
            done.set()

        if self._register(tell) and not done.wait(timeout):
            raise UnreachableError(f"The prediction log kept nothing for {timeout:g} s.")
        if problems:
            raise UnreachableError(problems[0])

    # --- what becomes of it ----------------------------------------------------------------

    @property
    def counts(self) -> LogCounts:
        """Where rows are at the moment."""
        logged, spooled, rejected = self._loader.whereabouts()
        return LogCounts(
            logged=logged,
            spooled=spooled,
            queued=self._queued,
            refused=self._refused,
            rejected=rejected + self._unwritable,
        )

    @property
    def problem(self) -> str | None:
        """Why rows are not where they belong, or None: what `/health` shows."""
        return self._failure or self._loader.failure

    def close(self, patience: float = DRAINING) -> None:
        """Take no more rows, and bring those there are to the disk and, in time, the database.

        What the database does not take within ``patience`` seconds stays in the spool for the
        next process. Closing twice does no harm.
        """
        if self._closing.is_set():
            return
        with self._lock:  # what was taken before is in the queue by now
            self._closing.set()
        self._news.set()
        self._writer.join()
        self._loader.stop(patience)
        left = self._spool.rows if isinstance(self._loader, Loader) else 0
        self._spool.close()
        if self._readable is not None:
            self._readable.close()
        if left:
            logger.warning(
                "%d row(s) of the prediction log stay in %s; the next server brings them in",
                left,
                self._spool.folder,
            )

    # --- inside ----------------------------------------------------------------------------

    def _take(self, records: Sequence[Record | PredictionBatch], rows: int) -> None:
        if self._queued + rows > self.queue_rows and self._queued:
            self._flush()
        with self._lock:
            problem = "The server is shutting down." if self._closing.is_set() else self._failure
            if problem is not None:
                self._refused += rows
                raise UnreachableError(problem)
            self._queue.extend(records)
            self._queued += rows
            self._handed += 1
        if not self._news.is_set():
            self._news.set()

    def _run(self) -> None:
        while not self._closing.is_set():
            if self._news.wait(self._spool.due):
                if not self.durable:
                    self._closing.wait(GATHERING)
                self._news.clear()
                if not self._flush():
                    self._closing.wait(RETRY)
                    self._news.set()
            if self._spool.due == 0.0:
                self._spool.hand_over()
        if not self._flush():
            logger.error(
                "%d row(s) of the prediction log are lost: %s", len(self._pending), self._failure
            )

    def _flush(self) -> bool:
        """Bring the queue to the disk; say whether that went well."""
        with self._writing:
            with self._lock:
                queue, self._queue = self._queue, []
                rows, handed = self._queued, self._handed
            self._encode(queue)
            self._failure = self._keep(self._pending)
            if self._failure is None:
                self._pending = []
                with self._lock:
                    self._queued -= rows
                    self._kept = handed
            self._tell(handed)
            return self._failure is None

    def _encode(self, queue: list[Record | PredictionBatch]) -> None:
        for record in queue:
            try:
                self._pending += encode(record, self.model, self._redaction, self._readable)
            except Exception:  # the thread must go on for the sake of all other rows
                logger.exception("A record cannot be written down: %.500r", record)
                self._unwritable += 1
        if self._readable is not None:
            self._readable.flush()

    def _keep(self, lines: list[bytes]) -> str | None:
        """Append lines to the spool, else insert them; return why neither went, or None."""
        if not lines:
            return None
        try:
            self._spool.append(lines)
        except OSError as error:
            try:
                self._loader.insert([line[9:-1] for line in lines])
            except (SQLAlchemyError, OSError):
                reason = (
                    f"The prediction log can keep rows neither in {self._spool.folder} "
                    f"({error.strerror or error}) nor in its database, so predictions are not "
                    "answered. Free some space, or bring the database back."
                )
                logger.error("%s", reason)  # noqa: TRY400  (one line is enough)
                return reason
        else:
            self._loader.notify()
        return None

    def _register(self, tell: Callable[[str | None], None]) -> bool:
        """Have ``tell`` called once all that was recorded so far is kept; False: it is already."""
        with self._lock:
            if self._kept >= self._handed:
                return False
            self._waiting.append((self._handed, tell))
        self._news.set()
        return True

    def _tell(self, handed: int) -> None:
        with self._lock:
            due = [tell for number, tell in self._waiting if number <= handed]
            self._waiting = [entry for entry in self._waiting if entry[0] > handed]
        for tell in due:
            tell(self._failure)


def folder_for(spool: Path, url: str) -> Path:
    """Return the folder for one database: what waits for one must not end in another."""
    return spool / hashlib.sha256(log_tables.shown(url).encode()).hexdigest()[:12]


def _set_result(future: asyncio.Future[str | None], problem: str | None) -> None:
    if not future.done():  # whoever waited may have gone
        future.set_result(problem)
