"""What a window and its decision mean, in words; the terminal uses them, too."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

from evergreen.monitoring.decision import Action
from evergreen.monitoring.history import MonitoredWindow
from evergreen.monitoring.verdict import Finding, WindowVerdict
from evergreen.reporting.numbers import SUPERSCRIPTS, listing, shorten
from evergreen.reporting.wording import Headline, Tone

_SMALL: Final = re.compile(r"\b(\d(?:\.\d+)?)e(-\d+)\b")
MOST: Final = 3  # columns that a sentence names
DECISIONS: Final[dict[Action, str]] = {
    "none": "nothing to do",
    "watch": "watch",
    "retrain": "retrain",
    "rollback": "roll back",
    "alert": "alert",
}
TONES: Final[dict[Action, Tone]] = {
    "none": "same",
    "watch": "wait",
    "retrain": "good",
    "rollback": "bad",
    "alert": "bad",
}
METRICS: Final = {
    "brier": "Brier score",
    "error_rate": "Error rate",
    "absolute_error": "Absolute error",
}
_TESTS: Final = {
    "means": "Means of all columns",
    "correlation": "Greatest change of a correlation",
    "reconstruction": "Fit to the common pattern",
    "classifier": "Classifier between then and now",
    "labels": "Predicted labels",
    "values": "Predicted values",
}
_TURNS: Final[dict[str | None, tuple[Tone, str]]] = {
    None: ("wait", "Retrain"),
    "started": ("wait", "Retraining"),
    "promoted": ("good", "Retrained"),
    "refused": ("wait", "Retrained, and refused"),
    "failed": ("bad", "Retraining failed"),
}


def headline(window: MonitoredWindow) -> Headline:
    """Say what a window shows and what was decided about it."""
    tone, word = _word(window)
    return Headline(tone, word, _sentence(window), tuple(map(as_sentence, window.decision.reasons)))


def what_moved(verdict: WindowVerdict) -> str:
    """Say what alarms, without figures; "" where nothing does."""
    parts = ["the model became worse"] if "performance" in verdict.families else []
    moved = [shorten(name, 40) for name in verdict.drifted]
    if len(moved) > MOST:
        moved = [*moved[:MOST], f"{len(moved) - MOST} more columns"]
    if not moved and "multivariate" in verdict.families:
        moved = ["all columns together"]
    if "predictions" in verdict.families:
        moved.append("the predictions")
    if moved:
        parts.append(f"{listing(moved, MOST + 2)} moved")
    return "; ".join(parts)


def outcome_of(window: MonitoredWindow) -> str:
    """Say what was done about a window, up to now."""
    version = f"version {window.version}"
    if window.action == "retrain":
        return {
            None: "a retraining is due; none was begun",
            "started": "a retraining is under way",
            "promoted": f"a retraining made version {window.new_version}, which took over from "
            f"{version}",
            "refused": f"a retraining was refused by the gate; {version} stays",
            "failed": f"a retraining failed; {version} stays",
        }[window.turn]
    if window.action == "rollback" and window.turn == "promoted":
        return f"{version} gave way to version {window.new_version}"
    if window.action == "rollback":
        return f"{version} is to give way to the one before it"
    return {
        "none": "there is nothing to do",
        "watch": "nothing yet; the next windows decide",
        "alert": "a person has to look",
    }[window.action]


def finding_title(finding: Finding) -> str:
    """Name a test over all columns or over the predictions."""
    if finding.name.startswith("probability"):
        label = finding.name.partition(" ")[2] or finding.name.partition(":")[2]
        return f"Probability of {label}" if label else "Predicted probabilities"
    return _TESTS.get(finding.name, finding.name.replace("_", " ").capitalize())


def when(moment: datetime) -> str:
    """Write a point in time in UTC, shortly: "5 Mar, 06:00"."""
    at = moment.astimezone(UTC)
    return f"{at.day} {at:%b, %H:%M}"


def as_sentence(text: str) -> str:
    """Begin and end a reason as a sentence, but leave the name of a column as it is."""
    head, colon, _ = text.partition(":")
    named = bool(colon) and " " not in head
    said = text if named else f"{text[:1].upper()}{text[1:]}"
    said = _SMALL.sub(_power, said).replace("p = ", "p\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}")
    return said if said.endswith((".", "!", "?", "…")) else f"{said}."


def _power(found: re.Match[str]) -> str:
    """Write 2.6e-53 as a power of ten that no line break tears apart."""
    exponent = str(int(found[2])).translate(SUPERSCRIPTS)
    return f"{found[1]}\N{NO-BREAK SPACE}×\N{NO-BREAK SPACE}10{exponent}"


def _word(window: MonitoredWindow) -> tuple[Tone, str]:
    if window.action == "retrain":
        return _TURNS[window.turn]
    if window.verdict.too_few:
        return "same", "Too few rows"
    words: dict[Action, tuple[Tone, str]] = {
        "none": ("good", "No drift"),
        "watch": ("wait", "Watch"),
        "rollback": ("bad", "Roll back"),
        "alert": ("bad", "Alert"),
    }
    return words[window.action]


def _sentence(window: MonitoredWindow) -> str:
    name = f"version {window.version} of {window.use_case}"
    if window.verdict.unmeasurable:
        return f"The newest window of {window.use_case} cannot be judged as it should be."
    if window.verdict.too_few:
        return f"Too few rows of {window.use_case} came in to judge."
    moved = what_moved(window.verdict)
    if window.action == "none":
        return f"What {name} gets is what it was trained on."
    if window.action == "retrain" and window.turn == "promoted":
        found = f"With {name}, {moved}. " if moved else ""
        return f"{found}Version {window.new_version} took over."
    if moved:
        return f"With {name}, {moved}."
    return f"For {name}, {outcome_of(window)}."
