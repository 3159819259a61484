"""POST /predict: one row."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from evergreen.serving.api.operation import Call, Handler, Reply

if TYPE_CHECKING:
    from evergreen.serving.api.predictor import Predictor

_encode = msgspec.json.Encoder().encode


def predict_handler(predictor: Predictor) -> Handler:
    """Return what answers requests for one row."""
    holder = predictor.holder
    count = predictor.metrics.rows.labels("/predict").inc

    async def predict(call: Call) -> Reply:
        call.require_json()
        served = holder.current
        plan = predictor.plan(served)
        row = plan.read_row(call.body)
        outputs = await predictor.one(call, served, plan, row)
        count()
        return Reply(_encode(plan.answer(call, served, outputs, row.flags)))

    return predict
