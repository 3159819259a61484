"""The guard: whether a version that was just promoted does worse in service than the one before.

Both are compared on the same rows: those of the guard period whose truth is known.
The new version answered them, and the former one predicts them from the logged inputs. That leaves
out whatever became harder or easier meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from evergreen.monitoring.settings import MonitoringConfig
from evergreen.promotion.promotion_log import Entry
from evergreen.reporting.numbers import estimate_and_bounds, plural
from evergreen.training.bootstrap import paired_gain
from evergreen.training.metrics import Metric
from evergreen.training.predictions import Predictions
from evergreen.training.results import Interval
from evergreen.values import Value

TESTS = 4  # looks at the same rows within a period; the level is shared among them


class Promotion(Value):
    """The move that made the present champion: to ``version``, from ``former``, at ``at`` (UTC)."""

    version: str
    former: str
    at: datetime


class GuardVerdict(Value):
    """What the guard says. ``gain`` is the new version's, in units of the metric; low is worse."""

    action: Literal["keep", "roll_back", "wait"]
    version: str
    former: str
    metric: str
    gain: Interval
    rows: int  # labelled rows since the promotion
    until: datetime  # the end of the guard period, UTC
    reason: str  # one sentence with the numbers


def newest_promotion(entries: Sequence[Entry]) -> Promotion | None:
    """Return the move that the guard watches, from the promotion log with the newest entry first.

    None where the newest move of the champion was the first of all, or a way back already.
    """
    for entry in entries:
        if entry.action == "rolled_back":
            return None
        if entry.action in ("promoted", "approved"):
            if entry.from_version is None or entry.to_version is None or entry.time is None:
                return None
            if entry.from_version == entry.to_version:
                return None
            return Promotion(version=entry.to_version, former=entry.from_version, at=entry.time)
    return None


def judge_guard(
    promotion: Promotion,
    metric: Metric,
    new: Predictions,
    former: Predictions,
    config: MonitoringConfig,
    *,
    now: datetime,
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> GuardVerdict:
    """Compare both versions on the same labelled rows of the guard period, in the same order.

    roll_back: the new version is surely worse, on enough rows (also where their labels came, or
    somebody looked, only after the period). keep: it is surely better, or the period is over.
    wait: the period goes on. The level of the one-sided bounds (1 - ``confidence``) is divided by
    `TESTS` (Bonferroni), because the guard looks again and again. What cannot be measured is no
    reason to go back, and is said.

    Raises
    ------
    ValueError
        If the two were not predicting the same rows.
    """
    until = promotion.at + config.guard
    level = 1 - (1 - confidence) / TESTS
    gain = paired_gain(metric, new, former, resamples=resamples, confidence=level, seed=seed)
    rows, over = len(new), now >= until
    enough = rows >= config.guard_rows and gain.low is not None and gain.high is not None
    if enough and gain.high is not None and gain.high < 0:
        action: Literal["keep", "roll_back", "wait"] = "roll_back"
    elif over or (enough and gain.low is not None and gain.low > 0):
        action = "keep"
    else:
        action = "wait"
    return GuardVerdict(
        action=action,
        version=promotion.version,
        former=promotion.former,
        metric=metric.name,
        gain=gain,
        rows=rows,
        until=until,
        reason=_reason(promotion, metric, gain, rows, config, action, over=over, level=level),
    )


def _reason(
    promotion: Promotion,
    metric: Metric,
    gain: Interval,
    rows: int,
    config: MonitoringConfig,
    action: str,
    *,
    over: bool,
    level: float,
) -> str:
    pair = f"Version {promotion.version}, against {promotion.former}"
    labelled = plural(rows, "labelled row")
    if rows < config.guard_rows:
        end = "and the guard period is over" if over else f"of {config.guard_rows} that it takes"
        return f"{pair}: {labelled} since the promotion {end}."
    if gain.low is None or gain.high is None:
        return f"{pair}: {metric.title} cannot be compared on {labelled}."
    value, bounds = estimate_and_bounds(gain)
    text = (
        f"{pair}: gain in {metric.title} {value} (one-sided {100 * level:g} % bounds {bounds}) "
        f"on {labelled} since the promotion"
    )
    meaning = {
        "roll_back": "surely worse",
        "keep": "the guard period is over" if over else "surely better",
        "wait": "not sure yet",
    }
    return f"{text}: {meaning[action]}."
