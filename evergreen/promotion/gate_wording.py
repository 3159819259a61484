"""How the gate explains itself: one sentence with the numbers, for people who decide."""

from __future__ import annotations

import math

from evergreen.config import SliceRule
from evergreen.promotion.verdict import RuleResult
from evergreen.training.metrics import Metric
from evergreen.training.results import Interval, SliceResult

Measured = tuple[SliceResult, float]


def limit(metric: Metric) -> str:
    """Say from which side a bound of this metric binds."""
    return "at least" if metric.greater_is_better else "at most"


def threshold_reason(metric: Metric, figure: float | None, bound: float) -> str:
    """Explain an absolute threshold."""
    if figure is None:
        return f"{metric.title} could not be measured on the holdout, so it does not pass."
    said, asked = _told_apart(figure, bound)
    return f"{metric.title} is {said}; {limit(metric)} {asked} is asked for."


def better_reason(
    metric: Metric, confidence: float, gain: Interval, min_gain: float, other: str
) -> str:
    """Explain a comparison that asks for a gain."""
    if gain.estimate is None or gain.low is None:
        return _not_compared(metric, other)
    said, asked = _told_apart(gain.low, min_gain)
    return (
        f"{_compared(metric, gain.estimate, other)}; with {_percent(confidence)} confidence the "
        f"gain is at least {said}, and more than {asked} is asked for."
    )


def not_worse_reason(metric: Metric, confidence: float, gain: Interval, margin: float) -> str:
    """Explain a comparison that allows for a loss."""
    if gain.estimate is None or gain.low is None:
        return _not_compared(metric, "champion")
    said, allowed = _told_apart(max(0.0, -gain.low), margin)
    return (
        f"{_compared(metric, gain.estimate, 'champion')}; with {_percent(confidence)} confidence "
        f"it loses at most {said}, and at most {allowed} may be lost."
    )


def slices_reason(
    rule: SliceRule,
    metric: Metric,
    measured: list[Measured],
    failing: list[Measured],
    unmeasured: list[SliceResult],
    too_small: list[SliceResult],
) -> str:
    """Explain a floor for all slices; ``measured`` has the worst slice first."""
    asked = f"{limit(metric)} {rule.floor:g} is asked for in each"
    if unmeasured:
        said = f"{metric.title} could not be measured in {_names(unmeasured)}, so it does not pass."
    elif not measured:
        said = f"No slice has the {rule.min_rows} rows that it takes to be judged."
    elif failing:
        listed = "; ".join(
            f"{_told_apart(figure, rule.floor)[0]} in {_names([part])}" for part, figure in failing
        )
        said = f"{metric.title} is {listed}; {asked} slice."
    else:
        part, figure = measured[0]
        said = (
            f"{metric.title} is {_told_apart(figure, rule.floor)[0]} in the worst of "
            f"{len(measured)} judged slices, {_names([part])}; {asked}."
        )
    if too_small:
        said += f" Not judged, having fewer than {rule.min_rows} rows: {_names(too_small)}."
    return said


def summary(rules: list[RuleResult], has_champion: bool) -> str:
    """Say in one sentence what the gate decided."""
    if not rules:
        missing = "" if has_champion else " (there is no champion to compare with yet)"
        return (
            f"Refused: no rule of the gate applies{missing}, so nothing speaks for the "
            "challenger; add a threshold or the baseline rule."
        )
    refusing = [rule.name for rule in rules if not rule.passed]
    number = f"{len(rules)} rules" if len(rules) > 1 else "one rule"
    if refusing:
        return f"Refused by {len(refusing)} of {number}: {'; '.join(refusing)}."
    met = f"all {number}" if len(rules) > 1 else "the gate's one rule"
    return f"Passed: the challenger meets {met}."


def _compared(metric: Metric, gain: float, other: str) -> str:
    if gain == 0:
        how = f"exactly as good as the {other}"
    else:
        how = f"{abs(gain):.4g} {'better' if gain > 0 else 'worse'} than the {other}"
    return f"{metric.title}: on the same rows the challenger is {how}"


def _not_compared(metric: Metric, other: str) -> str:
    return (
        f"{metric.title}: challenger and {other} could not be compared on these rows, "
        "so it does not pass."
    )


def _percent(share: float) -> str:
    return f"{100 * share:.4g} %"


def _names(parts: list[SliceResult]) -> str:
    return ", ".join(f"{part.column} = {part.value} ({part.rows} rows)" for part in parts)


def _told_apart(figure: float, bound: float) -> tuple[str, str]:
    """Write both numbers with as many digits as it takes to see which is greater."""
    figure, bound = figure + 0.0, bound + 0.0  # -0 is 0
    digits = 4
    if not math.isclose(figure, bound, rel_tol=1e-9):
        while digits < 10 and f"{figure:.{digits}g}" == f"{bound:.{digits}g}":
            digits += 1
    return f"{figure:.{digits}g}", f"{bound:.{digits}g}"
