"""A served model, as seldon-core's Python server asks it; see `evergreen.serving.seldon_messages`.

Model, contract, reading, flags and prediction log are those of the contract API.
"""

from __future__ import annotations

import asyncio
import itertools
import re
import secrets
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np

from evergreen.errors import RefusedError
from evergreen.serving.api.feedback import read_feedback
from evergreen.serving.api.health import health_of
from evergreen.serving.api.plan import Plan, require_answer
from evergreen.serving.parsing.tables import plain, rows_in
from evergreen.serving.records import PredictionBatch
from evergreen.serving.seldon_messages import REQUEST_ID, client_id, read_labels, read_rows

if TYPE_CHECKING:
    from evergreen.data.contract import Contract
    from evergreen.serving.holder import ModelHolder, Served
    from evergreen.serving.parsing.fields import Findings
    from evergreen.serving.parsing.rows import Inputs
    from evergreen.serving.prediction_log import PredictionLog
    from evergreen.serving.runtime import Outputs
    from evergreen.serving.settings import ServingConfig

Metric = dict[str, Any]  # type (COUNTER, GAUGE, TIMER), key, value and tags, as Seldon has them
_SANE_ID: Final = re.compile(r"[A-Za-z0-9._:-]{1,64}")


@dataclass(frozen=True)
class Answer:
    """What a message is answered with.

    ``data``: an array of n rows (probabilities in the order of the labels, or one column of
    predicted numbers), or an object where the rows came as ``jsonData``.
    """

    data: np.ndarray[Any, Any] | dict[str, Any]
    tags: dict[str, Any]
    metrics: list[Metric]


class SeldonService:
    """Answers from the model that a holder has, and logs it where there is a log.

    One is made per process. It may be called from several threads.
    """

    def __init__(
        self, holder: ModelHolder, settings: ServingConfig, log: PredictionLog | None = None
    ) -> None:
        self.holder, self.settings, self.log = holder, settings, log
        self._prefix = secrets.token_hex(6)
        self._numbers = itertools.count(1)
        self._last: Plan | None = None
        holder.prepare = self._prepare

    def predict(self, message: Any) -> Answer:
        """Predict the rows of a message.

        Raises
        ------
        Problem
            If the message breaks the contract or Seldon's format.
        UnreachableError
            If no model is loaded, or the prediction can be logged nowhere.
        """
        started = time.perf_counter()
        served = self.holder.current
        plan = self._plan(served)
        number = self._request_id(client_id(message))
        inputs, findings, form = read_rows(message, plan, self.settings)
        outputs = served.runtime.predict(inputs)
        require_answer(outputs)
        elapsed = (time.perf_counter() - started) * 1000
        self._record(number, served, inputs, findings, outputs, elapsed)
        tags = {**self._tags(served), REQUEST_ID: number}
        if form == "jsonData":
            data: Any = {
                **tags,
                "rows": rows_in(inputs),
                "predictions": _as_json(plan.rows(outputs, 0, findings.flags)),
            }
        else:
            data = _array(outputs)
            if findings.flags:
                tags["flags"] = {str(row): names for row, names in findings.flags.items()}
        return Answer(data, tags, _metrics(rows_in(inputs), findings, elapsed))

    def feedback(self, message: Any) -> int:
        """Write the true labels in Seldon's feedback down; return how many there were.

        Raises
        ------
        Problem
            If it names no prediction, or a label is none of the contract's.
        RefusedError
            If this server keeps no prediction log.
        UnreachableError
            If the labels can be kept nowhere.
        """
        if self.log is None:
            raise RefusedError(
                "This server keeps no prediction log, so the label is kept nowhere. Name a "
                'database in its settings: {"log": {"url": "postgresql://…"}}'
            )
        records = read_feedback(read_labels(message), self.holder.current.contract)
        self.log.record(records)
        self._wait_safe()
        return len(records)

    def tags(self) -> dict[str, Any]:
        """Return which model and version serve at the moment."""
        return self._tags(self.holder.current)

    def health(self) -> dict[str, Any]:
        """Return how model and log are, as the API's ``/health``."""
        found: dict[str, Any] = _as_json(health_of(self.holder, self.log))
        return found

    def gauges(self) -> list[Metric]:
        """Return the state of model and log, under the names of the API's metrics."""
        found: list[Metric] = [
            _gauge("evergreen_model_ready", self.holder.ready),
            _gauge("evergreen_model_swaps", self.holder.swaps),
            _gauge("evergreen_model_swap_failing", self.holder.failure is not None),
        ]
        if self.log is not None:
            counts = self.log.counts
            found += [
                _gauge("evergreen_prediction_log_rows", getattr(counts, state), state=state)
                for state in ("logged", "spooled", "queued", "refused", "rejected")
            ]
        return found

    def _prepare(self, runtime: Any) -> Plan:
        return Plan(runtime, self.settings)

    def _plan(self, served: Served) -> Plan:
        plan: Plan | None = served.prepared
        if plan is None:  # it was there before this service
            plan = self._last
            if plan is None or plan.runtime is not served.runtime:
                plan = self._last = self._prepare(served.runtime)
        return plan

    def _request_id(self, given: str | None) -> str:
        """Return a unique id; a client's own is its beginning."""
        unique = f"{self._prefix}{next(self._numbers):08x}"
        return f"{given}.{unique}" if given and _SANE_ID.fullmatch(given) else unique

    def _tags(self, served: Served) -> dict[str, Any]:
        return {"model": served.name, "model_version": served.version}

    def _record(
        self,
        number: str,
        served: Served,
        inputs: Inputs,
        findings: Findings,
        outputs: Outputs,
        elapsed: float,
    ) -> None:
        if self.log is None:
            return
        shares = outputs.probabilities
        self.log.record_batch(
            PredictionBatch(
                request_id=number,
                version=served.version,
                inputs={name: plain(values) for name, values in inputs.items()},
                predictions=outputs.predictions.tolist(),
                probabilities=None if shares is None else shares.tolist(),
                flags=dict(findings.flags),
                latency_ms=elapsed,
            )
        )
        self._wait_safe()

    def _wait_safe(self) -> None:
        if self.log is not None and self.log.durable:
            asyncio.run(self.log.safe())


def output_names(contract: Contract) -> list[str]:
    """Return what the columns of an answered array stand for."""
    if contract.labels is None:
        return [contract.target]
    return [str(label) for label in contract.labels]


def model_metadata(contract: Contract, version: str | None, platform: str) -> dict[str, Any]:
    """Return a model's metadata in Seldon's first format (``messagetype`` and ``schema``)."""

    def array(names: Sequence[str]) -> dict[str, Any]:
        return {"messagetype": "ndarray", "schema": {"names": list(names), "shape": [len(names)]}}

    return {
        "name": contract.use_case,
        "versions": [version or ""],
        "platform": platform,
        "inputs": [array([column.name for column in contract.features])],
        "outputs": [array(output_names(contract))],
        "custom": {"task": contract.task, "target": contract.target},
    }


def _as_json(value: Any) -> Any:
    """Return what JSON would hold: protocol buffers take no other kinds, such as tuples."""
    return msgspec.json.decode(msgspec.json.encode(value))


def _array(outputs: Outputs) -> np.ndarray[Any, Any]:
    if outputs.probabilities is not None:
        return outputs.probabilities
    return outputs.predictions.reshape(-1, 1)


def _metrics(rows: int, findings: Findings, elapsed: float) -> list[Metric]:
    """Return what one request adds to the metrics; Seldon's timers take milliseconds."""
    flags = Counter(flag.split(":", 1)[0] for row in findings.flags.values() for flag in row)
    return [
        {"type": "COUNTER", "key": "evergreen_predictions", "value": rows},
        {"type": "TIMER", "key": "evergreen_request_duration_seconds", "value": elapsed},
        *(
            {"type": "COUNTER", "key": "evergreen_flags", "value": count, "tags": {"flag": flag}}
            for flag, count in sorted(flags.items())
        ),
    ]


def _gauge(key: str, value: float, **tags: str) -> Metric:
    return {"type": "GAUGE", "key": key, "value": float(value), "tags": tags}
