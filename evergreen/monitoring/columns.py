"""The columns of a window, each beside its reference, and the false discovery rate over them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from evergreen.monitoring import univariate
from evergreen.monitoring.counts import ColumnCounts
from evergreen.monitoring.false_discovery import adjusted, bonferroni
from evergreen.monitoring.reference import ColumnReference, level_counts
from evergreen.monitoring.settings import MonitoringConfig
from evergreen.monitoring.univariate import Tested
from evergreen.monitoring.verdict import ColumnVerdict, Finding

IntArray = npt.NDArray[np.int64]

CLOSED = 5  # a list of categories is closed where each was seen at least so often
SHOWN = 5


class Candidate(NamedTuple):
    """A test before the level is known that its column must reach."""

    name: str
    tested: Tested
    effect: float
    effect_name: str
    minimum: float
    words: str
    fact: bool = False  # true whatever the p-value: a category that was never seen


def judge_columns(
    references: tuple[ColumnReference, ...],
    window: dict[str, ColumnCounts],
    config: MonitoringConfig,
) -> tuple[ColumnVerdict, ...]:
    """Judge every column; `MonitoringConfig.levels.columns` is the false discovery rate."""
    candidates = [_candidates(column, window[column.name], config) for column in references]
    smallest = [bonferroni([c.tested.p for c in found]) if found else 1.0 for found in candidates]
    tested = [place for place, found in enumerate(candidates) if found]
    q = dict(zip(tested, adjusted([smallest[place] for place in tested]).tolist(), strict=True))
    level = config.levels.columns
    cutoff = max((smallest[place] for place in tested if q[place] <= level), default=0.0)
    return tuple(
        _verdict(
            column,
            window[column.name],
            candidates[place],
            smallest[place] if place in q else None,
            q.get(place),
            cutoff,
        )
        for place, column in enumerate(references)
    )


def unmeasured(column: ColumnReference, counts: ColumnCounts) -> str | None:
    """Say why a column cannot be compared though the reference holds values of it."""
    rows = counts.present + counts.missing + counts.infinite + counts.unreadable
    if column.missing == column.rows or not rows or counts.present:
        if counts.unreadable > counts.present:
            return f"{column.name}: {counts.unreadable} of {rows} values are no {_noun(column)}"
        return None
    if counts.unreadable:
        return f"{column.name}: none of {counts.unreadable} values is a {_noun(column)}"
    if counts.infinite:
        return f"{column.name}: all of its {counts.infinite} numbers are infinite"
    return f"{column.name}: all of its {rows} values are missing"


def _candidates(
    column: ColumnReference, counts: ColumnCounts, config: MonitoringConfig
) -> list[Candidate]:
    found = []
    absent = counts.missing + counts.infinite + counts.unreadable
    rows = counts.present + absent
    if (column.missing or absent) and rows and column.rows:
        tested = univariate.share_test(column.missing, column.rows, absent, rows)
        words = f"missing {absent / rows:.1%}, was {column.missing / column.rows:.1%}"
        if counts.infinite:
            words += f" ({counts.infinite} infinite)"
        if counts.unreadable:
            words += f" ({counts.unreadable} of another type)"
        effect, least = abs(tested.statistic), config.effects.missing
        found.append(Candidate("missing", tested, effect, "change of share", least, words))
    if not counts.present or column.rows == column.missing:
        return found
    if column.grid is not None:
        return found + _number_tests(column.grid.counts.array(), counts, config)
    return found + _level_tests(column, counts, config)


def _number_tests(
    before: IntArray, counts: ColumnCounts, config: MonitoringConfig
) -> list[Candidate]:
    least = config.effects.distance
    ks = univariate.ks_test(before, counts.bins)
    ranks = univariate.rank_test(before, counts.bins)
    words = f"KS distance {ks.statistic:.3f}, mean moved by {_mean(counts):+.2f} deviations"
    return [
        Candidate("ks", ks, ks.statistic, "KS distance", least, words),
        Candidate("ranks", ranks, ks.statistic, "KS distance", least, words),
    ]


def _level_tests(
    column: ColumnReference, counts: ColumnCounts, config: MonitoringConfig
) -> list[Candidate]:
    before, now = _levels(column, counts)
    distance = univariate.total_variation(before, now)
    words = f"shares moved by {distance:.3f} (total variation)"
    tested = univariate.level_test(before, now)
    least = config.effects.distance
    found = [Candidate("chi_square", tested, distance, "total variation", least, words)]
    if column.other_rows or not column.levels:
        return found
    seen = column.rows - column.missing
    fresh = univariate.new_level_test(counts.new_rows, counts.present, column.singletons, seen)
    words = f"{counts.new_rows} of {counts.present} rows hold categories never seen in training"
    if counts.new:
        words += f" ({_few(counts.new)})"
    least = config.effects.new_category
    closed = min(column.level_rows) >= CLOSED and counts.new_rows > 0
    found.append(
        Candidate("new_category", fresh, fresh.statistic, "share of rows", least, words, closed)
    )
    return found


def _verdict(
    column: ColumnReference,
    counts: ColumnCounts,
    candidates: list[Candidate],
    p: float | None,
    q: float | None,
    cutoff: float,
) -> ColumnVerdict:
    level = cutoff / max(1, len(candidates))
    tests = tuple(_finding(candidate, level) for candidate in candidates)
    alarms = [test for test in tests if test.alarm]
    absent = counts.missing + counts.infinite + counts.unreadable
    rows = counts.present + absent
    reason = unmeasured(column, counts)
    if alarms:
        reason = f"{column.name}: " + "; ".join(dict.fromkeys(test.reason for test in alarms))
    elif reason is None:
        sure = q is not None and p is not None and p <= cutoff
        reason = f"{column.name}: sure but too small to matter" if sure else f"{column.name}: alike"
    return ColumnVerdict(
        column=column.name,
        kind=column.kind,
        alarm=bool(alarms),
        p=p,
        q=q,
        **_effects(column, counts),
        missing=absent / rows if rows else None,
        missing_before=column.missing / column.rows if column.rows else None,
        infinite=counts.infinite,
        unreadable=counts.unreadable,
        new_levels=tuple(counts.new)[:SHOWN],
        new_rows=counts.new_rows,
        tests=tests,
        reason=reason,
    )


def _finding(candidate: Candidate, level: float) -> Finding:
    tested = candidate.tested
    sure = tested.p <= level or candidate.fact
    p = "" if tested.p > 0.05 else f", p = {tested.p:.2g}"
    return Finding(
        name=candidate.name,
        statistic=tested.statistic,
        p=tested.p,
        effect=candidate.effect,
        effect_name=candidate.effect_name,
        minimum=candidate.minimum,
        level=level,
        alarm=sure and candidate.effect >= candidate.minimum,
        reason=f"{candidate.words}{p}",
    )


def _effects(column: ColumnReference, counts: ColumnCounts) -> dict[str, float]:
    if not counts.present or column.rows == column.missing:
        return {}
    if column.grid is None:
        before, now = _levels(column, counts)
        return {
            "distance": univariate.total_variation(before, now),
            "psi": univariate.psi(before, now),
        }
    before = column.grid.counts.array()
    difference = np.cumsum(before) / before.sum() - np.cumsum(counts.bins) / counts.bins.sum()
    return {
        "distance": float(np.abs(difference).max()),
        "mean_difference": _mean(counts),
        "psi": univariate.psi(*univariate.deciles(before, counts.bins)),
    }


def _levels(column: ColumnReference, counts: ColumnCounts) -> tuple[IntArray, IntArray]:
    """Return the rows of each known level, and of all others as one more."""
    before = np.append(level_counts(column), column.other_rows)
    return before, np.append(counts.bins, counts.new_rows)


def _mean(counts: ColumnCounts) -> float:
    return counts.total / max(1, int(counts.bins.sum()))


def _few(levels: object) -> str:
    names = [repr(name) for name in levels]  # type: ignore[attr-defined]
    return ", ".join(names[:SHOWN]) + (", …" if len(names) > SHOWN else "")


def _noun(column: ColumnReference) -> str:
    return {"number": "number", "timestamp": "moment", "category": "category"}[column.kind]
