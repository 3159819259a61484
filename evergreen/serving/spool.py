"""The disk spool: where the prediction log keeps rows until the database has them.

A spool is a folder of segments, files to which one process appends lines. Each line is a JSON
object after its CRC-32 in hexadecimal, so that a torn or damaged line is told from a whole one::

    8c2b1f04 {"type":"prediction","request_id":"…",…}

A process holds a lock (``flock``) on each segment of its own. Segments without one were left by a
process that ended; whoever finds them adopts them. Reading a line twice does no harm: the
database knows each row by its key.
"""

from __future__ import annotations

import fcntl
import logging
import os
import secrets
import threading
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SUFFIX: Final = ".spool"
SEGMENT_BYTES: Final = 16 * 2**20
STRAY: Final = 5.0  # seconds after which a segment that was let go of counts as left behind
_CRC: Final = 9  # characters of the checksum and its blank

logger = logging.getLogger(__name__)


def to_line(content: bytes) -> bytes:
    """Return one line of a segment; ``content`` is JSON without line breaks."""
    return b"%08x %b\n" % (zlib.crc32(content), content)


def from_lines(data: bytes) -> tuple[list[bytes], int]:
    """Return the contents of whole lines, and how many lines were damaged."""
    contents: list[bytes] = []
    damaged = 0
    for line in data.split(b"\n"):
        content = line[_CRC:]
        if len(line) > _CRC and line[:_CRC] == b"%08x " % zlib.crc32(content):
            contents.append(content)
        elif line:
            damaged += 1
    return contents, damaged


@dataclass
class Segment:
    """One file. ``loaded`` of its ``size`` bytes are in the database."""

    path: Path
    descriptor: int
    size: int = 0
    loaded: int = 0
    rows: int = 0  # that are not in the database


@dataclass(frozen=True)
class Chunk:
    """Lines from one segment, up to the byte ``end``."""

    segment: Segment
    contents: Sequence[bytes]
    end: int
    damaged: int


class Spool:
    """The segments of this process, the oldest first; appending and reading may be two threads.

    Parameters
    ----------
    folder
        Made when the first row comes.
    durable
        Whether `append` returns only once the disk has the rows (``fsync``).
    mark
        What the names of new segments end with, if they are for one process to load; see
        `evergreen.serving.spool_exchange`.
    """

    def __init__(
        self,
        folder: Path,
        *,
        durable: bool = False,
        segment_bytes: int = SEGMENT_BYTES,
        mark: str = "",
    ) -> None:
        self.folder = folder
        self.durable = durable
        self.mark = mark
        self.segment_bytes = segment_bytes
        self._segments: deque[Segment] = deque()
        self._current: Segment | None = None
        self._lock = threading.Lock()

    @property
    def rows(self) -> int:
        """Rows that are not in the database, as far as this process knows."""
        return sum(segment.rows for segment in tuple(self._segments))

    @property
    def due(self) -> float | None:
        """Seconds until `hand_over` is to be called; None: there is no need."""
        return None

    def hand_over(self) -> None:
        """Let go of segments for whoever loads them: here, that is whoever wrote them."""

    def append(self, lines: Sequence[bytes]) -> None:
        """Write lines at the end; all of them or, where ``OSError`` is raised, none."""
        data = b"".join(lines)
        with self._lock:
            segment = self._segment_for(len(data))
            try:
                _write(segment.descriptor, data)
                if self.durable:
                    os.fdatasync(segment.descriptor)
            except OSError:
                self._give_up(segment)
                raise
            segment.size += len(data)
            segment.rows += len(lines)

    def read(self, limit: int) -> Chunk | None:
        """Return whole lines of at most about ``limit`` bytes, the oldest first, or None."""
        with self._lock:
            found = next((one for one in self._segments if one.loaded < one.size), None)
            if found is None:
                return None
            size = found.size
        data = os.pread(found.descriptor, min(limit, size - found.loaded), found.loaded)
        if not data:  # somebody cut the file short
            return Chunk(found, (), size, found.rows)
        if found.loaded + len(data) < size:
            data = _up_to_line_end(found, data, size)
        contents, damaged = from_lines(data)
        return Chunk(found, contents, found.loaded + len(data), damaged)

    def done(self, chunk: Chunk) -> None:
        """Forget lines that the database has; a segment of which nothing is left is removed."""
        segment = chunk.segment
        with self._lock:
            segment.loaded = chunk.end
            segment.rows = max(0, segment.rows - len(chunk.contents) - chunk.damaged)
            if segment.loaded < segment.size:
                return
            if segment is self._current:
                os.ftruncate(segment.descriptor, 0)
                segment.size = segment.loaded = segment.rows = 0
            else:
                self._remove(segment)

    def adopt(self, fit: Callable[[Path], bool] | None = None) -> int:
        """Take over the segments of processes that ended; return how many rows they hold.

        ``fit`` tells which; the default are all that nobody else is about to load.
        """
        rows = 0
        try:
            paths = sorted(self.folder.glob(f"*{SUFFIX}"))
        except OSError:
            return 0
        mine = {segment.path for segment in tuple(self._segments)}
        for path in paths:
            wanted = path not in mine and (fit or left_behind)(path)
            segment = _lock_orphan(path) if wanted else None
            if segment is not None:
                with self._lock:
                    self._segments.appendleft(segment)
                rows += segment.rows
        return rows

    def remove_older(self, moment: float) -> int:
        """Delete segments last written before ``moment`` (Unix seconds); return their rows."""
        rows = 0
        with self._lock:
            for segment in tuple(self._segments):
                if segment.size and os.fstat(segment.descriptor).st_mtime < moment:
                    rows += segment.rows
                    if segment is self._current:
                        self._current = None
                    self._remove(segment)
        return rows

    def close(self) -> None:
        """Let go of the files; what the database lacks stays for whoever comes next."""
        with self._lock:
            for segment in tuple(self._segments):
                if segment.loaded >= segment.size:
                    self._remove(segment)
                else:
                    os.close(segment.descriptor)
            self._segments.clear()
            self._current = None

    def _segment_for(self, size: int) -> Segment:
        if self._current is not None and self._current.size + size <= self.segment_bytes:
            return self._current
        if self._current is not None and self._current.size == 0:
            return self._current  # one batch that is larger than a segment
        self._current = _new_segment(self.folder, self.mark)
        self._segments.append(self._current)
        if self.durable:
            _sync_folder(self.folder)
        return self._current

    def _give_up(self, segment: Segment) -> None:
        """Undo a failed append. After a failed fsync no file can be trusted with more."""
        try:
            os.ftruncate(segment.descriptor, segment.size)
        except OSError:
            self._current = None
        if self.durable:
            self._current = None

    def _remove(self, segment: Segment) -> None:
        self._segments.remove(segment)
        segment.path.unlink(missing_ok=True)
        os.close(segment.descriptor)


def left_behind(path: Path) -> bool:
    """Whether nobody else is about to load a segment that has no lock."""
    if path.name.count("-") < 3:  # without a mark: its writer would have kept the lock
        return True
    try:
        return path.stat().st_mtime < time.time() - STRAY
    except OSError:
        return False


def _new_segment(folder: Path, mark: str) -> Segment:
    """Make a file and lock it, before anybody takes it for one that was left behind."""
    folder.mkdir(parents=True, exist_ok=True)
    while True:
        path = folder / f"{time.time_ns()}-{os.getpid()}-{secrets.token_hex(4)}{mark}{SUFFIX}"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(descriptor).st_nlink:
                return Segment(path, descriptor)
        except BlockingIOError:
            pass  # somebody is about to remove it, as it is empty
        os.close(descriptor)


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _up_to_line_end(segment: Segment, data: bytes, size: int) -> bytes:
    """Return ``data`` cut after its last line, or lengthened where it holds no whole one."""
    cut = data.rfind(b"\n") + 1
    while not cut and segment.loaded + len(data) < size:
        rest = size - segment.loaded - len(data)
        more = os.pread(segment.descriptor, min(2**20, rest), segment.loaded + len(data))
        found = more.find(b"\n") + 1
        data += more[:found] if found else more
        cut = len(data) if found else 0
    return data[:cut] if cut else data


def _lock_orphan(path: Path) -> Segment | None:
    """Open a segment and lock it; None where its process lives, or where it is gone by now."""
    try:
        descriptor = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return None
    except OSError as error:
        logger.warning("The spool file %s cannot be opened: %s", path, error.strerror)
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        size = os.fstat(descriptor).st_size
        if os.fstat(descriptor).st_nlink and size:
            return Segment(path, descriptor, size, rows=_count(descriptor, size))
        path.unlink(missing_ok=True)  # nothing was left in it
    except BlockingIOError:
        pass  # its process lives
    os.close(descriptor)
    return None


def _count(descriptor: int, size: int) -> int:
    """Count lines; one without an end is a line, too."""
    lines, last = 0, b"\n"
    for data in _blocks(descriptor, size):
        lines += data.count(b"\n")
        last = data[-1:]
    return lines + (last != b"\n")


def _blocks(descriptor: int, size: int) -> Iterable[bytes]:
    offset = 0
    while offset < size:
        data = os.pread(descriptor, 2**20, offset)
        if not data:
            return
        offset += len(data)
        yield data


def _sync_folder(folder: Path) -> None:
    """Make a new file's name survive a power cut, too."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
