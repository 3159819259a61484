"""The gate: may the challenger become champion? What cannot be measured never passes.

Comparisons allow for rounding: a figure that equals its bound up to the ninth digit is equal.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Literal

from evergreen.config import ChampionRule, EvaluationConfig, GateConfig, SliceRule, Task
from evergreen.errors import InputError
from evergreen.promotion import gate_wording as wording
from evergreen.promotion.verdict import RuleResult, Verdict
from evergreen.training.bootstrap import UNMEASURED, paired_gain
from evergreen.training.metrics import Metric, metric_named
from evergreen.training.predictions import Predictions
from evergreen.training.results import Evaluation, Interval


def check_gate(gate: GateConfig, task: Task, evaluation: EvaluationConfig) -> None:
    """Check, before any training, that every rule can be judged.

    Raises
    ------
    InputError
        If the gate has no rule, names an unknown metric, asks for what the metric cannot reach,
        has a slice rule without slices, or sets what the champion rule's mode does not look at.
    """
    if not (gate.thresholds or gate.baseline or gate.champion or gate.slices):
        raise InputError(
            "gate: there is no rule, and a gate that checks nothing lets nothing pass. "
            "Add a threshold, such as thresholds: {accuracy: 0.9}, or the baseline rule."
        )
    for name, bound in gate.thresholds.items():
        where = f"gate.thresholds.{name}"
        _check_bound(_metric(name, task, where), bound, where)
    for number, rule in enumerate(gate.slices):
        where = f"gate.slices[{number}]"
        _check_bound(_metric(rule.metric, task, f"{where}.metric"), rule.floor, f"{where}.floor")
        if not evaluation.slices:
            raise InputError(
                f"{where}: there are no slices to judge. Name columns in evaluation.slices."
            )
    if gate.champion is not None:
        _check_champion_rule(gate.champion)


def judge(
    gate: GateConfig,
    *,
    metric: str,
    challenger: Predictions,
    baseline: Predictions | None,
    champion: Predictions | None,
    champion_version: str | None,
    evaluation: Evaluation,
    seed: int,
    bootstrap: int,
) -> Verdict:
    """Apply every rule of the gate and say why.

    Parameters
    ----------
    metric
        The training metric: baseline and champion are compared by it.
    challenger, baseline, champion
        Predictions of the same holdout rows, in the same order. A rule whose model has none says
        no; the champion rule is left out where there is no champion (no version, either).
    evaluation
        The challenger's, for thresholds and slices (both judge the point estimates).
    bootstrap
        Resamples behind each paired gain; its bounds are one-sided, at ``gate.confidence``.
    """
    chosen = metric_named(metric, evaluation.task)
    rules = [
        _threshold(metric_named(name, evaluation.task), bound, evaluation)
        for name, bound in gate.thresholds.items()
    ]

    gain_over = partial(
        paired_gain, chosen, challenger, resamples=bootstrap, confidence=gate.confidence, seed=seed
    )
    if gate.baseline is not None:
        rules.append(
            _better(
                chosen, "baseline", gain_over(baseline), gate.baseline.min_gain, gate.confidence
            )
        )
    has_champion = champion is not None or champion_version is not None
    if gate.champion is not None and has_champion:
        rules.append(_against_champion(chosen, gain_over(champion), gate.champion, gate.confidence))
    rules.extend(_slices(rule, evaluation) for rule in gate.slices)
    return Verdict(
        passed=bool(rules) and all(rule.passed for rule in rules),
        rules=tuple(rules),
        champion=champion_version,
        approval=gate.approval,
        summary=wording.summary(rules, has_champion),
    )


def _against_champion(
    metric: Metric, gain: Interval, rule: ChampionRule, confidence: float
) -> RuleResult:
    if rule.mode == "better":
        return _better(metric, "champion", gain, rule.min_gain, confidence)
    return _not_worse(metric, gain, rule.margin, confidence)


def _threshold(metric: Metric, bound: float, evaluation: Evaluation) -> RuleResult:
    interval = evaluation.metrics.get(metric.name, UNMEASURED)
    figure = _number(interval.estimate)
    return RuleResult(
        rule="threshold",
        name=f"{metric.name} {wording.limit(metric)} {bound:g}",
        metric=metric.name,
        figure=figure,
        low=interval.low,
        high=interval.high,
        bound=bound,
        passed=figure is not None and _acceptable(metric, figure, bound),
        reason=wording.threshold_reason(metric, figure, bound),
    )


def _better(
    metric: Metric,
    other: Literal["baseline", "champion"],
    gain: Interval,
    min_gain: float,
    confidence: float,
) -> RuleResult:
    """Ask for a gain that is surely greater; equal predictions (a gain of 0) do not pass."""
    low = _number(gain.low)
    more = f" by more than {min_gain:g}" if min_gain else ""
    return RuleResult(
        rule=other,
        name=f"{metric.name} better than the {other}'s{more}",
        metric=metric.name,
        figure=gain.estimate,
        low=gain.low,
        high=gain.high,
        bound=min_gain,
        passed=low is not None and low > min_gain and not _equal(low, min_gain),
        reason=wording.better_reason(metric, confidence, gain, min_gain, other),
    )


def _not_worse(metric: Metric, gain: Interval, margin: float, confidence: float) -> RuleResult:
    """Allow for a loss up to the margin; equal predictions pass, with a margin of 0 too."""
    low = _number(gain.low)
    more = f" by more than {margin:g}" if margin else ""
    return RuleResult(
        rule="champion",
        name=f"{metric.name} not worse than the champion's{more}",
        metric=metric.name,
        figure=gain.estimate,
        low=gain.low,
        high=gain.high,
        bound=0.0 - margin,  # 0, not -0
        passed=low is not None and (low > -margin or _equal(low, -margin)),
        reason=wording.not_worse_reason(metric, confidence, gain, margin),
    )


def _slices(rule: SliceRule, evaluation: Evaluation) -> RuleResult:
    """Judge all slices by one floor; the figure is the worst slice's."""
    metric = metric_named(rule.metric, evaluation.task)
    judged = [
        (part, part.metrics.get(metric.name, UNMEASURED))
        for part in evaluation.slices
        if part.rows >= rule.min_rows
    ]
    too_small = [part for part in evaluation.slices if part.rows < rule.min_rows]
    unmeasured = [part for part, interval in judged if _number(interval.estimate) is None]
    measured = [
        (p, i.estimate) for p, i in judged if i.estimate is not None and p not in unmeasured
    ]
    measured.sort(key=lambda pair: metric.sign * pair[1])
    failing = [pair for pair in measured if not _acceptable(metric, pair[1], rule.floor)]
    shown = UNMEASURED
    if measured and not unmeasured:
        shown = measured[0][0].metrics[metric.name]
    return RuleResult(
        rule="slice",
        name=f"{metric.name} {wording.limit(metric)} {rule.floor:g} in every slice",
        metric=metric.name,
        figure=shown.estimate,
        low=shown.low,
        high=shown.high,
        bound=rule.floor,
        passed=bool(measured) and not unmeasured and not failing,
        reason=wording.slices_reason(rule, metric, measured, failing, unmeasured, too_small),
    )


def _metric(name: str, task: Task, where: str) -> Metric:
    try:
        return metric_named(name, task)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


def _check_bound(metric: Metric, bound: float, where: str) -> None:
    if not math.isfinite(bound) or not metric.lowest <= bound <= metric.highest:
        raise InputError(
            f"{where}: {bound:g} is no value that {metric.title} can have; "
            f"it lies between {metric.lowest:g} and {metric.highest:g}."
        )


def _check_champion_rule(rule: ChampionRule) -> None:
    ignored, mode = ("margin", "not_worse") if rule.mode == "better" else ("min_gain", "better")
    if getattr(rule, ignored) != 0:
        raise InputError(
            f"gate.champion.{ignored}: only counts with mode: {mode}, and the mode is {rule.mode}. "
            f"Change the mode or leave {ignored} out."
        )


def _number(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _equal(a: float, b: float) -> bool:
    return math.isclose(a, b, rel_tol=1e-9, abs_tol=0.0)


def _acceptable(metric: Metric, figure: float, bound: float) -> bool:
    return metric.sign * (figure - bound) > 0 or _equal(figure, bound)
