"""The training report: one page that a manager can read and an engineer can check."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from evergreen.data.size import frame_bytes, gigabytes
from evergreen.reporting.changes import changes, recorded_metrics
from evergreen.reporting.facts import TrainingFacts
from evergreen.reporting.figures import draw
from evergreen.reporting.figures.slices import MAX_SLICES
from evergreen.reporting.glossary import meanings, metric_title
from evergreen.reporting.limits import limits
from evergreen.reporting.model_tables import (
    KEY_METRICS,
    Arm,
    evaluated_arms,
    metric_rows,
    slice_metrics,
)
from evergreen.reporting.numbers import (
    count,
    estimate_and_bounds,
    measured,
    number,
    parameters,
    plural,
    seconds,
    with_deviation,
)
from evergreen.reporting.pages import html_page
from evergreen.reporting.style import Drawing
from evergreen.reporting.wording import headline, severities
from evergreen.training.bounds import search_rows
from evergreen.training.plan import compare, plan_stages
from evergreen.training.results import CandidateResult

MAX_FINDINGS = 30
OUTCOMES = ("confusion", "predicted", "residuals", "calibration", "roc", "precision_recall")


@dataclass(frozen=True)
class KeyFigure:
    """A number on top of the page, its bounds, and the same number of the other models."""

    title: str
    value: str
    bounds: str
    others: tuple[str, ...]


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
    arms = evaluated_arms(facts)
    quality = facts.data.quality
    return html_page(
        "training.html.j2",
        facts=facts,
        headline=headline(facts),
        key_figures=_key_figures(facts, arms),
        arms=arms,
        rows_used=_rows_used(facts),
        costs=_costs(facts),
        metric_rows=metric_rows(facts, arms),
        candidate_rows=[_candidate_row(each, facts) for each in facts.search.candidates],
        drawings=drawn,
        outcome_drawings=[drawn[name] for name in OUTCOMES if name in drawn],
        importance_drawings=[each for name, each in drawn.items() if name.startswith("importance")],
        slices=facts.challenger.slices[:MAX_SLICES],
        slice_metrics=slice_metrics(facts),
        findings=quality.findings[:MAX_FINDINGS],
        quality_summary=severities(quality.findings),
        changes=changes(facts),
        recorded_metrics=recorded_metrics(facts),
        limits=limits(facts),
        use_case_json=_use_case_json(facts),
        meanings=meanings(facts.challenger.metrics),
        metric_title=metric_title,
    )


def _costs(facts: TrainingFacts) -> list[tuple[str, str, str, str, str]]:
    """Return stage, planned and real time, planned memory, and memory at its highest so far."""
    data = facts.data
    columns = len(data.contract.columns)
    planned = plan_stages(
        data.rows, columns, frame_bytes(data.contract, data.rows), data.engine, facts.use_case
    )
    return [
        (
            stage.plan.stage,
            seconds(stage.plan.seconds),
            seconds(stage.fact.seconds) if stage.fact else "from the cache, or elsewhere",
            gigabytes(stage.plan.memory),
            gigabytes(stage.fact.peak_bytes) if stage.fact and stage.fact.peak_bytes else "",
        )
        for stage in compare(planned, facts.costs)
    ]


def _rows_used(facts: TrainingFacts) -> str:
    """Say which rows served what, where that was not all of them."""
    data = facts.data
    searched = search_rows(data.train_rows, data.engine, facts.use_case.training)
    said = []
    if searched < data.train_rows:
        said.append(
            f"the candidates were searched on {count(searched)} training rows drawn evenly, and "
            f"the best one was fitted on all {count(data.train_rows)}"
        )
    if facts.challenger.rows < data.holdout_rows:
        said.append(
            f"the models were evaluated on {count(facts.challenger.rows)} rows drawn evenly from "
            f"the {count(data.holdout_rows)} held out"
        )
    return "; ".join(said)


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


def _candidate_row(candidate: CandidateResult, facts: TrainingFacts) -> CandidateRow:
    states = [trial.state for trial in candidate.trials]
    gone = [f"{states.count(state)} {state}" for state in ("pruned", "failed") if state in states]
    rounds = candidate.rounds
    boosted = "" if rounds is None else f", {plural(rounds, 'boosting round')}"
    return CandidateRow(
        title=candidate.title,
        chosen=candidate.name == facts.search.best,
        score=with_deviation(candidate.score, candidate.score_std),
        trials=count(len(states)),
        gone=", ".join(gone),
        seconds=candidate.seconds,
        params=parameters(candidate.params) + boosted,
        error=candidate.error,
    )


def _use_case_json(facts: TrainingFacts) -> str:
    """Return the configuration without addresses, which may hold a password."""
    hidden: dict[str, Any] = {"data": {"source"}, "monitoring": {"source"}}
    hidden |= {"batch": True, "alerts": True, "deploy": True}  # nor do they matter to a training
    return facts.use_case.model_dump_json(indent=2, exclude=hidden)
