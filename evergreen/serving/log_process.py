"""The process beside a server that takes its prediction log to the database.

The workers write rows to the spool and let go of each file a moment later; this process picks up
what they let go of. So neither SQL nor the waiting for a database disturbs a worker. It is started
with its settings on standard input, and ends, having brought in what is there, when that is closed:
when the server stops, however it stops. Its own end harms nothing, for rows wait on disk; the
server starts it again.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Final

from evergreen.serving.spool_exchange import Inbox, Progress

AGAIN: Final = 1.0  # seconds between the end of one process and the start of the next
PUBLISHING: Final = 0.5  # seconds between two looks at what is to be told
_ROOT: Final = Path(__file__).resolve().parents[2]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Task:
    """What is to be loaded where; ``server`` names the server whose files these are."""

    url: str
    model: str
    folder: str  # the spool's, of this database
    server: str
    durable: bool
    retain: float | None
    patience: float  # seconds that the database gets at the end


class LogProcess:
    """The process as its server sees it: kept alive until `close`."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._keeper = threading.Thread(target=self._keep, name="log-process", daemon=True)

    def start(self) -> None:
        """Start it, and see to it that it runs."""
        self._keeper.start()

    def close(self) -> None:
        """Let it bring in what there is, and wait for its end."""
        with self._lock:
            self._closing.set()
            process = self._process
        if process is None:
            return
        _end_of_input(process)
        try:
            process.wait(self.task.patience + 10)
        except subprocess.TimeoutExpired:
            logger.warning("The prediction log's process does not end; its rows wait on disk")
            process.kill()
            process.wait()
        self._keeper.join(AGAIN)

    def _keep(self) -> None:
        while True:
            with self._lock:
                if self._closing.is_set():
                    return
                self._process = process = self._started()
            code = process.wait()
            if self._closing.is_set():
                return
            logger.error(
                "The prediction log's process ended with code %d and is started again; rows wait "
                "on disk",
                code,
            )
            _end_of_input(process)
            self._closing.wait(AGAIN)

    def _started(self) -> subprocess.Popen[bytes]:
        path = os.pathsep.join([str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "evergreen.serving.log_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": path},
            process_group=0,  # a terminal's Ctrl-C is for the server, which has rows to hand over
        )
        assert process.stdin is not None  # noqa: S101
        try:
            process.stdin.write(json.dumps(asdict(self.task)).encode() + b"\n")
            process.stdin.flush()
        except BrokenPipeError:
            pass  # it ended already, which `_keep` sees
        return process


def _end_of_input(process: subprocess.Popen[bytes]) -> None:
    try:
        if process.stdin is not None:
            process.stdin.close()
    except BrokenPipeError:
        pass


def new_server() -> str:
    """Return a name for a server, by which it knows its files."""
    return secrets.token_hex(6)


def run(task: Task, source: IO[str]) -> None:
    """Load until ``source`` ends."""
    from evergreen.serving import log_tables
    from evergreen.serving.log_loader import Loader

    engine = log_tables.connect(task.url, durable=task.durable)
    inbox = Inbox(Path(task.folder), task.server)
    progress = Progress(inbox.folder, task.server)
    loader = Loader(
        engine, inbox, model=task.model, retain=task.retain, adoption=0.0, progress=progress
    )
    loader.start()
    ended = threading.Event()
    threading.Thread(target=_wait_for_end, args=(source, ended), daemon=True).start()
    while not ended.wait(PUBLISHING):
        progress.publish(loader.failure, inbox.rows_of_others)
    inbox.adopt()
    loader.stop(task.patience)
    left = inbox.rows
    inbox.close()
    progress.remove()
    if left:
        logger.warning(
            "%d row(s) of the prediction log stay in %s; the next server brings them in",
            left,
            inbox.folder,
        )


def _wait_for_end(source: IO[str], ended: threading.Event) -> None:
    while source.read(1024):
        time.sleep(0.01)
    ended.set()


def main() -> None:
    """Do what standard input says."""
    # A service manager's SIGTERM reaches all processes; the server says when to end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    told = sys.stdin.readline()
    if told:
        run(Task(**json.loads(told)), sys.stdin)


if __name__ == "__main__":
    main()
