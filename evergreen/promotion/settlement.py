"""What becomes of a judged challenger: the one place that decides it."""

from __future__ import annotations

from typing import Literal

from evergreen.promotion.bundle import Bundle
from evergreen.promotion.registration import CHALLENGER, ZENML_RUN, Registration
from evergreen.promotion.registry import Registry
from evergreen.promotion.traffic import initial_plan
from evergreen.promotion.verdict import Verdict
from evergreen.serving.traffic import TrafficConfig


def outlook(verdict: Verdict) -> Literal["promoted", "waiting", "ramping", "refused"]:
    """Return what is to become of a challenger.

    The first of all has no champion to ramp beside: with ``approval: canary`` it is promoted.
    """
    if not verdict.passed:
        return "refused"
    if verdict.approval == "manual":
        return "waiting"
    if verdict.approval == "canary" and verdict.champion is not None:
        return "ramping"
    return "promoted"


def settle(
    registry: Registry,
    bundle: Bundle,
    verdict: Verdict,
    *,
    run_id: str,
    who: str,
    zenml_run: str | None = None,
    traffic: TrafficConfig = TrafficConfig(),  # noqa: B008 (frozen)
) -> Registration:
    """Promote a challenger, let it wait or ramp, or refuse it, as the verdict says.

    ``traffic`` says what a challenger that waits gets to answer, and how a canary ramps.

    A challenger that comes from the same training as the champion changes nothing, and one that
    comes from the same training as the version that waits is not registered again.

    Raises
    ------
    RefusedError
        If another version became champion since the verdict.
    UnreachableError
        If MLflow or the promotion log do not answer.
    """
    name = bundle.manifest.use_case
    registry.reconcile(name)
    if not verdict.passed:  # also where the champion is this very model and the gate is stricter
        estimates = {key: each.estimate for key, each in bundle.figures.metrics.items()}
        return registry.refuse(
            name, verdict, who, figures=estimates, run_id=run_id, zenml_run=zenml_run
        )
    champion = registry.champion(name)
    if champion is not None and champion.training_key == bundle.training_key:
        previous = registry.aliased(name, "previous")
        return Registration(
            status="unchanged",
            version=champion.version,
            champion=champion.version,
            previous=previous.version if previous else None,
            run_id=run_id,
            message=f"Version {champion.version} of {name!r}, the champion, is this very model: "
            "same data, settings and code.",
        )
    waiting = registry.aliased(name, CHALLENGER)
    known = waiting is not None and waiting.training_key == bundle.training_key
    if waiting is not None and known:
        version = waiting.version
    else:
        tags = {ZENML_RUN: zenml_run} if zenml_run else {}
        version = registry.register(name, bundle, run_id, tags)
    if outlook(verdict) == "promoted":
        return registry.promote(name, version, verdict, who)
    plan = None
    if champion is not None:
        current = registry.traffic(name)
        plan = initial_plan(verdict.approval, traffic, version, who, current)
    return registry.wait_for_approval(name, version, verdict, who, plan)
