"""GET /contract and GET /model/info: what is served."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from evergreen.serving.api.operation import Call, Handler, Reply
from evergreen.serving.api.schema import random_row, row_schema

if TYPE_CHECKING:
    from evergreen.serving.holder import ModelHolder, Served
    from evergreen.serving.settings import ServingConfig

_encode = msgspec.json.encode


def contract_handler(holder: ModelHolder, settings: ServingConfig) -> Handler:
    """Return what shows the contract, the policies, and the row schema made of both."""

    async def contract(call: Call) -> Reply:
        promised = holder.current.contract
        return Reply(
            _encode(
                {
                    **promised.model_dump(mode="json"),
                    "policies": {
                        name: getattr(settings, name)
                        for name in ("out_of_range", "unknown_category", "missing", "extra_fields")
                    },
                    "schema": row_schema(promised, settings),
                }
            )
        )

    return contract


def example_handler(holder: ModelHolder, settings: ServingConfig) -> Handler:
    """Return what makes up a random row that the API takes."""
    from random import SystemRandom

    dice = SystemRandom()

    async def example(call: Call) -> Reply:
        return Reply(_encode(random_row(holder.current.contract, settings, dice)))

    return example


def info_handler(holder: ModelHolder) -> Handler:
    """Return what tells version, origin, figures and runtime of the model."""

    async def info(call: Call) -> Reply:
        return Reply(_encode(model_info(holder)))

    return info


def model_info(holder: ModelHolder) -> dict[str, Any]:
    """Return what is known of the model that is served."""
    served = holder.current
    manifest = served.runtime.manifest
    origin = manifest.origin
    failure = holder.failure
    return {
        "model": served.name,
        "version": served.version,
        "alias": served.alias,
        "task": served.contract.task,
        "target": served.contract.target,
        "labels": served.contract.labels,
        "runtime": served.runtime.kind,
        "serving_since": served.since.isoformat(),
        "trained": manifest.created.isoformat(),
        "estimator": {"name": origin.candidate, "title": origin.title, "params": origin.params},
        "data": {
            "source": origin.data_source,
            "fingerprint": origin.data_fingerprint,
            "rows": origin.rows,
        },
        "figures": _figures(served),
        "swaps": holder.swaps,
        "swap_failure": None
        if failure is None
        else {
            "time": failure.time.isoformat(),
            "version": failure.version,
            "reason": failure.reason,
        },
    }


def _figures(served: Served) -> dict[str, Any] | None:
    """Return the figures on the holdout; a runtime without a bundle has none."""
    bundle = getattr(served.runtime, "bundle", None)
    return None if bundle is None else bundle.figures.model_dump(mode="json")
