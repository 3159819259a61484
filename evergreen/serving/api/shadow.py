"""Scoring in the shadow: the challenger predicts what the champion has answered already.

One thread does it, beside the requests. What it cannot keep up with is dropped and counted; no
answer waits for it, and none is changed by it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from evergreen.errors import UnreachableError
from evergreen.serving.api.plan import require_answer
from evergreen.serving.arms import SHADOW
from evergreen.serving.parsing.tables import plain, rows_in
from evergreen.serving.problems import Problem
from evergreen.serving.records import PredictionBatch

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from evergreen.serving.api.arm_metrics import ArmMetrics
    from evergreen.serving.holder import Served
    from evergreen.serving.parsing.rows import Inputs
    from evergreen.serving.prediction_log import PredictionLog

WAITING_ROWS: Final = 2000  # more are not kept waiting, unless one request alone has more
PART: Final = 1000  # rows that are scored at once

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Answered:
    """A request that was answered, as the shadow needs it. ``flags`` is by row."""

    challenger: Served
    request_id: str
    key_id: str | None
    inputs: Inputs
    flags: Mapping[int, Sequence[str]]
    rows: int


class Shadow:
    """Scores answered requests with the challenger, and writes that into the prediction log.

    Its rows have the request's id and the arm ``shadow``; their latency is the prediction's alone.
    """

    def __init__(
        self, log: PredictionLog, metrics: ArmMetrics, waiting_rows: int = WAITING_ROWS
    ) -> None:
        self._log, self._metrics, self._limit = log, metrics, waiting_rows
        self._queue: deque[Answered] = deque()
        self._rows = 0  # in the queue, or being scored
        self._lock = threading.Lock()  # of the number above
        self._news = threading.Event()
        self._closing = False
        self._thread: threading.Thread | None = None
        self._blamed: Served | None = None  # the challenger whose failure was said last

    def offer(self, answered: Answered) -> None:
        """Take a request, or drop it; microseconds either way."""
        with self._lock:
            crowded = self._rows and self._rows + answered.rows > self._limit
            if crowded or self._closing or self._log.problem is not None:
                self._metrics.dropped.inc(answered.rows)
                return
            self._rows += answered.rows
            self._queue.append(answered)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="shadow", daemon=True)
                self._thread.start()
        self._news.set()

    def close(self) -> None:
        """Drop what waits; what is being scored is finished, before the log is closed."""
        self._closing = True
        self._news.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while True:
            self._news.wait()
            self._news.clear()
            while self._queue:
                answered = self._queue.popleft()
                try:
                    self._score(answered)
                except Exception:  # the thread must go on for the sake of other requests
                    logger.exception("Scoring request %s in the shadow failed", answered.request_id)
                finally:
                    with self._lock:
                        self._rows -= answered.rows
            if self._closing:
                return

    def _score(self, answered: Answered) -> None:
        for start in range(0, answered.rows, PART):
            stop = min(start + PART, answered.rows)
            if self._closing or self._crowded_log():
                self._metrics.dropped.inc(answered.rows - start)
                return
            try:
                self._score_part(answered, start, stop)
            except UnreachableError:  # the log takes nothing
                self._metrics.dropped.inc(answered.rows - start)
                return

    def _crowded_log(self) -> bool:
        """Whether the log has enough to do with what was answered."""
        return self._log.counts.queued > self._log.queue_rows // 2

    def _score_part(self, answered: Answered, start: int, stop: int) -> None:
        challenger = answered.challenger
        inputs = {name: values[start:stop] for name, values in answered.inputs.items()}
        began = time.perf_counter()
        try:
            outputs = challenger.runtime.predict(inputs)
            require_answer(outputs)
        except Exception as error:
            self._failed(challenger, stop - start, error)
            return
        seconds = time.perf_counter() - began
        shares = outputs.probabilities
        self._log.record_batch(
            PredictionBatch(
                request_id=answered.request_id,
                version=challenger.version,
                inputs={name: plain(values) for name, values in inputs.items()},
                predictions=outputs.predictions.tolist(),
                key_id=answered.key_id,
                arm=SHADOW,
                probabilities=None if shares is None else shares.tolist(),
                flags={
                    row - start: flags
                    for row, flags in answered.flags.items()
                    if start <= row < stop
                },
                latency_ms=seconds * 1000,
                first_row=start,
            )
        )
        self._metrics.predicted(SHADOW, challenger.version, rows_in(inputs), seconds)

    def _failed(self, challenger: Served, rows: int, error: Exception) -> None:
        self._metrics.failed(SHADOW, challenger.version, rows)
        if self._blamed is not challenger:
            self._blamed = challenger
            reason = str(error) if isinstance(error, Problem) else repr(error)
            logger.error(
                "Version %s of %r cannot predict everything in the shadow, such as: %s",
                challenger.version,
                challenger.name,
                reason,
            )
