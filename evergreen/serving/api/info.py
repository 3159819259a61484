"""GET /contract and GET /model/info: what is served."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from evergreen.serving.api.operation import Call, Handler, Reply
from evergreen.serving.api.schema import random_row, row_schema
from evergreen.serving.arms import CHALLENGER, CHAMPION, SHADOW

if TYPE_CHECKING:
    from evergreen.serving.arms import Arms
    from evergreen.serving.holder import ModelHolder, Served, SwapFailure
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
    arms = holder.arms
    served = arms.champion
    manifest = served.runtime.manifest
    origin = manifest.origin
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
        "swap_failure": _failure(holder.failure),
        "arms": _arms(arms),
        "traffic": None if arms.plan is None else arms.plan.model_dump(mode="json"),
        "challenger_failure": _failure(holder.challenger_failure),
    }


def _arms(arms: Arms) -> list[dict[str, Any]]:
    """Return the versions that are loaded, each with its percent of the answers."""
    found = [(CHAMPION, arms.champion, 100 - arms.percent)]
    if arms.challenger is not None:
        name = SHADOW if arms.shadowing else CHALLENGER
        found.append((name, arms.challenger, arms.percent))
    return [
        {
            "arm": name,
            "version": served.version,
            "percent": percent,
            "runtime": served.runtime.kind,
            "serving_since": served.since.isoformat(),
            "trained": served.runtime.manifest.created.isoformat(),
            "estimator": served.runtime.manifest.origin.title,
        }
        for name, served, percent in found
    ]


def _failure(failure: SwapFailure | None) -> dict[str, Any] | None:
    if failure is None:
        return None
    return {
        "time": failure.time.isoformat(),
        "version": failure.version,
        "reason": failure.reason,
    }


def _figures(served: Served) -> dict[str, Any] | None:
    """Return the figures on the holdout; a runtime without a bundle has none."""
    bundle = getattr(served.runtime, "bundle", None)
    return None if bundle is None else bundle.figures.model_dump(mode="json")
