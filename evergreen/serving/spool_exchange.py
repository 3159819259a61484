"""How workers hand rows to their server's log process: files that they let go of.

A segment that nobody holds a lock on belongs to whoever finds it; that is how a spool survives its
process. Here it is also how rows travel: a worker lets go of its segment a moment after the first
row in it, and the log process takes it over at once. The name of the server is part of a segment's
name, so that servers which share a folder leave each other's segments alone while they are fresh.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any, Final

from evergreen.serving import log_tables
from evergreen.serving.log_loader import Loader
from evergreen.serving.spool import STRAY, SUFFIX, Segment, Spool, left_behind

HANDOVER: Final = 0.2  # seconds that a worker keeps a segment
_STATUS: Final = ".status"
_STALE: Final = 86_400.0  # seconds after which a status that nobody removed is rubbish


class Outbox(Spool):
    """The segments that one worker writes, for the log process of ``server``."""

    def __init__(self, folder: Path, server: str, *, durable: bool = False) -> None:
        super().__init__(folder, durable=durable, mark=f"-{server}")
        self.appended = 0  # rows, from the start
        self._since = 0.0

    def append(self, lines: Sequence[bytes]) -> None:
        """Write lines at the end; all of them or, where ``OSError`` is raised, none."""
        super().append(lines)
        self.appended += len(lines)
        if not self._since:
            self._since = time.monotonic()

    @property
    def due(self) -> float | None:
        """Seconds until something is to be handed over; None where there is nothing."""
        return max(0.0, self._since + HANDOVER - time.monotonic()) if self._since else None

    def hand_over(self) -> None:
        """Let go of all segments."""
        self._since = 0.0
        self.close()


class Inbox(Spool):
    """The segments that the log process of ``server`` found."""

    def __init__(self, folder: Path, server: str) -> None:
        super().__init__(folder)
        self._mark = f"-{server}{SUFFIX}"
        self._looked_at_all = -STRAY

    def adopt(self, fit: Callable[[Path], bool] | None = None) -> int:
        """Take over what the workers let go of, and now and then what others left.

        Returns how many rows others left.
        """
        super().adopt(self._is_our_name)
        now = time.monotonic()
        if now < self._looked_at_all + STRAY:
            return 0
        self._looked_at_all = now
        return super().adopt(lambda path: not self._is_our_name(path) and left_behind(path))

    @property
    def rows_of_others(self) -> int:
        """Rows that others left and that are not in the database."""
        return sum(one.rows for one in tuple(self._segments) if not self._is_our_name(one.path))

    def _is_our_name(self, path: Path) -> bool:
        return path.name.endswith(self._mark)


class Progress:
    """What the log process has done, in a file for the workers; by the process that wrote rows.

    Under "0" stands what others had left.
    """

    def __init__(self, folder: Path, server: str) -> None:
        self._path = folder / f"{server}{_STATUS}"
        self._mark = f"-{server}{SUFFIX}"
        found = _read(self._path)  # a process before this one may have begun to count
        self._rows: dict[str, list[int]] = dict(found.get("rows", {}))
        self._state: tuple[str | None, int] = (None, 0)
        self._lock = threading.Lock()
        for path in folder.glob(f"*{_STATUS}"):
            with contextlib.suppress(OSError):
                if path.stat().st_mtime < time.time() - _STALE and path != self._path:
                    path.unlink()

    def add(self, segment: Segment, logged: int, rejected: int) -> None:
        """Count rows of a segment; to be called before it is removed."""
        name = segment.path.name
        process = name.split("-")[1] if name.endswith(self._mark) else "0"
        with self._lock:
            rows = self._rows.setdefault(process, [0, 0])
            rows[0] += logged
            rows[1] += rejected
            self._write()

    def publish(self, failure: str | None, left: int) -> None:
        """Tell whether the database is there, and how many rows of others wait."""
        with self._lock:
            if self._state != (failure, left):
                self._state = (failure, left)
                self._write()

    def _write(self) -> None:
        failure, left = self._state
        content = {"rows": self._rows, "failure": failure, "left": left}
        temporary = self._path.with_suffix(".status.new")
        with contextlib.suppress(OSError):  # figures only; the rows are elsewhere
            self._path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_text(json.dumps(content))
            temporary.replace(self._path)

    def remove(self) -> None:
        """Remove the file."""
        self._path.unlink(missing_ok=True)
        self._path.with_suffix(".reporter").unlink(missing_ok=True)


class Account:
    """What the log process says of this worker's rows.

    One worker of a server also tells of what earlier servers had left, so that sums over all
    workers are right.
    """

    def __init__(self, folder: Path, server: str) -> None:
        self._path = folder / f"{server}{_STATUS}"
        self._process = str(os.getpid())
        self._changed = 0
        self._found: dict[str, Any] = {}
        self.done = 0  # rows of this worker that no longer wait
        self._reporter: IO[str] | None = None

    def rows(self) -> tuple[int, int, int]:
        """Return the rows in the database, rejected ones, and those that others left."""
        found = self._look()
        rows = found.get("rows", {})
        logged, rejected = rows.get(self._process, (0, 0))
        self.done = logged + rejected
        if not self._reports():
            return logged, rejected, 0
        more = rows.get("0", (0, 0))
        return logged + more[0], rejected + more[1], found.get("left", 0)

    @property
    def failure(self) -> str | None:
        """Why the database is not there."""
        reason: str | None = self._look().get("failure")
        return reason

    def close(self) -> None:
        """Let another worker tell of what others left."""
        if self._reporter is not None:
            self._reporter.close()

    def _look(self) -> dict[str, Any]:
        try:
            changed = self._path.stat().st_mtime_ns
        except OSError:
            return self._found
        if changed != self._changed:
            self._changed, self._found = changed, _read(self._path) or self._found
        return self._found

    def _reports(self) -> bool:
        if self._reporter is not None:
            return not self._reporter.closed
        try:
            lock = self._path.with_suffix(".reporter").open("w")
        except OSError:
            return False
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            return False
        self._reporter = lock
        return True


class Courier:
    """What a worker has instead of a `Loader`: the log process loads for it."""

    def __init__(self, url: str, outbox: Outbox, server: str, *, model: str) -> None:
        self._outbox = outbox
        self._account = Account(outbox.folder, server)
        # For when there is no disk to hand rows over on.
        self._directly = Loader(log_tables.connect(url), outbox, model=model)

    def start(self) -> None:
        """Do nothing: it is the server that starts the log process."""

    def notify(self) -> None:
        """Do nothing: the log process looks by itself."""

    def stop(self, patience: float) -> None:
        """Let go; the log process brings in what was handed over."""
        self._account.close()
        self._directly.close()

    def insert(self, contents: Sequence[bytes]) -> None:
        """Bring rows to the database at once."""
        self._directly.insert(contents)

    @property
    def failure(self) -> str | None:
        """Why the database is not there."""
        return self._account.failure

    def whereabouts(self) -> tuple[int, int, int]:
        """Return how many rows are in the database, wait on disk, and were rejected."""
        logged, rejected, left = self._account.rows()
        done = self._account.done
        waiting = max(0, self._outbox.appended - done) + left
        return logged + self._directly.logged, waiting, rejected + self._directly.rejected


def _read(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return found
