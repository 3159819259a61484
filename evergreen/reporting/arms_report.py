"""The page on champion and challenger: which is better, by what came true."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from evergreen.reporting.glossary import greater_is_better, metric_title
from evergreen.reporting.model_tables import MetricRow
from evergreen.reporting.pages import html_page
from evergreen.reporting.sparks import interval_strip
from evergreen.reporting.wording import Headline, Tone

if TYPE_CHECKING:
    from evergreen.monitoring.arm_comparison import ArmComparison

_HEADLINES: Final[dict[str, tuple[Tone, str]]] = {
    "better": ("good", "Challenger better"),
    "worse": ("bad", "Challenger worse"),
    "no_difference": ("same", "No difference shown"),
    "not_enough_labels": ("wait", "Not enough labels"),
}
_DIRECTIONS: Final = {True: "greater is better", False: "less is better", None: ""}


def arms_report(comparison: ArmComparison) -> str:
    """Return the comparison as one self-contained HTML page."""
    tone, word = _HEADLINES[comparison.verdict]
    arms = (comparison.challenger, comparison.champion)
    rows = [
        MetricRow(
            title=metric_title(name),
            direction=_DIRECTIONS[greater_is_better(name)],
            intervals=tuple(arm.metrics[name] for arm in arms),
            strip=interval_strip(
                [("challenger", arms[0].metrics[name]), ("champion", arms[1].metrics[name])]
            ),
        )
        for name in comparison.champion.metrics
    ]
    return html_page(
        "arms.html.j2",
        comparison=comparison,
        headline=Headline(tone, word, comparison.sentence, ()),
        arms=arms,
        metric_rows=rows,
        metric=metric_title(comparison.metric),
        now=datetime.now(UTC),
    )
