"""Which traffic a challenger gets: making plans, and putting them in force through the registry.

Every change is compared with the plan that it was decided on and written through the promotion
log, so that of two changes at the same moment, on whatever machines, one wins and one is refused.
"""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Literal

from evergreen.errors import InputError
from evergreen.promotion.registration import CHALLENGER
from evergreen.promotion.traffic_wording import described
from evergreen.serving.traffic import TrafficConfig, TrafficPlan
from evergreen.values import Value

if TYPE_CHECKING:
    from evergreen.promotion.registry import Registry

Mode = Literal["shadow", "split", "canary"]

_OF_THE_MOMENT: Final = {"since", "who", "salt", "step", "percent"}


class TrafficChange(Value):
    """What became of a wish for another plan."""

    status: Literal["changed", "unchanged", "ended"]
    plan: TrafficPlan | None  # in force now
    message: str  # one sentence


def make_plan(
    mode: Mode,
    config: TrafficConfig,
    version: str,
    who: str,
    percent: float | None = None,
    now: datetime | None = None,
) -> TrafficPlan:
    """Return a plan for a challenger, of ``mode`` and otherwise as configured.

    ``percent`` takes the place of the configured share of a split.
    """
    share = {
        "shadow": 0.0,
        "split": config.percent if percent is None else percent,
        "canary": config.canary.steps[0],
    }
    return TrafficPlan(
        challenger=version,
        mode=mode,
        percent=share[mode],
        sticky=config.sticky,
        salt=secrets.token_hex(8),
        since=now or datetime.now(UTC),
        who=who,
        canary=config.canary if mode == "canary" else None,
    )


def initial_plan(
    approval: Literal["automatic", "manual", "canary"],
    config: TrafficConfig,
    version: str,
    who: str,
    current: TrafficPlan | None,
) -> TrafficPlan | None:
    """Return the plan for a version that has just passed the gate and is to wait.

    A ``current`` plan for the same version that comes to the same goes on: asking again does not
    start a canary anew.
    """
    if approval == "canary":
        wanted = make_plan("canary", config, version, who)
    elif config.challenger == "none":
        return None
    else:
        wanted = make_plan(config.challenger, config, version, who)
    return current if current is not None and same_wish(current, wanted) else wanted


def same_wish(one: TrafficPlan, other: TrafficPlan) -> bool:
    """Tell whether two plans ask for the same, wherever a canary stands and whoever asked."""
    if one.mode == "split" and one.percent != other.percent:
        return False
    return one.model_dump(exclude=_OF_THE_MOMENT) == other.model_dump(exclude=_OF_THE_MOMENT)


def next_step(plan: TrafficPlan, now: datetime) -> TrafficPlan | None:
    """Return a canary's plan one step up; None where the next step is to be champion."""
    if plan.canary is None or plan.step + 1 >= len(plan.canary.steps):
        return None
    step = plan.step + 1
    return plan.model_copy(update={"step": step, "percent": plan.canary.steps[step], "since": now})


def set_traffic(
    registry: Registry,
    name: str,
    mode: Mode,
    config: TrafficConfig,
    who: str,
    *,
    percent: float | None = None,
    reason: str = "",
) -> TrafficChange:
    """Put a plan for the version that waits in force; what is in force already goes on.

    Raises
    ------
    InputError
        If no version waits, or there is no champion to share the traffic with.
    RefusedError
        If somebody else changed the plan at the same moment.
    UnreachableError
        If registry or promotion log do not answer.
    """
    registry.resume(name)
    current = registry.traffic(name)
    challenger = registry.aliased(name, CHALLENGER)
    if challenger is None:
        raise InputError(
            f"No version of {name!r} is challenger, so there is nothing to give traffic to. One "
            "is after a training with gate.approval: manual (or canary) that passes the gate."
        )
    if registry.champion(name) is None:
        raise InputError(
            f"{name!r} has no champion that traffic could be shared with. "
            f"Make version {challenger.version} champion: python run.py --approve {name}"
        )
    wanted = make_plan(mode, config, challenger.version, who, percent)
    if current is not None and same_wish(current, wanted):
        message = f"Nothing changes: {described(name, current)}"
        return TrafficChange(status="unchanged", plan=current, message=message)
    registry.change_traffic(name, wanted, who, reason, expected=current)
    return TrafficChange(status="changed", plan=wanted, message=described(name, wanted))


def end_traffic(registry: Registry, name: str, who: str, reason: str = "") -> TrafficChange:
    """End the plan in force; the version that waits goes on waiting. Raises as `set_traffic` does.

    What is no plan (a tag that somebody else wrote) is removed, too.
    """
    registry.resume(name)
    try:
        current = registry.traffic(name)
    except InputError:
        registry.change_traffic(name, None, who, reason, expected="any")
        message = f"What stood in place of a traffic plan of {name!r} was removed."
        return TrafficChange(status="ended", plan=None, message=message)
    if current is None:
        message = f"No traffic plan of {name!r} is in force: the champion answers everything."
        return TrafficChange(status="unchanged", plan=None, message=message)
    registry.change_traffic(name, None, who, reason, expected=current)
    message = (
        f"Version {current.challenger} of {name!r} gets no traffic any more; it waits on, and the "
        "champion answers everything."
    )
    return TrafficChange(status="ended", plan=None, message=message)
