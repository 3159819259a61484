"""POST /explain: what each field did to the prediction of one row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from evergreen.serving.api.answers import Contribution, Explanation
from evergreen.serving.api.operation import Call, Handler, Reply
from evergreen.serving.api.plan import require_answer
from evergreen.serving.problems import Problem

if TYPE_CHECKING:
    from evergreen.data.contract import Contract
    from evergreen.serving.api.predictor import Predictor

_encode = msgspec.json.encode


def explain_handler(predictor: Predictor) -> Handler:
    """Return what explains a row; it is not written to the prediction log."""

    async def explain(call: Call) -> Reply:
        call.require_json()
        served = predictor.holder.current
        plan = predictor.plan(served)
        row = plan.read_row(call.body)
        outputs = await predictor.in_thread(served.runtime.predict, row.inputs)
        require_answer(outputs)
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
            )
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
