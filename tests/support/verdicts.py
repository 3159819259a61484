"""Verdicts of the gate, in short."""

from __future__ import annotations

from evergreen.promotion.verdict import RuleResult, Verdict


def verdict(champion: str | None = None, *, passed: bool = True, manual: bool = False) -> Verdict:
    """Return a verdict with one rule on the accuracy."""
    rule = RuleResult(
        rule="threshold",
        name="accuracy at least 0.8",
        metric="accuracy",
        figure=0.9 if passed else 0.7,
        bound=0.8,
        passed=passed,
        reason="accuracy is what it is",
    )
    return Verdict(
        passed=passed,
        rules=(rule,),
        champion=champion,
        approval="manual" if manual else "automatic",
        summary="Every rule passed." if passed else "accuracy 0.7 is below 0.8.",
    )
