"""Traffic plans in words."""

from __future__ import annotations

from evergreen.serving.traffic import CanaryConfig, TrafficPlan


def described(name: str, plan: TrafficPlan) -> str:
    """Say in a sentence what a plan does."""
    version = f"version {plan.challenger} of {name!r}"
    if plan.mode == "shadow":
        return f"{version} shadows the champion: it scores every request and answers none."
    if plan.mode == "split" or plan.canary is None:
        return f"{version} answers {percent(plan.percent)} of the requests{kept(plan)}."
    stands = f"; it is at {percent(plan.percent)}" if plan.step else ""
    return f"{version} ramps as a canary: {ramp(plan.canary)}{stands}."


def waiting_message(name: str, version: str, plan: TrafficPlan | None) -> str:
    """Say what a version that passed the gate waits for, and how to decide on it by hand."""
    by_hand = f"python run.py --approve {name}, or --reject {name}"
    passed = f"Version {version} of {name!r} passed the gate and"
    if plan is None:
        return f"{passed} waits for approval: {by_hand}"
    if plan.mode == "canary" and plan.canary is not None:
        return f"{passed} ramps as a canary: {ramp(plan.canary)}. To decide by hand: {by_hand}"
    if plan.mode == "shadow":
        return f"{passed} waits for approval, shadowing the champion: {by_hand}"
    return (
        f"{passed} waits for approval, answering {percent(plan.percent)} of the requests: {by_hand}"
    )


def ramp(canary: CanaryConfig) -> str:
    """Say the steps of a canary: "5 %, 25 %, 50 %, then champion"."""
    return f"{', '.join(percent(step) for step in canary.steps)}, then champion"


def percent(value: float) -> str:
    """Write a share of the traffic."""
    return f"{value:g} %"


def kept(plan: TrafficPlan) -> str:
    """Say what keeps a caller with one arm."""
    if plan.sticky is None:
        return ", drawn one by one"
    kind, _, key = plan.sticky.partition(":")
    return f", by the {kind} {key!r}"
