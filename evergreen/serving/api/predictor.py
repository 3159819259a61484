"""Predicting and writing down: what all prediction endpoints share."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

import numpy as np

from evergreen.serving.api.arm_metrics import ArmMetrics
from evergreen.serving.api.micro_batching import MicroBatcher
from evergreen.serving.api.plan import Plan, require_answer
from evergreen.serving.api.shadow import Answered, Shadow
from evergreen.serving.arms import CHALLENGER, CHALLENGER_FAILED, CHAMPION
from evergreen.serving.parsing.fields import Findings
from evergreen.serving.parsing.rows import Inputs
from evergreen.serving.parsing.tables import plain, rows_in
from evergreen.serving.problems import Problem
from evergreen.serving.records import PredictionBatch, PredictionRecord

if TYPE_CHECKING:
    from evergreen.serving.api.metrics import Metrics
    from evergreen.serving.api.operation import Call
    from evergreen.serving.api.plan import Row
    from evergreen.serving.arms import Arms
    from evergreen.serving.holder import ModelHolder, Served
    from evergreen.serving.prediction_log import PredictionLog
    from evergreen.serving.runtime import Outputs
    from evergreen.serving.settings import ServingConfig

logger = logging.getLogger(__name__)
T = TypeVar("T")
THREADS: Final = 2  # for native models, large requests and explanations
INLINE_ROWS: Final = 64  # so many rows of a compiled model are answered without a thread


@dataclass(frozen=True, slots=True)
class Answer:
    """What an arm says of some rows."""

    served: Served
    outputs: Outputs
    failed: bool = False  # the challenger was to answer and could not: the champion did


@dataclass
class Result:
    """Predictions of a request, and what they were made of."""

    arms: Arms
    inputs: Inputs
    findings: Findings
    answer: Answer

    @property
    def served(self) -> Served:
        """The arm that answered."""
        return self.answer.served

    @property
    def outputs(self) -> Outputs:
        """What it said."""
        return self.answer.outputs


class Predictor:
    """Answers from the models that are served at the moment, and logs it.

    Requests are read by the champion's contract, whichever arm answers them.
    """

    def __init__(
        self, holder: ModelHolder, log: PredictionLog, settings: ServingConfig, metrics: Metrics
    ) -> None:
        self.holder, self.log, self.settings, self.metrics = holder, log, settings, metrics
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="predict")
        self._batcher = MicroBatcher(self.in_thread, settings.micro_batch)
        self._last: Plan | None = None
        self.arm_metrics = ArmMetrics(holder, metrics.registry)
        metrics.add(self.arm_metrics)
        self.shadow = Shadow(log, self.arm_metrics)
        self._blamed: Served | None = None  # the challenger whose failure was said last
        holder.prepare = self._prepare

    def plan(self, served: Served) -> Plan:
        """Return how requests to this model are read and answered."""
        plan: Plan | None = served.prepared
        if plan is None:  # it was there before the application
            plan = self._last
            if plan is None or plan.runtime is not served.runtime:
                plan = self._last = Plan(served.runtime, self.settings)
        return plan

    def _prepare(self, runtime: Any) -> Plan:
        return Plan(runtime, self.settings)

    async def in_thread(self, work: Callable[..., T], *arguments: Any) -> T:
        """Run what takes long beside the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)

    async def one(self, call: Call, arms: Arms, plan: Plan, row: Row) -> Answer:
        """Predict one row and write it down; return when it may be acknowledged."""
        if not self._takes_a_thread(arms):
            answer = self.answer(call, arms, row.inputs)
        elif arms.challenger is None:
            outputs = await self._batcher.predict(arms.champion.runtime, row.inputs)
            require_answer(outputs)
            answer = Answer(arms.champion, outputs)
        else:
            answer = await self.in_thread(self.answer, call, arms, row.inputs)
        self._keep_one(call, arms, plan, row, answer)
        if self.log.durable:
            await self.log.safe()
        return answer

    def waits(self, arms: Arms) -> bool:
        """Whether one row takes a thread, or the disk, so that `one_at_once` is not for it."""
        return self.log.durable or self._takes_a_thread(arms)

    def one_at_once(self, call: Call, arms: Arms, plan: Plan, row: Row) -> Answer:
        """Do as `one` does, where nothing is to be waited for; from the event loop."""
        answer = self.answer(call, arms, row.inputs)
        self._keep_one(call, arms, plan, row, answer)
        return answer

    async def many(
        self,
        call: Call,
        arms: Arms,
        plan: Plan,
        read: Callable[[], tuple[Inputs, Findings]],
        size: int,
    ) -> Result:
        """Read and predict many rows; ``size`` (bytes of the body) tells whether it takes long.

        One arm answers all of them.
        """

        def work() -> Result:
            inputs, findings = read()
            if not rows_in(inputs):
                return Result(arms, inputs, findings, Answer(arms.champion, _nothing(plan)))
            return Result(arms, inputs, findings, self.answer(call, arms, inputs))

        small = size < INLINE_ROWS * 256 and not self._takes_a_thread(arms)
        return work() if small else await self.in_thread(work)

    def _takes_a_thread(self, arms: Arms) -> bool:
        if arms.champion.runtime.kind == "native":
            return True
        return arms.challenger is not None and arms.challenger.runtime.kind == "native"

    def answer(self, call: Call, arms: Arms, inputs: Inputs) -> Answer:
        """Let the arm that is the caller's predict; for a challenger that cannot, the champion.

        Raises
        ------
        Problem
            If the champion has no answer.
        """
        champion = arms.champion
        if arms.challenger is None:
            outputs = champion.runtime.predict(inputs)
            require_answer(outputs)
            return Answer(champion, outputs)
        chosen = arms.choose(call.headers, inputs, call.request_id)
        failed = False
        if chosen is not champion:
            try:
                return Answer(chosen, self._predict(chosen, CHALLENGER, inputs))
            except Exception as error:  # whatever it is, the champion may know an answer
                failed = True
                self._say(chosen, error)
        return Answer(champion, self._predict(champion, CHAMPION, inputs), failed)

    def _predict(self, served: Served, arm: str, inputs: Inputs) -> Outputs:
        try:
            outputs = served.runtime.predict(inputs)
            require_answer(outputs)
        except Exception:
            self.arm_metrics.failed(arm, served.version, rows_in(inputs))
            raise
        return outputs

    def _say(self, challenger: Served, error: Exception) -> None:
        """Say once of a challenger that it fails; how often, the metrics say."""
        if self._blamed is challenger:
            return
        self._blamed = challenger
        logger.error(
            "Version %s of %r, a challenger, failed a request; the champion answered: %s",
            challenger.version,
            challenger.name,
            error if isinstance(error, Problem) else repr(error),
        )

    def _keep_one(self, call: Call, arms: Arms, plan: Plan, row: Row, answer: Answer) -> None:
        """Write one row down."""
        served, outputs = answer.served, answer.outputs
        shares = outputs.probabilities
        prediction = outputs.predictions[0]
        self.log.record(
            (
                PredictionRecord(
                    request_id=call.request_id,
                    version=served.version,
                    inputs=row.logged,
                    prediction=prediction if plan.labels else float(prediction),
                    key_id=call.key_id,
                    arm=arms.arm(served),
                    probabilities=None if shares is None else shares[0].tolist(),
                    flags=(*row.flags, CHALLENGER_FAILED) if answer.failed else row.flags,
                    latency_ms=call.elapsed_ms,
                ),
            )
        )
        if row.flags:
            self._count_flags({0: row.flags})
        if arms.challenger is not None:
            self._count(call, arms, served, 1)
            if arms.shadowing:
                self._shadow_later(call, arms, row.inputs, {0: row.flags} if row.flags else {})

    def record_part(self, call: Call, result: Result, start: int, stop: int) -> None:
        """Write some rows of a request down."""
        outputs = result.outputs
        shares = outputs.probabilities
        self.log.record_batch(
            PredictionBatch(
                request_id=call.request_id,
                version=result.served.version,
                inputs={name: plain(values[start:stop]) for name, values in result.inputs.items()},
                predictions=outputs.predictions[start:stop].tolist(),
                key_id=call.key_id,
                arm=result.arms.arm(result.served),
                probabilities=None if shares is None else shares[start:stop].tolist(),
                flags=_flags_to_log(result, start, stop),
                latency_ms=call.elapsed_ms,
                first_row=start,
            )
        )

    async def record_all(self, call: Call, result: Result) -> None:
        """Write all rows down; return when they may be acknowledged."""
        rows = rows_in(result.inputs)
        if rows:
            self.record_part(call, result, 0, rows)
            if self.log.durable:
                await self.log.safe()
            self.recorded(call, result)

    def recorded(self, call: Call, result: Result) -> None:
        """Count what was written down, and let the shadow score it; from the event loop."""
        self._count_flags(result.findings.flags)
        arms = result.arms
        if arms.challenger is not None and (rows := rows_in(result.inputs)):
            self._count(call, arms, result.served, rows)
            if arms.shadowing:
                self._shadow_later(call, arms, result.inputs, result.findings.flags)

    def _count(self, call: Call, arms: Arms, served: Served, rows: int) -> None:
        seconds = call.elapsed_ms / 1000
        self.arm_metrics.predicted(arms.arm(served), served.version, rows, seconds)

    def _shadow_later(
        self, call: Call, arms: Arms, inputs: Inputs, flags: Mapping[int, Sequence[str]]
    ) -> None:
        """Have the challenger score a request once its answer is on its way."""
        assert arms.challenger is not None  # noqa: S101  (who calls has looked)
        answered = Answered(
            arms.challenger, call.request_id, call.key_id, inputs, flags, rows_in(inputs)
        )
        asyncio.get_running_loop().call_soon(self.shadow.offer, answered)

    def _count_flags(self, flags: Mapping[int, Sequence[str]]) -> None:
        for row in flags.values():
            for flag in row:
                self.metrics.flags.labels(flag.split(":", 1)[0]).inc()


def _flags_to_log(result: Result, start: int, stop: int) -> dict[int, Sequence[str]]:
    """Return the flags of some rows, by their position among these."""
    flags = result.findings.flags
    if result.answer.failed:
        rows = range(start, stop)
        return {row - start: (*flags.get(row, ()), CHALLENGER_FAILED) for row in rows}
    return {row - start: flags[row] for row in flags if start <= row < stop}


def _nothing(plan: Plan) -> Outputs:
    from evergreen.serving.runtime import Outputs

    if plan.contract.labels is None:
        return Outputs(np.empty(0), None, None)
    labels = plan.contract.labels
    return Outputs(np.empty(0, dtype=object), np.empty((0, len(labels))), labels)
