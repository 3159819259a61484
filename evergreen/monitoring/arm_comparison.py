"""Champion and challenger compared by what came true of their predictions.

A split draws callers by chance, so the two arms are independent samples, each resampled by itself;
a shadow scored the champion's very requests, so rows are compared in pairs. Rows of one request are
resampled together. Who is better is said where the interval of the difference excludes 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final, Literal

import numpy as np

from evergreen.config import UseCase
from evergreen.monitoring.arm_rows import ArmRows, BothArms
from evergreen.reporting.numbers import estimate_and_bounds, plural
from evergreen.serving.arms import SHADOW
from evergreen.training.bootstrap import UNMEASURED, metric_intervals, paired_gain, unpaired_gain
from evergreen.training.metrics import Metric, default_metric, metric_named, metrics_for
from evergreen.training.predictions import Predictions
from evergreen.training.results import Interval
from evergreen.values import Value

FEWEST: Final = 50  # labelled rows of each arm; a bootstrap of fewer is no interval to trust
QUANTILES: Final = {"p50": 0.5, "p95": 0.95, "p99": 0.99}

Verdict = Literal["better", "worse", "no_difference", "not_enough_labels"]


class ArmFigures(Value):
    """One arm: what it answered, how quickly, and how well where the truth is known."""

    arm: str
    version: str | None
    rows: int
    labelled: int
    failed: int  # rows that the champion answered in its place
    latency_ms: Mapping[str, float]  # p50, p95, p99, of requests; empty: unknown
    metrics: Mapping[str, Interval]


class ArmComparison(Value):
    """Both arms, and the verdict. ``gain`` is the challenger's, in units of the metric.

    It is positive where the challenger is better, for errors and losses too, and has two-sided
    bounds of the stated confidence.
    """

    use_case: str
    metric: str
    greater_is_better: bool
    confidence: float
    paired: bool
    pairs: int | None  # requests' rows that both scored, and whose truth is known
    since: datetime | None
    until: datetime | None
    champion: ArmFigures
    challenger: ArmFigures
    gain: Interval
    verdict: Verdict
    sentence: str
    report: str | None = None  # path of the page


def compare_arms(rows: BothArms, use_case: UseCase) -> ArmComparison:
    """Compare both arms by the metric that training and gate look at."""
    config, training = use_case.evaluation, use_case.training
    metric = metric_named(training.metric or default_metric(use_case.task), use_case.task)
    paired = rows.challenger.arm == SHADOW
    ours, theirs = rows.challenger.labelled, rows.champion.labelled
    if paired:
        ours, theirs = _pairs(rows)
        # Bounds of a paired gain are one-sided, each of the given confidence.
        gain = paired_gain(
            metric,
            ours,
            theirs,
            resamples=config.bootstrap,
            confidence=(1 + config.confidence) / 2,
            seed=training.seed,
        )
    else:
        gain = unpaired_gain(
            metric,
            ours,
            theirs,
            resamples=config.bootstrap,
            confidence=config.confidence,
            seed=training.seed,
        )
    verdict = _verdict(gain, min(len(ours), len(theirs)))
    pairs = len(ours) if paired else None
    return ArmComparison(
        use_case=use_case.name,
        metric=metric.name,
        greater_is_better=metric.greater_is_better,
        confidence=config.confidence,
        paired=paired,
        pairs=pairs,
        since=rows.since,
        until=rows.until,
        champion=_figures(rows.champion, use_case),
        challenger=_figures(rows.challenger, use_case),
        gain=gain,
        verdict=verdict,
        sentence=_sentence(verdict, metric, gain, config.confidence, rows, pairs),
    )


def _pairs(rows: BothArms) -> tuple[Predictions, Predictions]:
    """Return challenger and champion on the rows that both scored, in the same order."""
    places = {key: place for place, key in enumerate(rows.champion.keys)}
    both = [(place, places[key]) for place, key in enumerate(rows.challenger.keys) if key in places]
    chosen = np.array(both, dtype=np.int64).reshape(-1, 2)
    return rows.challenger.labelled.take(chosen[:, 0]), rows.champion.labelled.take(chosen[:, 1])


def _figures(arm: ArmRows, use_case: UseCase) -> ArmFigures:
    config = use_case.evaluation
    return ArmFigures(
        arm=arm.arm,
        version=arm.version,
        rows=arm.rows,
        labelled=len(arm.labelled),
        failed=arm.failed,
        latency_ms={
            name: float(np.quantile(arm.latencies, share)) for name, share in QUANTILES.items()
        }
        if len(arm.latencies)
        else {},
        metrics=metric_intervals(
            metrics_for(use_case.task),
            arm.labelled,
            resamples=config.bootstrap,
            confidence=config.confidence,
            seed=use_case.training.seed,
        ),
    )


def _verdict(gain: Interval, labelled: int) -> Verdict:
    if labelled < FEWEST or gain == UNMEASURED or gain.low is None or gain.high is None:
        return "not_enough_labels"
    if gain.low > 0:
        return "better"
    return "worse" if gain.high < 0 else "no_difference"


def _sentence(
    verdict: Verdict,
    metric: Metric,
    gain: Interval,
    confidence: float,
    rows: BothArms,
    pairs: int | None,
) -> str:
    labelled = len(rows.challenger.labelled), len(rows.champion.labelled)
    of = f"{labelled[0]:,} labelled rows of the challenger and {labelled[1]:,} of the champion"
    if pairs is not None:
        of = plural(pairs, "labelled row") + " that both scored"
    if verdict == "not_enough_labels":
        return f"There are {of}; it takes {FEWEST} of each to compare {metric.title}."
    value, bounds = estimate_and_bounds(gain)
    found = f"{value} ({100 * confidence:g} % interval {bounds}), on {of}"
    if verdict == "no_difference":
        return f"The challenger's gain in {metric.title} is {found}: it may as well be nothing."
    word = "better" if verdict == "better" else "worse"
    return f"The challenger is {word} in {metric.title}: its gain is {found}."
