"""Predicting and writing down: what all prediction endpoints share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

import numpy as np

from evergreen.serving.api.plan import Plan, require_answer
from evergreen.serving.parsing.fields import Findings
from evergreen.serving.parsing.rows import Inputs
from evergreen.serving.parsing.tables import plain, rows_in
from evergreen.serving.records import PredictionBatch, PredictionRecord

if TYPE_CHECKING:
    from evergreen.serving.api.metrics import Metrics
    from evergreen.serving.api.operation import Call
    from evergreen.serving.api.plan import Row
    from evergreen.serving.holder import ModelHolder, Served
    from evergreen.serving.prediction_log import PredictionLog
    from evergreen.serving.runtime import Outputs
    from evergreen.serving.settings import ServingConfig

T = TypeVar("T")
THREADS: Final = 2  # for native models, large requests and explanations
INLINE_ROWS: Final = 64  # so many rows of a compiled model are answered without a thread


@dataclass
class Result:
    """Predictions of a request, and what they were made of."""

    served: Served
    inputs: Inputs
    findings: Findings
    outputs: Outputs


class Predictor:
    """Answers from the model that is served at the moment, and logs it."""

    def __init__(
        self, holder: ModelHolder, log: PredictionLog, settings: ServingConfig, metrics: Metrics
    ) -> None:
        self.holder, self.log, self.settings, self.metrics = holder, log, settings, metrics
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="predict")
        self._last: Plan | None = None
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

    async def one(self, call: Call, served: Served, plan: Plan, row: Row) -> Outputs:
        """Predict one row and write it down; return when it may be acknowledged."""
        runtime = served.runtime
        outputs = (
            await self.in_thread(runtime.predict, row.inputs)
            if plan.native
            else runtime.predict(row.inputs)
        )
        self._keep_one(call, served, plan, row, outputs)
        if self.log.durable:
            await self.log.safe()
        return outputs

    def waits(self, plan: Plan) -> bool:
        """Whether one row takes a thread, or the disk, so that `one_at_once` is not for it."""
        return plan.native or self.log.durable

    def one_at_once(self, call: Call, served: Served, plan: Plan, row: Row) -> Outputs:
        """Do as `one` does, where nothing is to be waited for."""
        outputs = served.runtime.predict(row.inputs)
        self._keep_one(call, served, plan, row, outputs)
        return outputs

    def _keep_one(self, call: Call, served: Served, plan: Plan, row: Row, outputs: Outputs) -> None:
        """Write one row down, unless its answer is none."""
        require_answer(outputs)
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
                    probabilities=None if shares is None else shares[0].tolist(),
                    flags=row.flags,
                    latency_ms=call.elapsed_ms,
                ),
            )
        )
        if row.flags:
            self._count_flags({0: list(row.flags)})

    async def many(
        self, served: Served, plan: Plan, read: Callable[[], tuple[Inputs, Findings]], size: int
    ) -> Result:
        """Read and predict many rows; ``size`` (bytes of the body) tells whether it takes long."""

        def work() -> Result:
            inputs, findings = read()
            if not rows_in(inputs):
                return Result(served, inputs, findings, _nothing(plan))
            outputs = served.runtime.predict(inputs)
            require_answer(outputs)
            return Result(served, inputs, findings, outputs)

        small = not plan.native and size < INLINE_ROWS * 256
        return work() if small else await self.in_thread(work)

    def record_part(self, call: Call, result: Result, start: int, stop: int) -> None:
        """Write some rows of a request down."""
        outputs, flags = result.outputs, result.findings.flags
        shares = outputs.probabilities
        self.log.record_batch(
            PredictionBatch(
                request_id=call.request_id,
                version=result.served.version,
                inputs={name: plain(values[start:stop]) for name, values in result.inputs.items()},
                predictions=outputs.predictions[start:stop].tolist(),
                key_id=call.key_id,
                probabilities=None if shares is None else shares[start:stop].tolist(),
                flags={row - start: flags[row] for row in flags if start <= row < stop},
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
            self._count_flags(result.findings.flags)

    def _count_flags(self, flags: dict[int, list[str]]) -> None:
        for row in flags.values():
            for flag in row:
                self.metrics.flags.labels(flag.split(":", 1)[0]).inc()

    def count_flags(self, result: Result) -> None:
        """Add a request's flags to the metrics."""
        self._count_flags(result.findings.flags)


def _nothing(plan: Plan) -> Outputs:
    from evergreen.serving.runtime import Outputs

    if plan.contract.labels is None:
        return Outputs(np.empty(0), None, None)
    labels = plan.contract.labels
    return Outputs(np.empty(0, dtype=object), np.empty((0, len(labels))), labels)
