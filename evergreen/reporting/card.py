"""The model card that travels with a version (after Mitchell et al., "Model Cards", 2019)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from evergreen.data.contract import Column
from evergreen.reporting.facts import TrainingFacts
from evergreen.reporting.figures.slices import MAX_SLICES
from evergreen.reporting.glossary import metric_prose, metric_title
from evergreen.reporting.limits import limits
from evergreen.reporting.model_tables import evaluated_arms, metric_rows, slice_metrics
from evergreen.reporting.numbers import NOT_RECORDED, listing, measured, parameters, plain
from evergreen.reporting.pages import Markdown, markdown_page, without_password
from evergreen.reporting.wording import judgement, performance, severities

MAX_INPUTS = 100
MAX_IMPORTANT = 10


@dataclass(frozen=True)
class Input:
    """One input column as the card names it."""

    name: str
    type: str
    unit: str | None
    span: str
    nullable: bool


def model_card(facts: TrainingFacts) -> str:
    """Return the card as Markdown (CommonMark with tables)."""
    contract, explanation = facts.data.contract, facts.explanation
    target = next((each for each in contract.columns if each.role == "target"), None)
    arms = evaluated_arms(facts)
    important = [
        each
        for each in (explanation.columns if explanation else ())
        if measured(each.permutation) and each.permutation > 0
    ]
    return markdown_page(
        "card.md.j2",
        facts=facts,
        contract=contract,
        target_unit=target.unit if target else None,
        judgement=judgement(facts),
        performance=performance(facts),
        best=facts.best,
        params=parameters(facts.best.params),
        inputs=[_input(each) for each in contract.features[:MAX_INPUTS]],
        hidden_inputs=max(len(contract.features) - MAX_INPUTS, 0),
        quality=severities(facts.data.quality.findings),
        arms=arms,
        metric_rows=metric_rows(facts, arms),
        slices=facts.challenger.slices[:MAX_SLICES],
        slice_metrics=slice_metrics(facts),
        important=important[:MAX_IMPORTANT],
        metric=metric_prose(explanation.metric if explanation else facts.search.metric),
        metric_title=metric_title,
        limits=limits(facts),
        commands=_commands(facts),
        versions=", ".join(f"{name} {each}" for name, each in facts.provenance.versions.items()),
    )


def _input(column: Column) -> Input:
    if column.categories is not None:
        span = listing((str(each) for each in column.categories), 8)
    elif measured(column.minimum) and measured(column.maximum) and column.type != "boolean":
        span = f"{plain(column.minimum)} to {plain(column.maximum)}"
    elif column.type == "boolean":
        span = "yes, no"
    else:
        span = NOT_RECORDED
    return Input(column.name, column.type, column.unit, span, column.nullable)


def _commands(facts: TrainingFacts) -> Markdown:
    """Return the commands as a fenced block, longer than any fence inside."""
    checkout = facts.provenance.git_commit
    lines = [f"git checkout {checkout}"] if checkout else []
    text = "\n".join([*lines, without_password(facts.provenance.command)])
    fence = "`" * max(3, 1 + max((len(each) for each in re.findall(r"`+", text)), default=0))
    return Markdown(f"{fence}sh\n{text}\n{fence}")
