"""The tables that the report and the card share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from evergreen.reporting.facts import TrainingFacts
from evergreen.reporting.glossary import greater_is_better, metric_title
from evergreen.reporting.sparks import interval_strip
from evergreen.training.results import Evaluation, Interval

KEY_METRICS = {
    "classification": ("accuracy", "f1", "roc_auc", "log_loss"),
    "regression": ("rmse", "mae", "r2"),
}


@dataclass(frozen=True)
class Arm:
    """One of the models that were evaluated on the holdout."""

    name: str  # also the name of its colour
    title: str
    evaluation: Evaluation


@dataclass(frozen=True)
class MetricRow:
    """One metric of all arms."""

    title: str
    direction: str
    intervals: tuple[Interval | None, ...]
    strip: Markup


def evaluated_arms(facts: TrainingFacts) -> list[Arm]:
    """Return the evaluated models, the challenger first."""
    champion = facts.verdict.champion or facts.registration.champion_before
    named = [
        ("challenger", f"Challenger: {facts.best.title}", facts.challenger),
        ("champion", f"Champion: version {champion}" if champion else "Champion", facts.champion),
        ("baseline", "Baseline: ignores every input", facts.baseline),
    ]
    return [Arm(name, title, arm) for name, title, arm in named if arm is not None]


def metric_rows(facts: TrainingFacts, arms: Sequence[Arm]) -> list[MetricRow]:
    """Return every metric of the challenger, and the gain, with the other arms' values."""
    directions = {True: "greater is better", False: "less is better", None: ""}
    rows = [
        _metric_row(
            metric_title(name),
            directions[greater_is_better(name)],
            [(arm.name, arm.evaluation.metrics.get(name)) for arm in arms],
        )
        for name in facts.challenger.metrics
    ]
    if facts.challenger.gain is not None:
        unit = facts.challenger.gain_unit
        gains = [(arm.name, arm.evaluation.gain) for arm in arms]
        rows.append(
            _metric_row(f"Gain per row{f', {unit}' if unit else ''}", "greater is better", gains)
        )
    return rows


def _metric_row(title: str, direction: str, values: list[tuple[str, Interval | None]]) -> MetricRow:
    return MetricRow(title, direction, tuple(value for _, value in values), interval_strip(values))


def slice_metrics(facts: TrainingFacts) -> list[str]:
    """Return the metrics that the slices' table shows: the main one, those of rules, and more."""
    ruled = [rule.metric for rule in facts.use_case.gate.slices]
    wanted = [facts.search.metric, *ruled, *KEY_METRICS[facts.challenger.task]]
    measured_in = {name for each in facts.challenger.slices for name in each.metrics}
    return [name for name in dict.fromkeys(wanted) if name in measured_in][:3]
