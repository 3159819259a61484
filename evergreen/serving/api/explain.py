"""POST /explain: what each field did to the prediction of one row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from evergreen.serving.api.answers import Contribution, Explanation
from evergreen.serving.api.operation import Call, Handler, Reply
from evergreen.serving.problems import Problem

if TYPE_CHECKING:
    from evergreen.data.contract import Contract
    from evergreen.serving.api.predictor import Predictor

_encode = msgspec.json.encode


def explain_handler(predictor: Predictor) -> Handler:
    """Return what explains a row, by the arm that answers it; nothing is logged."""

    async def explain(call: Call) -> Reply:
        call.require_json()
        arms = predictor.holder.arms
        plan = predictor.plan(arms.champion)
        row = plan.read_row(call.body)
        answer = await predictor.in_thread(predictor.answer, call, arms, row.inputs)
        served, outputs = answer.served, answer.outputs
        values = await predictor.in_thread(served.runtime.explain, row.inputs)
        fields = [
            Contribution(name, row.logged[name], _finite(found[0]))
            for name, found in values.items()
        ]
        fields.sort(key=lambda one: -max(map(abs, one.contributions)))
        prediction: Any = outputs.predictions[0]
        return Reply(
            _encode(
                Explanation(
                    prediction=prediction if plan.labels else float(prediction),
                    outputs=_outputs(served.contract),
                    fields=fields,
                    model=served.name,
                    model_version=served.version,
                )
            ),
            headers=served.headers,
        )

    return explain


def _finite(values: Any) -> list[float]:
    found: list[float] = np.atleast_1d(values).tolist()
    if not np.isfinite(found).all():
        raise Problem("not-explainable", "These values together have no finite explanation.")
    return found


def _outputs(contract: Contract) -> list[str]:
    if contract.labels is None:
        return [contract.target]
    labels = [str(label) for label in contract.labels]
    return labels[1:] if len(labels) == 2 else labels
