"""Whether a canary holds, steps up, becomes champion or goes back.

Both arms' requests since the step began are compared by three guardrails: failures, latency and
the distribution of the predictions. A canary goes back where a guardrail is surely exceeded. It
moves on where the step was long enough, saw enough, and every guardrail is measured and kept.
What cannot be measured holds.

**How sure.** Let the confidence be 0.99. A challenger that in truth keeps every guardrail is sent
back with a probability of at most 0.01 over the *whole* canary, however often one looks: the 0.01
is shared among steps and guardrails, and within those among looks. A look is at the rows up to the
challenger's 20th, 40th, 80th, … request of the step, so that looking again shows the same, and
look k (from 0) spends 1 / ((k + 1) (k + 2)) of its share; these add up to 1. The bounds of
`evergreen.promotion.sure_bounds` hold at every size. What this rests on is that requests are
independent; of a batch, one row counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from evergreen.promotion import canary_wording as wording
from evergreen.promotion import sure_bounds as bounds
from evergreen.promotion.canary_wording import Figures
from evergreen.serving.traffic import CanaryConfig
from evergreen.values import Value

FIRST_LOOK: Final = 20  # requests of the challenger; each further look takes twice as many
QUANTILE: Final = 0.95  # of the latency
GUARDRAILS: Final = 3

Action = Literal["hold", "step", "promote", "roll_back"]
Cause = Literal["guardrail", "time", "rows", "unmeasurable", "unsure", "passed"]
FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Arm:
    """One arm's n requests since the step began, the oldest first.

    Attributes
    ----------
    times : Unix seconds.
    failed : whether the arm could not answer (the champion answered in its place).
    latencies : milliseconds, NaN where unknown or failed.
    codes : the predicted label's code, -1 where failed; None for a regression.
    kinds : how many labels there are; 0 for a regression.
    numbers : the predicted number, NaN where failed; None for a classification.
    """

    times: FloatArray
    failed: npt.NDArray[np.bool_]
    latencies: FloatArray
    codes: IntArray | None = None
    numbers: FloatArray | None = None
    kinds: int = 0

    def __len__(self) -> int:
        return len(self.times)

    def until(self, moment: float) -> Arm:
        """Return the requests up to and at a moment."""
        end = int(np.searchsorted(self.times, moment, side="right"))
        return Arm(
            self.times[:end],
            self.failed[:end],
            self.latencies[:end],
            None if self.codes is None else self.codes[:end],
            None if self.numbers is None else self.numbers[:end],
            self.kinds,
        )

    @property
    def known_latencies(self) -> FloatArray:
        """The latencies that are known, in milliseconds."""
        return self.latencies[np.isfinite(self.latencies)]

    @property
    def labels(self) -> IntArray:
        """The codes of the predicted labels."""
        codes = self.codes if self.codes is not None else np.empty(0, np.int64)
        return codes[codes >= 0]

    @property
    def values(self) -> FloatArray:
        """The predicted numbers."""
        numbers = self.numbers if self.numbers is not None else np.empty(0)
        return numbers[np.isfinite(numbers)]


class GuardrailResult(Value):
    """One guardrail: what was found, and at the least surely (at any look), beside its limit."""

    name: Literal["error_rate", "latency_ratio", "prediction_shift"]
    figure: float | None  # of all requests; None: not measurable
    surely: float
    limit: float
    reason: str  # one sentence with the numbers

    @property
    def exceeded(self) -> bool:
        """Whether the limit is surely exceeded."""
        return self.surely > self.limit

    @property
    def kept(self) -> bool:
        """Whether it is measured and, as far as one can tell, kept."""
        return self.figure is not None and self.figure <= self.limit and not self.exceeded


class CanaryDecision(Value):
    """What is to become of a canary, and why."""

    action: Action
    cause: Cause
    reasons: tuple[str, ...]
    guardrails: tuple[GuardrailResult, ...]


def decide(
    config: CanaryConfig, step: int, held: timedelta, champion: Arm, challenger: Arm
) -> CanaryDecision:
    """Decide on a canary that has been at ``step`` for as long as ``held``."""
    found = _guardrails(config, champion, challenger)
    exceeded = [each.reason for each in found if each.exceeded]
    if exceeded:
        return _decision("roll_back", "guardrail", exceeded, found)
    rows = f"{wording.requests(len(challenger))}, the champion {wording.requests(len(champion))}"
    if min(len(champion), len(challenger)) < config.min_rows:
        reason = f"the challenger had {rows}; a step takes {config.min_rows} of each"
        if len(challenger) == 0:
            reason += " (do servers run, and is the challenger loaded? Their /health says so)"
        return _decision("hold", "rows", [reason], found)
    if unmeasured := [each.reason for each in found if each.figure is None]:
        return _decision("hold", "unmeasurable", unmeasured, found)
    if held < config.hold:
        reason = f"the step takes {wording.span(config.hold)}, and began {wording.span(held)} ago"
        return _decision("hold", "time", [reason], found)
    if unsure := [f"{each.reason}; more requests will tell" for each in found if not each.kept]:
        return _decision("hold", "unsure", unsure, found)
    last = step + 1 >= len(config.steps)
    reasons = [f"the challenger had {rows}", *(each.reason for each in found)]
    return _decision("promote" if last else "step", "passed", reasons, found)


def _decision(
    action: Action, cause: Cause, reasons: list[str], found: tuple[GuardrailResult, ...]
) -> CanaryDecision:
    return CanaryDecision(action=action, cause=cause, reasons=tuple(reasons), guardrails=found)


def _guardrails(
    config: CanaryConfig, champion: Arm, challenger: Arm
) -> tuple[GuardrailResult, ...]:
    rails = config.guardrails
    alpha = (1 - rails.confidence) / (GUARDRAILS * len(config.steps))
    kinds = max(challenger.kinds, champion.kinds)

    def surely(bound: Callable[[Arm, Arm, float], float]) -> float:
        looks = _looks(champion, challenger, alpha)
        return max((bound(new, old, share) for old, new, share in looks), default=0.0)

    classification = challenger.codes is not None
    return (
        GuardrailResult(
            name="error_rate",
            figure=_failure_gap(champion, challenger),
            surely=surely(_sure_failure_gap),
            limit=rails.error_rate,
            reason=wording.failures(_figures(champion), _figures(challenger), rails.error_rate),
        ),
        _latency(champion, challenger, surely(_sure_latency_ratio), rails.latency_ratio),
        _shift(
            champion,
            challenger,
            kinds,
            surely(lambda new, old, share: _sure_shift(new, old, kinds, share)),
            rails.prediction_shift,
            "total variation" if classification else "Kolmogorov-Smirnov",
        ),
    )


def _looks(champion: Arm, challenger: Arm, alpha: float) -> Iterator[tuple[Arm, Arm, float]]:
    """Yield both arms as they were at each look, with the chance that it may spend."""
    size, number = FIRST_LOOK, 0
    while size <= len(challenger):
        moment = float(challenger.times[size - 1])
        share = alpha / ((number + 1) * (number + 2))
        yield champion.until(moment), challenger.until(moment), share
        size, number = 2 * size, number + 1


def _figures(arm: Arm) -> Figures:
    return Figures(failed=int(arm.failed.sum()), requests=len(arm))


def _failure_gap(champion: Arm, challenger: Arm) -> float | None:
    if len(champion) == 0 or len(challenger) == 0:
        return None
    return float(challenger.failed.mean() - champion.failed.mean())


def _sure_failure_gap(challenger: Arm, champion: Arm, alpha: float) -> float:
    return bounds.difference_of_shares(
        int(challenger.failed.sum()),
        len(challenger),
        int(champion.failed.sum()),
        len(champion),
        alpha,
    )


def _sure_latency_ratio(challenger: Arm, champion: Arm, alpha: float) -> float:
    return bounds.ratio_of_quantiles(
        challenger.known_latencies, champion.known_latencies, QUANTILE, alpha
    )


def _sure_shift(challenger: Arm, champion: Arm, kinds: int, alpha: float) -> float:
    if challenger.codes is not None:
        return bounds.distance_of_labels(challenger.labels, champion.labels, kinds, alpha)
    return bounds.distance_of_numbers(challenger.values, champion.values, alpha)


def _latency(champion: Arm, challenger: Arm, surely: float, limit: float) -> GuardrailResult:
    ours, theirs = challenger.known_latencies, champion.known_latencies
    slow, before = (
        float(np.quantile(each, QUANTILE)) if len(each) else None for each in (ours, theirs)
    )
    ratio = slow / before if slow is not None and before else None
    return GuardrailResult(
        name="latency_ratio",
        figure=ratio,
        surely=surely,
        limit=limit,
        reason=wording.latency(slow, before, surely, limit),
    )


def _shift(
    champion: Arm, challenger: Arm, kinds: int, surely: float, limit: float, measure: str
) -> GuardrailResult:
    figure = None
    if len(challenger.labels) and len(champion.labels):
        figure = bounds.total_variation(challenger.labels, champion.labels, kinds)
    elif len(challenger.values) and len(champion.values):
        figure = bounds.kolmogorov_smirnov(challenger.values, champion.values)
    return GuardrailResult(
        name="prediction_shift",
        figure=figure,
        surely=max(surely, 0.0),
        limit=limit,
        reason=wording.shift(figure, surely, limit, measure),
    )
