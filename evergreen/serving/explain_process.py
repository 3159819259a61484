"""The process beside a server's worker that computes SHAP values.

scikit-learn and SHAP take seconds to import and some 250 MB, more than all the rest of a worker.
So a worker starts this process at the first explanation that is asked of it, and lets it end when
none was asked for a while. Values travel as pickles between parent and child alone.
"""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import select
import signal
import subprocess
import sys
import threading
import time
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from evergreen.errors import RefusedError, UnreachableError

if TYPE_CHECKING:
    from evergreen.serving.onnx_model import FloatArray, Inputs

PATIENCE: Final = 60.0  # seconds for an answer; the first one loads the model
IDLE: Final = 600.0  # seconds without a question after which the process ends
_ROOT: Final = Path(__file__).resolve().parents[2]

logger = logging.getLogger(__name__)


class ExplainProcess:
    """The process as its worker sees it, for the bundle in one folder."""

    def __init__(self, folder: Path, *, patience: float = PATIENCE, idle: float = IDLE) -> None:
        self._folder, self._patience, self._idle = folder, patience, idle
        self._process: subprocess.Popen[bytes] | None = None
        self._asked = 0.0
        self._lock = threading.Lock()  # one question at a time

    def explain(self, inputs: Inputs) -> dict[str, FloatArray]:
        """Return per feature column the SHAP values, rows × outputs.

        Raises
        ------
        RefusedError
            If there are none for this kind of model.
        UnreachableError
            If the process does not answer in time, or ends twice.
        """
        with self._lock:
            try:
                state, content = self._ask(inputs)
            except (EOFError, BrokenPipeError, pickle.UnpicklingError):
                logger.warning("The process that explains ended, and is started again")
                self._end()
                state, content = self._ask_again(inputs)
        if state == "refused":
            raise RefusedError(content)
        if state == "failed":
            raise RuntimeError(f"The explanation failed:\n{content}")
        values: dict[str, FloatArray] = content
        return values

    def close(self) -> None:
        """End the process; the next question starts another."""
        with self._lock:
            self._end()

    def _ask_again(self, inputs: Inputs) -> tuple[str, Any]:
        try:
            return self._ask(inputs)
        except (EOFError, BrokenPipeError, pickle.UnpicklingError):
            self._end()
            raise UnreachableError("The process that explains ends at once; see the log.") from None

    def _ask(self, inputs: Inputs) -> tuple[str, Any]:
        process = self._process if self._process is not None else self._started()
        question, answer = process.stdin, process.stdout
        assert question is not None  # noqa: S101
        assert answer is not None  # noqa: S101
        pickle.dump(inputs, question)
        question.flush()
        ready, _, _ = select.select([answer], [], [], self._patience)
        if not ready:
            self._end()
            raise UnreachableError(f"There was no explanation within {self._patience:g} s.")
        found: tuple[str, Any] = pickle.load(answer)  # noqa: S301  (our own child's)
        self._asked = time.monotonic()
        return found

    def _started(self) -> subprocess.Popen[bytes]:
        path = os.pathsep.join([str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        self._process = process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-P", "-m", "evergreen.serving.explain_process", str(self._folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path},
            process_group=0,  # a terminal's Ctrl-C is for the server, at whose end this one ends
        )
        self._asked = time.monotonic()
        threading.Thread(
            target=_end_when_idle, args=(weakref.ref(self), process), daemon=True
        ).start()
        return process

    def _end_where_idle(self) -> float:
        """End the process if it has been idle for long; return the seconds until then."""
        with self._lock:
            left = self._asked + self._idle - time.monotonic()
            if left <= 0:
                self._end()
            return left

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            _ended(process)


def _end_when_idle(owner: weakref.ref[ExplainProcess], process: subprocess.Popen[bytes]) -> None:
    """Wait until nothing is asked any more, or nobody is left to ask: the model was swapped."""
    while (asking := owner()) is not None:
        if asking._process is not process:
            return
        left = asking._end_where_idle()
        del asking
        time.sleep(min(max(left, 0.0), 1.0))
    _ended(process)


def _ended(process: subprocess.Popen[bytes]) -> None:
    for stream in (process.stdin, process.stdout):
        with contextlib.suppress(OSError):
            if stream is not None:
                stream.close()
    process.kill()  # it holds nothing that could be lost
    process.wait()


def answer_questions(folder: Path) -> None:
    """Answer what standard input asks until it ends."""
    from evergreen.promotion.bundle import open_bundle
    from evergreen.serving.native_model import explaining

    questions, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print must not stand between the answers
    explain = explaining(open_bundle(folder))
    while True:
        try:
            inputs: Inputs = pickle.load(questions)  # noqa: S301  (our own parent's)
        except EOFError:
            return
        found: tuple[str, Any]
        try:
            found = ("done", explain(inputs))
        except RefusedError as error:
            found = ("refused", str(error))
        except Exception:
            import traceback

            found = ("failed", traceback.format_exc())
        pickle.dump(found, answers)
        answers.flush()


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answer_questions(Path(sys.argv[1]))
