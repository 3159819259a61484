"""Is it alive, is it ready, and is all well?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from evergreen.serving.api.answers import Health
from evergreen.serving.api.operation import Call, Handler, Reply

if TYPE_CHECKING:
    from evergreen.serving.holder import ModelHolder
    from evergreen.serving.prediction_log import PredictionLog

_encode = msgspec.json.encode


def live_handler() -> Handler:
    """Return what says that the process answers."""

    async def live(call: Call) -> Reply:
        return Reply(b'{"status":"ok"}')

    return live


def ready_handler(holder: ModelHolder) -> Handler:
    """Return what says whether requests can be answered: 200, else 503."""

    async def ready(call: Call) -> Reply:
        if holder.ready:
            return Reply(b'{"status":"ok"}')
        return Reply(b'{"status":"unavailable"}', 503)

    return ready


def health_handler(holder: ModelHolder, log: PredictionLog) -> Handler:
    """Return what tells how everything is: 200 while requests are answered, else 503.

    Reasons stay general: who asks needs no key. Details are in the server's log.
    """

    async def health(call: Call) -> Reply:
        answer = health_of(holder, log)
        return Reply(_encode(answer), 200 if holder.ready else 503)

    return health


def health_of(holder: ModelHolder, log: PredictionLog | None) -> Health:
    """Return how model and prediction log are."""
    problems = []
    if holder.failure is not None:
        version = holder.failure.version or "the newest version"
        problems.append(f"{version} cannot be loaded; the former model goes on")
    if holder.challenger_failure is not None:
        challenger = f"the challenger {holder.challenger_failure.version or ''}".rstrip()
        problems.append(f"{challenger} gets no traffic; the champion answers everything")
    if log is not None and log.problem is not None:
        problems.append("the prediction log cannot reach its database")
    served = holder.current if holder.ready else None
    if served is None:
        problems.insert(0, "no model is loaded")
    return Health(
        status="unavailable" if served is None else "degraded" if problems else "ok",
        model=None if served is None else served.name,
        model_version=None if served is None else served.version,
        problems=problems,
    )
