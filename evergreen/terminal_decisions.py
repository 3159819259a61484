"""What the command line shows of decisions: traffic, rollbacks, history, and the arms compared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, TextIO

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from evergreen.promotion.promotion_log import Entry
from evergreen.promotion.registration import Registration
from evergreen.promotion.traffic import TrafficChange
from evergreen.reporting.numbers import count, estimate_and_bounds, number

if TYPE_CHECKING:
    from evergreen.monitoring.arm_comparison import ArmComparison

_TRAFFIC: Final = {
    "changed": ("TRAFFIC CHANGED", "bold green"),
    "unchanged": ("UNCHANGED", "bold green"),
    "ended": ("TRAFFIC ENDED", "bold yellow"),
}
_VERDICTS: Final = {
    "better": ("CHALLENGER BETTER", "bold green"),
    "worse": ("CHALLENGER WORSE", "bold red"),
    "no_difference": ("NO DIFFERENCE SHOWN", "bold yellow"),
    "not_enough_labels": ("NOT ENOUGH LABELS", "bold yellow"),
}
_MOVES: Final = ("promoted", "approved", "rolled_back")


def show_traffic(changed: TrafficChange, stream: TextIO) -> None:
    """Print which traffic plan is in force."""
    message = changed.message[:1].upper() + changed.message[1:]
    _say(*_TRAFFIC[changed.status], message, stream)


def show_rollback(outcome: Registration, stream: TextIO) -> None:
    """Print what a rollback led to."""
    word = "UNCHANGED" if outcome.status == "unchanged" else "ROLLED BACK"
    _say(word, "bold green", outcome.message, stream)
    if outcome.status != "unchanged":
        Console(file=stream, highlight=False).print(
            "  Running servers take it up by themselves, within seconds.", style="dim"
        )


def show_history(name: str, entries: Sequence[Entry], stream: TextIO) -> None:
    """Print the promotion log as a table, the newest first."""
    console = Console(file=stream, highlight=False)
    if not entries:
        console.print(f"Nothing was ever decided on {name!r}.", markup=False)
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title in ("When (UTC)", "Who", "What", "Champion before", "Version", "Why"):
        table.add_column(title, no_wrap=title in ("When (UTC)", "What"))
    for entry in entries:
        table.add_row(
            f"{entry.time:%Y-%m-%d %H:%M:%S}" if entry.time else "",
            escape(entry.who),
            Text(
                "under way" if entry.action == "intent" else entry.action.replace("_", " "),
                "bold" if entry.action in _MOVES else "",
            ),
            entry.from_version or "",
            entry.to_version or "",
            Text(_why(entry)),
        )
    console.print(table)


def show_comparison(comparison: ArmComparison, stream: TextIO) -> None:
    """Print both arms side by side, and what can be said of them."""
    console = Console(file=stream, highlight=False)
    arms = (comparison.champion, comparison.challenger)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column(f"\n{comparison.use_case}")
    for arm in arms:
        table.add_column(f"{arm.arm}\nversion {arm.version or 'unknown'}", justify="right")
    table.add_row("Rows", *(count(arm.rows) for arm in arms))
    table.add_row("Rows with feedback", *(count(arm.labelled) for arm in arms))
    table.add_row("Failed rows", *(count(arm.failed) for arm in arms))
    for name in ("p50", "p95", "p99"):
        latencies = (arm.latency_ms.get(name) for arm in arms)
        table.add_row(f"Latency {name}, ms", *(number(each) for each in latencies))
    for metric in comparison.champion.metrics:
        cells = [" ".join(estimate_and_bounds(arm.metrics[metric])) for arm in arms]
        table.add_row(metric, *cells, style="bold" if metric == comparison.metric else "")
    console.print(table)
    _say(*_VERDICTS[comparison.verdict], comparison.sentence, stream)
    if comparison.report:
        console.print(f"\n  [dim]Report[/dim] {escape(comparison.report)}", soft_wrap=True)


def _why(entry: Entry) -> str:
    if entry.note:
        return entry.note
    return entry.verdict.summary if entry.verdict is not None else ""


def _say(word: str, style: str, message: str, stream: TextIO) -> None:
    Console(file=stream, highlight=False).print(Text.assemble((word, style), "  ", message))
