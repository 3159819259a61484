"""Everything that is worked out once per model, so that a request need not."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from evergreen.serving.api.answers import ClassAnswer, ClassRow, NumberAnswer, NumberRow
from evergreen.serving.parsing.json_body import read_json
from evergreen.serving.parsing.rows import FastRow, Inputs
from evergreen.serving.parsing.tables import TableReader, plain
from evergreen.serving.problems import Problem
from evergreen.serving.settings import ServingConfig

if TYPE_CHECKING:
    from evergreen.serving.api.operation import Call
    from evergreen.serving.holder import Served
    from evergreen.serving.runtime import Outputs, Runtime

FEATURES: Final = "features"  # {"features": […]}: the values alone, in contract order
NO_FLAGS: Final = ()


class Row:
    """One row that was read: for the model, for the log, and what was odd about it."""

    __slots__ = ("flags", "inputs", "logged")

    def __init__(
        self, inputs: Inputs, logged: dict[str, Any], flags: Sequence[str] = NO_FLAGS
    ) -> None:
        self.inputs, self.logged, self.flags = inputs, logged, flags


class Plan:
    """How requests to one model are read and answered."""

    def __init__(self, runtime: Runtime, settings: ServingConfig) -> None:
        self.runtime = runtime
        self.contract = runtime.contract
        self.table = TableReader(self.contract, settings)
        self.fast = FastRow(self.table.fields)
        self.names = self.table.names
        self.native = runtime.kind == "native"
        self.labels = tuple(str(label) for label in self.contract.labels or ())
        self.answer: Callable[[Call, Served, Outputs, Sequence[str]], Any] = (
            self._number_answer if self.contract.labels is None else self._class_answer
        )

    def read_row(self, body: bytes) -> Row:
        """Read the body of a request for one row.

        Raises
        ------
        Problem
            If it is no JSON, or breaks the contract.
        """
        plain_row = self.read_plain_row(body)
        if plain_row is not None:
            return plain_row
        content = read_json(body)
        if isinstance(content, list):
            raise Problem(
                "invalid-input", "The body is a list; lists of rows go to /predict/batch."
            )
        inputs, findings = (
            self.table.lists([content[FEATURES]], lone=True)
            if self.is_list_form(content)
            else self.table.records([content], lone=True)
        )
        return Row(inputs, self.logged(inputs), findings.flags.get(0, NO_FLAGS))

    def read_plain_row(self, body: bytes) -> Row | None:
        """Read a row that needs no second look; None where it does."""
        values = self.fast.read(body)
        if values is None:
            return None
        inputs = self.fast.inputs(values)
        if inputs is None:
            return None
        if self.fast.verbatim:
            return Row(inputs, dict(zip(self.names, values, strict=True)))
        return Row(inputs, self.logged(inputs))

    def is_list_form(self, content: Any) -> bool:
        """Tell whether the values come alone, in contract order."""
        return (
            isinstance(content, dict) and content.keys() == {FEATURES} and self.names != (FEATURES,)
        )

    def logged(self, inputs: Inputs) -> dict[str, Any]:
        """Return the first row as the prediction log takes it."""
        return {name: plain(values[:1])[0] for name, values in inputs.items()}

    def rows(self, outputs: Outputs, start: int, flags: dict[int, list[str]]) -> list[Any]:
        """Return the answers to many rows; ``start`` is the number of the first one."""
        intervals = [None] * len(outputs.predictions)
        if outputs.intervals is not None:
            intervals = outputs.intervals.tolist()
        predictions = outputs.predictions.tolist()
        if self.contract.labels is None:
            return [
                NumberRow(row=row, prediction=value, interval=interval, flags=flags.get(row, ()))
                for row, (value, interval) in enumerate(
                    zip(predictions, intervals, strict=True), start
                )
            ]
        shares: list[Any] = [None] * len(predictions)
        if outputs.probabilities is not None:
            labels = self.labels
            shares = [dict(zip(labels, row, strict=True)) for row in outputs.probabilities.tolist()]
        return [
            ClassRow(
                row=row,
                prediction=label,
                label=str(label),
                probabilities=share,
                flags=flags.get(row, ()),
            )
            for row, (label, share) in enumerate(zip(predictions, shares, strict=True), start)
        ]

    def _class_answer(
        self, call: Call, served: Served, outputs: Outputs, flags: Sequence[str]
    ) -> ClassAnswer:
        label = outputs.predictions[0]
        shares = outputs.probabilities
        return ClassAnswer(
            prediction=label,
            label=str(label),
            probabilities=None
            if shares is None
            else dict(zip(self.labels, shares[0].tolist(), strict=True)),
            flags=flags,
            model=served.name,
            model_version=served.version,
            request_id=call.request_id,
        )

    def _number_answer(
        self, call: Call, served: Served, outputs: Outputs, flags: Sequence[str]
    ) -> NumberAnswer:
        bounds = outputs.intervals
        return NumberAnswer(
            prediction=float(outputs.predictions[0]),
            interval=None if bounds is None else bounds[0].tolist(),
            flags=flags,
            model=served.name,
            model_version=served.version,
            request_id=call.request_id,
        )


def require_answer(outputs: Outputs) -> None:
    """Refuse to answer with what is no number.

    Raises
    ------
    Problem
        If a prediction or probability is not finite: the values were too extreme together.
    """
    found = outputs.predictions if outputs.probabilities is None else outputs.probabilities
    if found.dtype != object:
        # The sum of finite numbers may overflow; only then is a closer look needed.
        total = sum(found.ravel().tolist()) if len(found) == 1 else found.sum()
        if math.isfinite(total):
            return
        finite = np.isfinite(found)
        if not finite.all():
            row = int(np.flatnonzero(~finite.reshape(len(found), -1).all(axis=1))[0])
            where = f"row {row}: " if len(found) > 1 else ""
            raise Problem(
                "no-answer", f"{where}these values together lead to no finite prediction."
            )
