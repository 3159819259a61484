"""One look at a canary: what the log says of it, what follows, and doing that."""

from __future__ import annotations

from datetime import datetime
from typing import Final, Literal

from evergreen.promotion.canary_decision import CanaryDecision, decide
from evergreen.promotion.canary_log import CanaryLog
from evergreen.promotion.canary_wording import span
from evergreen.promotion.registration import CHALLENGER
from evergreen.promotion.registry import Registry
from evergreen.promotion.traffic import next_step
from evergreen.promotion.traffic_wording import percent
from evergreen.serving.traffic import TrafficPlan
from evergreen.values import Value

WHO: Final = "canary"  # in the promotion log


class Look(Value):
    """What a look led to."""

    action: Literal["none", "hold", "step", "promote", "roll_back"]
    message: str  # one sentence, or a few
    gist: str  # the same as long as nothing new is to be said

    @property
    def ended(self) -> bool:
        """Whether no canary is in force (any more)."""
        return self.action in ("none", "promote", "roll_back")


class CanaryController:
    """Ramps the canary of one model. Whatever it does rests on the plan that it read."""

    def __init__(self, registry: Registry, name: str, log_url: str) -> None:
        self.registry = registry
        self.name = name
        self._log_url = log_url
        self._logs: dict[str, CanaryLog] = {}

    def look(self, now: datetime) -> Look:
        """Look once, and act.

        Raises
        ------
        UnreachableError
            If registry, promotion log or prediction log do not answer; nothing was done.
        RefusedError
            If somebody else changed the plan or decided on the model at the same moment.
        """
        if self.registry.log.open_intents(self.name):
            self.registry.resume(self.name)
        plan = self.registry.traffic(self.name)
        if plan is None or plan.canary is None:
            message = f"No canary of {self.name!r} is in force."
            return Look(action="none", message=message, gist=message)
        if overtaken := self._overtaken():
            return self._roll_back(plan, overtaken)
        champion, challenger = self._log(plan.challenger).arms(plan.since, plan.challenger)
        decision = decide(plan.canary, plan.step, now - plan.since, champion, challenger)
        if decision.action == "roll_back":
            return self._roll_back(plan, "; ".join(decision.reasons))
        if decision.action == "promote":
            return self._promote(plan, decision)
        if decision.action == "step":
            return self._step(plan, decision, now)
        return self._hold(plan, decision, now)

    def close(self) -> None:
        """Give the database's connections back."""
        for log in self._logs.values():
            log.close()

    def _overtaken(self) -> str:
        """Say why the challenger cannot become champion any more, if that is so."""
        champion = self.registry.champion(self.name)
        waiting = self.registry.aliased(self.name, CHALLENGER)
        now = None if champion is None else champion.version
        if waiting is None or waiting.judged_against == now:
            return ""
        judged = waiting.judged_against
        return (
            f"it was judged against {f'champion {judged}' if judged else 'no champion'}, but "
            f"{f'version {now} is champion' if now else 'there is none'} now; train again"
        )

    def _roll_back(self, plan: TrafficPlan, why: str) -> Look:
        self.registry.reject(self.name, WHO, why, plan=plan)
        message = (
            f"{self._subject(plan)} was sent back at {percent(plan.percent)} of the traffic: "
            f"{why}. The champion answers everything again."
        )
        return Look(action="roll_back", message=message, gist=message)

    def _promote(self, plan: TrafficPlan, decision: CanaryDecision) -> Look:
        why = "; ".join(decision.reasons)
        self.registry.approve(self.name, WHO, why, plan=plan)
        message = f"{self._subject(plan)} is champion now, after its last step: {why}."
        return Look(action="promote", message=message, gist=message)

    def _step(self, plan: TrafficPlan, decision: CanaryDecision, now: datetime) -> Look:
        higher, why = next_step(plan, now), "; ".join(decision.reasons)
        if higher is None:
            raise RuntimeError(f"there is no step after step {plan.step}")
        moved = f"from {percent(plan.percent)} to {percent(higher.percent)} of the traffic"
        self.registry.change_traffic(
            self.name, higher, WHO, f"{moved}: {why}", expected=plan, stepped=True
        )
        message = f"{self._subject(plan)} went {moved}: {why}."
        return Look(action="step", message=message, gist=message)

    def _hold(self, plan: TrafficPlan, decision: CanaryDecision, now: datetime) -> Look:
        since = span(now - plan.since)
        message = (
            f"{self._subject(plan)} holds at {percent(plan.percent)} of the traffic, for {since}: "
            f"{'; '.join(decision.reasons)}."
        )
        return Look(
            action="hold",
            message=message,
            gist=f"{plan.challenger} {plan.step} {decision.cause}",
        )

    def _subject(self, plan: TrafficPlan) -> str:
        return f"Canary: version {plan.challenger} of {self.name!r}"

    def _log(self, version: str) -> CanaryLog:
        if version not in self._logs:
            contract = self.registry.contract(self.name, version)
            self._logs[version] = CanaryLog(self._log_url, contract)
        return self._logs[version]
