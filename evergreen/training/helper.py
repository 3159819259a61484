"""A helper process as its parent sees it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from evergreen import errors
from evergreen.errors import UnreachableError
from evergreen.training.progress import OnProgress
from evergreen.training.results import CandidateResult
from evergreen.training.search_task import Message, Order, SearchTask
from evergreen.training.tuning import OnTrial

_ROOT = Path(__file__).resolve().parents[2]
_PATIENCE = 5.0  # seconds a process gets to end by itself


class Helper:
    """A process that searches one candidate after the other.

    A plain subprocess rather than `multiprocessing`: it does not import the parent's main module
    again, its thread limits are in its environment before any library starts, and it ends when
    the parent does, whatever way that was.
    """

    def __init__(self, task: SearchTask) -> None:
        self.current: str | None = None  # the candidate that it searches
        self._said = tempfile.TemporaryFile()  # noqa: SIM115  (lives as long as the process)
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "evergreen.training.helper_main"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._said,
                env=_environment(task.threads),
                text=True,
                encoding="utf-8",
            )
        except OSError as error:
            raise UnreachableError(
                f"A process of the search cannot be started: {error.strerror or error}. "
                "Set training.jobs to 1, or free memory and processes."
            ) from error
        self._task = task

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    def start(self) -> None:
        """Hand over the task, and wait until the process is ready for a candidate.

        Raises
        ------
        UnreachableError
            If the process ends before.
        """
        self._write(self._task.model_dump_json())
        self._read("ready", None)

    def search(
        self, order: Order, on_progress: OnProgress, on_trial: OnTrial | None = None
    ) -> CandidateResult:
        """Let it search one candidate, passing on its progress and the trials that end.

        Raises
        ------
        UnreachableError
            If the process ends before it has a result, such as killed for lack of memory.
        """
        self._write(order.model_dump_json())
        result = self._read("result", on_progress, on_trial).result
        assert result is not None  # noqa: S101
        return result

    def stop(self) -> None:
        """End the process, also in the middle of a search."""
        self._process.kill()
        self._process.wait(_PATIENCE)

    def close(self) -> None:
        """End the process and free what belongs to it. Nobody may be reading from it any more."""
        self.stop()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        self._said.close()

    def _write(self, line: str) -> None:
        assert self._process.stdin is not None  # noqa: S101
        try:
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise self._ended() from error

    def _read(
        self, kind: str, on_progress: OnProgress | None, on_trial: OnTrial | None = None
    ) -> Message:
        assert self._process.stdout is not None  # noqa: S101
        for line in self._process.stdout:
            message = Message.model_validate_json(line)
            if message.kind == kind:
                return message
            if message.kind == "fault":
                raise _fault(message)
            if message.progress is not None and on_progress is not None:
                on_progress(message.progress)
            if message.trial is not None and on_trial is not None:
                on_trial(message.trial)
        raise self._ended()

    def _ended(self) -> UnreachableError:
        code = self._process.wait(_PATIENCE)
        doing = f"while it searched {self.current!r}" if self.current else "before it was ready"
        if code < 0:
            why = f"was ended by {signal.Signals(-code).name}"
        else:
            why = f"ended by itself with exit code {code}"
        hint = ""
        if code == -signal.SIGKILL:
            hint = (
                " The system does so when memory runs out: lower training.jobs, or use less data."
            )
        self._said.seek(0)
        last_words = self._said.read()[-2000:].decode(errors="replace").strip()
        return UnreachableError(
            f"A process of the search {why} {doing}.{hint}"
            + (f" Its last words:\n{last_words}" if last_words else "")
        )


def _environment(threads: int) -> dict[str, str]:
    limits = {
        "OMP_NUM_THREADS": str(threads),
        "OPENBLAS_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "VECLIB_MAXIMUM_THREADS": "1",
    }
    path = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")]))
    return {**os.environ, **limits, "PYTHONPATH": path}


def _fault(message: Message) -> Exception:
    if message.error is None:
        return RuntimeError(f"A process of the search failed:\n{message.text}")
    kind: type[Exception] = getattr(errors, message.error, errors.EvergreenError)
    return kind(message.text)
