"""The thread that takes rows from the spool to the database, whenever the database is there."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from evergreen.serving import log_tables
from evergreen.serving.retention import delete_older
from evergreen.serving.spool import Chunk, Spool, to_line

if TYPE_CHECKING:
    from evergreen.serving.spool_exchange import Progress

CHUNK_BYTES: Final = 512 * 1024
GATHERING: Final = 0.2  # seconds between two batches, so that each is worth a transaction
FIRST_PAUSE, LONGEST_PAUSE = 0.25, 3.0  # seconds between attempts while the database is away
ADOPTION: Final = 10.0  # seconds between looks for what others left
HOUSEKEEPING: Final = 3600.0  # seconds between deletions of old rows

logger = logging.getLogger(__name__)


class Loader:
    """Moves what a spool holds into the database.

    Parameters
    ----------
    retain
        Seconds after which rows of ``model`` are deleted; None keeps them.
    adoption
        Seconds between looks for segments that nobody holds.
    progress
        Is told of all rows that leave the spool.
    """

    def __init__(
        self,
        engine: sa.Engine,
        spool: Spool,
        *,
        model: str,
        retain: float | None = None,
        adoption: float = ADOPTION,
        progress: Progress | None = None,
    ) -> None:
        self._adoption = adoption
        self._progress = progress
        self.spool = spool
        self.model = model
        self.retain = retain
        self.logged = 0  # rows that the database took, this process's and adopted ones
        self.rejected = 0  # rows that it will never take, and damaged ones
        self.failure: str | None = None  # why the database is not there
        self._engine = engine
        self._ready = False
        self._news = threading.Event()
        self._stopping = threading.Event()
        self._draining_until = 0.0
        self._thread = threading.Thread(target=self._run, name="prediction-log", daemon=True)

    def start(self) -> None:
        """Begin; what earlier processes left comes first."""
        self._thread.start()

    def notify(self) -> None:
        """Say that there is something in the spool."""
        self._news.set()

    def stop(self, patience: float) -> None:
        """Bring what is left to the database, as long as it is there and ``patience`` lasts."""
        self._draining_until = time.monotonic() + patience
        self._stopping.set()
        self._news.set()
        self._thread.join()
        self.close()

    def close(self) -> None:
        """Let go of the database."""
        self._engine.dispose()

    def whereabouts(self) -> tuple[int, int, int]:
        """Return how many rows are in the database, wait on disk, and were rejected."""
        return self.logged, self.spool.rows, self.rejected

    def insert(self, contents: Sequence[bytes]) -> None:
        """Bring rows to the database at once, for when there is no disk to keep them on."""
        self._prepare()
        self.logged += self._insert(contents)

    def _run(self) -> None:
        while True:
            try:
                self._work()
            except Exception as error:  # rows are safe on disk, and must not stay there
                logger.exception("Bringing rows to the prediction log failed")
                self.failure = f"{type(error).__name__}: {error}"
                if self._stopping.wait(LONGEST_PAUSE):
                    return
            else:
                return

    def _work(self) -> None:
        pause = FIRST_PAUSE
        next_adoption = next_housekeeping = 0.0
        while True:
            now = time.monotonic()
            if now >= next_adoption:
                next_adoption = now + self._adoption
                self._adopt()
            if now >= next_housekeeping:
                next_housekeeping = now + (HOUSEKEEPING if self._tidy() else LONGEST_PAUSE)
            self._news.clear()
            chunk = self.spool.read(CHUNK_BYTES)
            if chunk is None:
                if self._stopping.is_set():
                    return
                self._news.wait(max(0.0, next_adoption - time.monotonic()))
                self._stopping.wait(GATHERING)
            elif self._load(chunk):
                pause = FIRST_PAUSE
            elif self._stopping.is_set() and time.monotonic() > self._draining_until:
                return
            else:
                self._pause(pause)
                pause = min(pause * 2, LONGEST_PAUSE)

    def _pause(self, seconds: float) -> None:
        """Wait between attempts; whoever wants to stop waits for short moments only."""
        if self._stopping.is_set():
            time.sleep(FIRST_PAUSE)
        else:
            self._stopping.wait(seconds)

    def _load(self, chunk: Chunk) -> bool:
        """Bring a chunk to the database; say whether that went well."""
        try:
            self._prepare()
            logged = self._insert(chunk.contents)
        except (SQLAlchemyError, OSError) as error:
            self._report(error)
            return False
        rejected = len(chunk.contents) - logged + chunk.damaged
        if self._progress is not None:
            self._progress.add(chunk.segment, logged, rejected)
        self.spool.done(chunk)
        self.logged += logged
        self.rejected += rejected
        if chunk.damaged:
            logger.error(
                "%d damaged line(s) in the spool file %s were left out: a process or machine "
                "went down while it wrote them. The other lines are used.",
                chunk.damaged,
                chunk.segment.path,
            )
        if self.failure is not None:
            self.failure = None
            logger.warning("The prediction log's database is back; %d rows wait", self.spool.rows)
        return True

    def _insert(self, contents: Sequence[bytes]) -> int:
        """Insert rows and return how many; those that the database refuses are put aside."""
        if not contents:
            return 0
        try:
            log_tables.insert(self._engine, contents)
        except SQLAlchemyError as error:
            if not log_tables.refuses(error):
                raise
            if len(contents) > 1:
                half = len(contents) // 2
                return self._insert(contents[:half]) + self._insert(contents[half:])
            self._put_aside(contents[0], error)
            return 0
        return len(contents)

    def _put_aside(self, content: bytes, error: SQLAlchemyError) -> None:
        path: Path = self.spool.folder / "rejected.jsonl"
        self.spool.folder.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            file.write(to_line(content))
        reason = str(getattr(error, "orig", error)).strip().splitlines()[0]
        logger.error("A row that the database does not take was put into %s: %s", path, reason)

    def _prepare(self) -> None:
        if not self._ready:
            log_tables.create_tables(self._engine)
            self._ready = True

    def _report(self, error: SQLAlchemyError | OSError) -> None:
        reason = str(getattr(error, "orig", None) or error).strip() or type(error).__name__
        if self.failure is None:
            url = log_tables.shown(self._engine.url.render_as_string(hide_password=True))
            logger.warning(
                "The prediction log's database at %s is away (%s); rows are kept in %s until it "
                "is back",
                url,
                reason.splitlines()[0],
                self.spool.folder,
            )
        self.failure = reason.splitlines()[0]
        self._ready = False
        self._engine.dispose()  # connections to a server that went away are of no use

    def _adopt(self) -> None:
        if rows := self.spool.adopt():
            logger.warning(
                "%d row(s) of the prediction log that an ended process left in %s are taken over",
                rows,
                self.spool.folder,
            )

    def _tidy(self) -> bool:
        """Delete what is older than the log keeps; say whether that went well."""
        if self.retain is None:
            return True
        moment = time.time() - self.retain
        if rows := self.spool.remove_older(moment):
            logger.error(
                "%d row(s) that never reached the database were deleted: they are older than the "
                "log keeps rows",
                rows,
            )
        try:
            self._prepare()
            delete_older(self._engine, self.model, moment, self._stopping)
        except (SQLAlchemyError, OSError) as error:
            self._report(error)
            return False
        return True
