"""What changed since the champion was trained, from what was recorded then."""

from __future__ import annotations

from dataclasses import dataclass

from evergreen.reporting.facts import ChampionRecord, TrainingFacts
from evergreen.reporting.glossary import metric_title
from evergreen.reporting.numbers import (
    NOT_RECORDED,
    count,
    interval,
    listing,
    moment,
    number,
    parameter,
    parameters,
    short_hash,
)

ABSENT = "not set"


@dataclass(frozen=True)
class Change:
    """One recorded fact, then and now."""

    what: str
    before: str
    now: str
    changed: bool


def changes(facts: TrainingFacts) -> list[Change]:
    """Compare the run with what was recorded of the champion; empty where nothing was."""
    previous = facts.previous
    if previous is None:
        return []
    return [
        _change("Trained", moment(previous.trained), moment(facts.provenance.when)),
        _change("Estimator", previous.candidate or NOT_RECORDED, facts.best.title),
        *_parameters(facts, previous),
        _change(
            "Data fingerprint", short_hash(previous.fingerprint), short_hash(facts.data.fingerprint)
        ),
        _rows(facts, previous),
        *_columns(facts, previous),
        _change(
            "Code (git commit)",
            short_hash(previous.git_commit),
            short_hash(facts.provenance.git_commit),
        ),
    ]


def recorded_metrics(facts: TrainingFacts) -> list[Change]:
    """Return the champion's metrics as recorded at its own training, beside the challenger's."""
    if facts.previous is None:
        return []
    return [
        _change(metric_title(name), number(value), interval(facts.challenger.metrics.get(name)))
        for name, value in facts.previous.metrics.items()
        if name in facts.challenger.metrics
    ]


def _change(what: str, before: str, now: str) -> Change:
    return Change(what, before, now, before != now)


def _rows(facts: TrainingFacts, previous: ChampionRecord) -> Change:
    before, now = previous.rows, facts.data.rows
    difference = "" if before is None or before == now else f" ({now - before:+,})"
    return Change("Rows as read", count(before), f"{count(now)}{difference}", before != now)


def _parameters(facts: TrainingFacts, previous: ChampionRecord) -> list[Change]:
    """Return the parameters that differ; all of them make no sense across two estimators."""
    now, before = facts.best.params, previous.params
    if previous.candidate != facts.best.title:
        return [_change("Parameters", parameters(before), parameters(now))]
    return [
        _change(
            f"Parameter {name}",
            parameter(before[name]) if name in before else ABSENT,
            parameter(now[name]) if name in now else ABSENT,
        )
        for name in sorted(before.keys() | now.keys())
        if before.get(name, ABSENT) != now.get(name, ABSENT)
    ]


def _columns(facts: TrainingFacts, previous: ChampionRecord) -> list[Change]:
    if previous.features is None:
        return []
    before = set(previous.features)
    now = [column.name for column in facts.data.contract.features]
    added = [name for name in now if name not in before]
    removed = [name for name in previous.features if name not in set(now)]
    said = "; ".join(
        f"{word} {listing(names)}" for word, names in (("new:", added), ("gone:", removed)) if names
    )
    counted = count(len(now)) + (f" ({said})" if said else "")
    return [Change("Input columns", count(len(before)), counted, bool(said))]
