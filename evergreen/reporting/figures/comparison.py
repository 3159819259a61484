"""Figures that compare models: metrics with intervals, and the candidates' folds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evergreen.reporting.facts import TrainingFacts
from evergreen.reporting.figures.canvas import WIDTH, Sheet, mark_interval, row_sheet
from evergreen.reporting.glossary import metric_title
from evergreen.reporting.numbers import measured, number, plural, share
from evergreen.reporting.style import BASELINE, CHALLENGER, CHAMPION, MUTED, Drawing
from evergreen.training.results import CandidateResult, Evaluation, SearchResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAX_CANDIDATES = 20


def draw_metrics(facts: TrainingFacts) -> Drawing:
    """Every metric of the challenger beside the champion's and the baseline's, with intervals."""
    arms = [
        ("challenger", facts.challenger, CHALLENGER),
        ("champion", facts.champion, CHAMPION),
        ("baseline", facts.baseline, BASELINE),
    ]
    present = [(name, arm, colour) for name, arm, colour in arms if arm is not None]
    names = list(facts.challenger.metrics)
    panel = 34 + 20 * len(present)
    columns, rows = 2, max((len(names) + 1) // 2, 1)
    sheet = Sheet(2 * WIDTH, rows * (panel + 22) + 6)
    for position, name in enumerate(names):
        row, column = divmod(position, columns)
        top = 24 + row * (panel + 22)
        axes = sheet.axes(
            left=column * WIDTH + 84,
            right=(columns - 1 - column) * WIDTH + 16,
            top=top,
            bottom=sheet.height - top - panel + 30,
        )
        _metric_panel(axes, name, present)
    compared = " and ".join(arm for arm, _, _ in present[1:]) or "nothing to compare with"
    return sheet.drawing(
        "metrics",
        f"Holdout metrics of the challenger beside {compared}",
        f"Estimates with {share(facts.challenger.confidence)} intervals on "
        f"{plural(facts.challenger.rows, 'row')}; the report's table holds the numbers.",
    )


def _metric_panel(axes: Axes, metric: str, arms: list[tuple[str, Evaluation, str]]) -> None:
    from matplotlib.ticker import MaxNLocator

    for y, (_, arm, colour) in enumerate(arms):
        mark_interval(axes, y, arm.metrics.get(metric), colour)
    axes.set_title(metric_title(metric))
    axes.set_ylim(len(arms) - 0.5, -0.5)
    axes.set_yticks(range(len(arms)), [name for name, _, _ in arms])
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=4))
    axes.margins(x=0.06)


def draw_candidates(search: SearchResult) -> Drawing:
    """Each candidate's score per fold, their mean and standard deviation."""
    scored = [each for each in search.candidates if measured(each.score)]
    shown = scored[:MAX_CANDIDATES]
    sheet, axes = row_sheet([each.title for each in shown] or ["no candidate"], row=26)
    low, high = _limits(shown)
    for y, candidate in enumerate(shown):
        _candidate_row(axes, y, candidate, candidate.name == search.best, (low, high))
    if shown:
        axes.set_xlim(low, high)
    direction = "greater is better" if search.greater_is_better else "less is better"
    title = metric_title(search.metric)
    axes.set_xlabel(f"{title}, cross-validated ({direction})", loc="right")
    best = next((each for each in shown if each.name == search.best), None)
    said = f": {best.title} is chosen, with {number(best.score)}" if best else ""
    return sheet.drawing(
        "candidates",
        f"{title} of {plural(len(scored), 'candidate')}{said}",
        f"Small dots: one of {search.folds} folds each; large dot: their mean; line: one standard "
        "deviation to both sides.",
    )


def _candidate_row(
    axes: Axes, y: int, candidate: CandidateResult, best: bool, limits: tuple[float, float]
) -> None:
    colour = CHALLENGER if best else MUTED
    score, low, high = candidate.score, *limits
    assert score is not None  # noqa: S101 (only scored candidates are drawn)
    if not low <= score <= high:
        right = score > high
        axes.plot(
            0.985 if right else 0.015,
            y,
            ">" if right else "<",
            color=colour,
            ms=6,
            transform=axes.get_yaxis_transform(),
        )
        axes.text(
            0.955 if right else 0.045,
            y,
            number(score),
            color=MUTED,
            fontsize=10.5,
            transform=axes.get_yaxis_transform(),
            va="center",
            ha="right" if right else "left",
        )
        return
    std = candidate.score_std or 0.0
    axes.plot([score - std, score + std], [y, y], color=colour, lw=2, solid_capstyle="round")
    folds = [each for each in candidate.fold_scores if low <= each <= high]
    axes.plot(folds, [y] * len(folds), "o", ms=4.5, mfc="none", mec=colour, mew=1, alpha=0.75)
    axes.plot(score, y, "o", ms=7, color=colour)


def _limits(candidates: list[CandidateResult]) -> tuple[float, float]:
    """Return the drawn range; what lies absurdly far from the best half stays outside it."""
    if not candidates:
        return 0.0, 1.0
    spans = [
        (min(values), max(values))
        for each in candidates
        if (values := [value for value in (*each.fold_scores, each.score) if value is not None])
    ]
    core = spans[: max((len(spans) + 1) // 2, 2)]
    low, high = min(span[0] for span in core), max(span[1] for span in core)
    reach = 6 * (high - low) or abs(high) or 1.0
    near = [span for span in spans if span[0] >= low - reach and span[1] <= high + reach]
    low, high = min(s[0] for s in near or core), max(s[1] for s in near or core)
    pad = 0.05 * (high - low) or 0.05 * abs(high) or 0.5
    return low - pad, high + pad
