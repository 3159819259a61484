"""The verdict in words that need no knowledge of machine learning."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from evergreen.data.quality_report import Finding
from evergreen.promotion.traffic_wording import ramp
from evergreen.reporting.facts import TrainingFacts
from evergreen.reporting.numbers import interval, measured, number, plural, seconds, share

Tone = Literal["good", "wait", "bad", "same"]


@dataclass(frozen=True)
class Headline:
    """What a reader must know: one word, one sentence, and why."""

    tone: Tone
    word: str
    sentence: str
    reasons: tuple[str, ...]


def headline(facts: TrainingFacts) -> Headline:
    """Say what became of the run's model, and why."""
    say = {
        "promoted": _promoted,
        "waiting": _waiting,
        "ramping": _ramping,
        "refused": _refused,
        "unchanged": _unchanged,
    }
    return say[facts.registration.status](facts)


def judgement(facts: TrainingFacts) -> str:
    """Say what the gate said, whatever became of the model afterwards."""
    rules = facts.verdict.rules
    failed = [rule for rule in rules if not rule.passed]
    if facts.verdict.passed:
        return _passed(facts)
    if not failed:
        return facts.verdict.summary
    said = (
        f"It fails {len(failed)} of {len(rules)} rules" if len(rules) > 1 else "It fails the rule"
    )
    return f"{said} of the gate: {'; '.join(rule.name for rule in failed)}."


def performance(facts: TrainingFacts) -> str:
    """Say how good the challenger is on rows it has never seen; empty where nobody can say."""
    evaluation = facts.challenger
    rows = plural(evaluation.rows, "row")
    level = share(evaluation.confidence)
    accuracy = evaluation.metrics.get("accuracy")
    if accuracy is not None and measured(accuracy.estimate):
        bounds = ""
        if measured(accuracy.low) and measured(accuracy.high):
            bounds = f" ({level} interval {share(accuracy.low)} to {share(accuracy.high)})"
        right = share(accuracy.estimate)
        return f"On {rows} it had never seen, {right} of its predictions are right{bounds}."
    error = evaluation.metrics.get("mae")
    if error is not None and measured(error.estimate):
        unit = next(
            (each.unit for each in facts.data.contract.columns if each.role == "target"), None
        )
        unit = f" {unit}" if unit else ""
        said = interval(error).replace(" (", f"{unit} ({level} interval ")
        told = f"On {rows} it had never seen, its predictions are off by {said} on average."
        if (within := evaluation.prediction_interval) is None:
            return told
        held = share(within.confidence)
        return f"{told} {held} of new ones are within ±{number(within.half_width)}{unit}."
    return ""


def severities(findings: Iterable[Finding]) -> str:
    """Count findings by severity: "1 error, 2 warnings and 1 note", or "nothing found"."""
    words = {"error": "error", "warning": "warning", "info": "note"}
    given: list[str] = [finding.severity for finding in findings]
    found = [
        plural(total, word) for severity, word in words.items() if (total := given.count(severity))
    ]
    return ", ".join(found) or "nothing found"


def _promoted(facts: TrainingFacts) -> Headline:
    before, name = facts.registration.champion_before, facts.use_case.name
    sentence = (
        f"{_subject(facts)} is the new champion of {name} and replaces version {before}."
        if before
        else f"{_subject(facts)} is the first champion of {name}."
    )
    return Headline("good", "Promoted", sentence, _said(_passed(facts), performance(facts)))


def _waiting(facts: TrainingFacts) -> Headline:
    name, before = facts.use_case.name, facts.registration.champion_before
    until = (
        f"Until then version {before} stays champion."
        if before
        else ("Until then there is no champion.")
    )
    sentence = f"{_subject(facts)} of {name} waits for a person’s approval."
    return Headline(
        "wait",
        "Waits for approval",
        sentence,
        _said(
            _passed(facts),
            performance(facts),
            f"Approve it with “python run.py --approve {name}”, or turn it down with "
            f"“python run.py --reject {name}”. {until}",
        ),
    )


def _ramping(facts: TrainingFacts) -> Headline:
    name, before = facts.use_case.name, facts.registration.champion_before
    canary = facts.use_case.serving.traffic.canary
    return Headline(
        "wait",
        "Ramps as a canary",
        f"{_subject(facts)} of {name} ramps as a canary: {ramp(canary)}.",
        _said(
            _passed(facts),
            performance(facts),
            f"Each step takes {seconds(canary.hold.total_seconds())} and {canary.min_rows} rows of "
            f"both models at least. Where the new one fails, is slow or predicts otherwise beyond "
            f"the guardrails, version {before} answers everything again by itself. “python run.py "
            f"--approve {name}” or “--reject {name}” decide at once.",
        ),
    )


def _refused(facts: TrainingFacts) -> Headline:
    before = facts.registration.champion_before
    stays = f"version {before} stays champion" if before else "there is still no champion"
    sentence = f"The new model of {facts.use_case.name} is refused; {stays}."
    failed = [rule for rule in facts.verdict.rules if not rule.passed]
    total = len(facts.verdict.rules)
    if failed:
        whys = [
            f"It fails {len(failed)} of {total} rules." if total > 1 else "It fails the one rule."
        ]
        whys += [f"Failed: {rule.name}. {rule.reason}" for rule in failed]
    else:
        whys = [facts.verdict.summary]
    return Headline("bad", "Refused", sentence, _said(*whys, performance(facts)))


def _unchanged(facts: TrainingFacts) -> Headline:
    before = facts.registration.champion_before or facts.registration.version
    return Headline(
        "same",
        "Unchanged",
        f"Version {before} stays the champion of {facts.use_case.name}: this run made the same "
        "model again.",
        _said(_asked_again(facts), performance(facts)),
    )


def _asked_again(facts: TrainingFacts) -> str:
    """A model compared with itself is not better; a refusal of that kind must be explained."""
    if facts.verdict.passed:
        return "Same data, settings and code."
    return (
        "Same data, settings and code; as no model is better than itself, a failed comparison "
        f"with the champion changes nothing. {facts.verdict.summary}"
    )


def _subject(facts: TrainingFacts) -> str:
    """Name the challenger; before it is registered it has no version."""
    version = facts.registration.version
    return f"Version {version}" if version else "The new model"


def _passed(facts: TrainingFacts) -> str:
    total = len(facts.verdict.rules)
    return f"It passed {f'all {total} rules' if total > 1 else 'the one rule'} of the gate."


def _said(*sentences: str) -> tuple[str, ...]:
    return tuple(sentence for sentence in sentences if sentence)
