"""The gate's verdict, rule by rule."""

from __future__ import annotations

from typing import Literal

from evergreen.values import Value


class RuleResult(Value):
    """One rule of the gate: the figure it looked at and the bound it asked for."""

    rule: Literal["threshold", "baseline", "champion", "slice"]
    name: str  # such as "accuracy at least 0.95"
    metric: str
    figure: float | None  # None: not measurable, which never passes
    low: float | None = None
    high: float | None = None
    bound: float
    passed: bool
    reason: str  # one sentence with the numbers


class Verdict(Value):
    """All rules together. ``passed`` only where every rule passed and there is at least one."""

    passed: bool
    rules: tuple[RuleResult, ...]
    champion: str | None  # the version compared with; None: there was none
    approval: Literal["automatic", "manual", "canary"]
    summary: str  # one sentence
