"""The training report: one page that a manager can read and an engineer can check."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from markupsafe import Markup

from evergreen.reporting.changes import changes, recorded_metrics
from evergreen.reporting.facts import TrainingFacts
from evergreen.reporting.figures import draw
from evergreen.reporting.figures.slices import MAX_SLICES
from evergreen.reporting.glossary import greater_is_better, meanings, metric_title
from evergreen.reporting.limits import limits
from evergreen.reporting.numbers import (
    NOT_MEASURABLE,
    count,
    estimate_and_bounds,
    measured,
    number,
    parameter,
    plural,
)
from evergreen.reporting.pages import html_page
from evergreen.reporting.sparks import interval_strip
from evergreen.reporting.style import Drawing
from evergreen.reporting.wording import headline, severities
from evergreen.training.results import CandidateResult, Evaluation, Interval

MAX_FINDINGS = 30
KEY_METRICS = {
    "classification": ("accuracy", "f1", "roc_auc", "log_loss"),
    "regression": ("rmse", "mae", "r2"),
}
OUTCOMES = ("confusion", "predicted", "residuals", "calibration", "roc", "precision_recall")


@dataclass(frozen=True)
class KeyFigure:
    """A number on top of the page, its bounds, and the same number of the other models."""

    title: str
    value: str
    bounds: str
    others: tuple[str, ...]


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


@dataclass(frozen=True)
class CandidateRow:
    """One candidate as the table shows it."""

    title: str
    chosen: bool
    score: str
    trials: str
    gone: str
    seconds: float
    params: str
    error: str | None


def training_report(facts: TrainingFacts, drawings: Mapping[str, Drawing] | None = None) -> str:
    """Return the report as one self-contained HTML page.

    ``drawings`` spares drawing the figures again where `figures.draw` has made them already.
    """
    drawn = dict(draw(facts) if drawings is None else drawings)
    arms = _arms(facts)
    quality = facts.data.quality
    return html_page(
        "training.html.j2",
        facts=facts,
        headline=headline(facts),
        key_figures=_key_figures(facts, arms),
        arms=arms,
        metric_rows=_metric_rows(facts, arms),
        candidate_rows=[_candidate_row(each, facts) for each in facts.search.candidates],
        drawings=drawn,
        outcome_drawings=[drawn[name] for name in OUTCOMES if name in drawn],
        importance_drawings=[each for name, each in drawn.items() if name.startswith("importance")],
        slices=facts.challenger.slices[:MAX_SLICES],
        slice_metrics=_slice_metrics(facts),
        findings=quality.findings[:MAX_FINDINGS],
        quality_summary=severities(quality.findings),
        changes=changes(facts),
        recorded_metrics=recorded_metrics(facts),
        limits=limits(facts),
        use_case_json=_use_case_json(facts),
        meanings=meanings(facts.challenger.metrics),
        metric_title=metric_title,
    )


def _arms(facts: TrainingFacts) -> list[Arm]:
    champion = facts.verdict.champion or facts.registration.champion_before
    named = [
        ("challenger", f"Challenger: {facts.best.title}", facts.challenger),
        ("champion", f"Champion: version {champion}" if champion else "Champion", facts.champion),
        ("baseline", "Baseline: ignores every input", facts.baseline),
    ]
    return [Arm(name, title, arm) for name, title, arm in named if arm is not None]


def _key_figures(facts: TrainingFacts, arms: list[Arm]) -> list[KeyFigure]:
    metrics = facts.challenger.metrics
    wanted = [facts.search.metric, *facts.use_case.gate.thresholds]
    wanted += KEY_METRICS[facts.challenger.task]
    names = [name for name in dict.fromkeys(wanted) if name in metrics][:4]
    shown = [_key_figure(metric_title(name), name, arms) for name in names]
    if (gain := facts.challenger.gain) is not None:
        value, bounds = estimate_and_bounds(gain)
        unit = facts.challenger.gain_unit
        title = f"Gain per row{f', {unit}' if unit else ''}"
        others = tuple(
            f"{arm.name} {number(arm.evaluation.gain.estimate)}"
            for arm in arms[1:]
            if arm.evaluation.gain is not None
        )
        shown = [*shown[:3], KeyFigure(title, value, bounds, others)]
    return shown


def _key_figure(title: str, name: str, arms: list[Arm]) -> KeyFigure:
    value, bounds = estimate_and_bounds(arms[0].evaluation.metrics[name])
    others = []
    for arm in arms[1:]:
        other = arm.evaluation.metrics.get(name)
        if other is not None and measured(other.estimate):
            others.append(f"{arm.name} {number(other.estimate)}")
    return KeyFigure(title, value, bounds, tuple(others))


def _metric_rows(facts: TrainingFacts, arms: list[Arm]) -> list[MetricRow]:
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


def _candidate_row(candidate: CandidateResult, facts: TrainingFacts) -> CandidateRow:
    score = number(candidate.score)
    if measured(candidate.score) and measured(candidate.score_std):
        spread = Interval(
            estimate=candidate.score,
            low=candidate.score - candidate.score_std,
            high=candidate.score + candidate.score_std,
        )
        score = estimate_and_bounds(spread)[0] + f" ± {number(candidate.score_std, 2)}"
    states = [trial.state for trial in candidate.trials]
    gone = [f"{states.count(state)} {state}" for state in ("pruned", "failed") if state in states]
    params = [f"{name} = {parameter(value)}" for name, value in candidate.params.items()]
    if candidate.rounds is not None:
        params.append(f"{plural(candidate.rounds, 'boosting round')}")
    return CandidateRow(
        title=candidate.title,
        chosen=candidate.name == facts.search.best,
        score=score if measured(candidate.score) else NOT_MEASURABLE,
        trials=count(len(states)),
        gone=", ".join(gone),
        seconds=candidate.seconds,
        params=", ".join(params) or "defaults",
        error=candidate.error,
    )


def _slice_metrics(facts: TrainingFacts) -> list[str]:
    """Return the metrics that the slices' table shows: the main one, those of rules, and more."""
    ruled = [rule.metric for rule in facts.use_case.gate.slices]
    wanted = [facts.search.metric, *ruled, *KEY_METRICS[facts.challenger.task]]
    measured_in = {name for each in facts.challenger.slices for name in each.metrics}
    return [name for name in dict.fromkeys(wanted) if name in measured_in][:3]


def _use_case_json(facts: TrainingFacts) -> str:
    """Return the configuration without the source, which may hold an address's password."""
    return facts.use_case.model_dump_json(indent=2, exclude={"data": {"source"}})
