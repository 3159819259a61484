"""POST /predict: one row."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from evergreen.serving.api.operation import JSON, AtOnce, Call, Handler, Reply

if TYPE_CHECKING:
    from evergreen.serving.api.predictor import Predictor

_encode = msgspec.json.Encoder().encode


def predict_handlers(predictor: Predictor) -> tuple[Handler, AtOnce]:
    """Return what answers requests for one row: any of them, and those without a surprise."""
    holder = predictor.holder
    count = predictor.metrics.predicted("/predict")

    async def predict(call: Call) -> Reply:
        call.require_json()
        served = holder.current
        plan = predictor.plan(served)
        row = plan.read_row(call.body)
        outputs = await predictor.one(call, served, plan, row)
        count()
        return Reply(_encode(plan.answer(call, served, outputs, row.flags)))

    def predict_at_once(call: Call) -> Reply | None:
        if not holder.ready or call.headers.get(b"content-type") != JSON:
            return None
        served = holder.current
        plan = predictor.plan(served)
        row = None if predictor.waits(plan) else plan.read_plain_row(call.body)
        if row is None:
            return None
        outputs = predictor.one_at_once(call, served, plan, row)
        count()
        return Reply(_encode(plan.answer(call, served, outputs, row.flags)))

    return predict, predict_at_once
