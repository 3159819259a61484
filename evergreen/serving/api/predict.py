"""POST /predict: one row."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from evergreen.serving.api.operation import JSON, AtOnce, Call, Handler, Reply

if TYPE_CHECKING:
    from evergreen.serving.api.plan import Plan, Row
    from evergreen.serving.api.predictor import Answer, Predictor

_encode = msgspec.json.Encoder().encode


def predict_handlers(predictor: Predictor) -> tuple[Handler, AtOnce]:
    """Return what answers requests for one row: any of them, and those without a surprise."""
    holder = predictor.holder
    count = predictor.metrics.predicted("/predict")

    async def predict(call: Call) -> Reply:
        call.require_json()
        arms = holder.arms
        plan = predictor.plan(arms.champion)
        row = plan.read_row(call.body)
        return reply(call, plan, row, await predictor.one(call, arms, plan, row))

    def predict_at_once(call: Call) -> Reply | None:
        if not holder.ready or call.headers.get(b"content-type") != JSON:
            return None
        arms = holder.arms
        plan = predictor.plan(arms.champion)
        row = None if predictor.waits(arms) else plan.read_plain_row(call.body)
        if row is None:
            return None
        return reply(call, plan, row, predictor.one_at_once(call, arms, plan, row))

    def reply(call: Call, plan: Plan, row: Row, answer: Answer) -> Reply:
        count()
        served = answer.served
        body = _encode(plan.answer(call, served, answer.outputs, row.flags))
        return Reply(body, headers=served.headers)

    return predict, predict_at_once
