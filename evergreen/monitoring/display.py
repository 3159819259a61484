"""The end of a monitoring run, on the terminal."""

from __future__ import annotations

from typing import Final, TextIO

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from evergreen.monitoring.history import MonitoredWindow
from evergreen.monitoring.outcome import MonitoringOutcome
from evergreen.monitoring.verdict import ColumnVerdict
from evergreen.reporting.monitoring.wording import headline
from evergreen.reporting.wording import Tone

SHOWN = 20  # columns; the page has all
STYLES: Final[dict[Tone, str]] = {
    "good": "bold green",
    "wait": "bold yellow",
    "bad": "bold red",
    "same": "bold yellow",
}


def show_monitoring(outcome: MonitoringOutcome, stream: TextIO, *, quiet: bool = False) -> None:
    """Print the tests, the decision with its reasons, and where to look next."""
    console = Console(file=stream, highlight=False)
    window = outcome.window
    said = headline(window)
    word = Text(said.word.upper(), STYLES[said.tone])
    if quiet:
        console.print(Text.assemble(word, "  ", outcome.message), soft_wrap=True)
        return
    span = ""
    if window.first is not None and window.last is not None:
        span = f", {window.first:%Y-%m-%d %H:%M:%S} to {window.last:%Y-%m-%d %H:%M:%S} UTC"
    console.print(
        f"\n[bold]{window.use_case}[/bold]  [dim]version {window.version}, {window.rows:,} rows "
        f"from {escape(window.place)}{span}\n{outcome.total_seconds:.1f} s on stack "
        f"{outcome.stack!r}, {window.seconds or 0:.2f} s of it judging all rows[/dim]\n",
        soft_wrap=True,
    )
    show_findings(window, console)
    console.print(Text.assemble("\n", word, "  ", said.sentence), soft_wrap=True)
    for reason in said.reasons:
        console.print(f"  {reason}", markup=False, soft_wrap=True)
    console.print()
    titles = {
        "window": "Report",
        "decision": "Decision",
        "monitoring": "All windows",
        "univariate": "Evidently",
    }
    lines = [(titles.get(name, name), page) for name, page in outcome.reports.items()]
    for title, where in (*lines, ("Log", outcome.log)):
        console.print(f"  [dim]{title:<12}[/dim] {escape(where)}", soft_wrap=True)


def show_findings(window: MonitoredWindow, console: Console) -> None:
    """Print the tests of a window, its quality, and what there is to note."""
    if window.verdict.columns:
        console.print(_columns(window))
    if window.verdict.columns or window.verdict.performance:
        console.print(_families(window))
    for one in window.quality:
        console.print(Text(f"{one.severity}: {one.reason}.", "yellow"), soft_wrap=True)
    for note in window.verdict.notes:
        console.print(Text(note, "dim"), soft_wrap=True)


def _columns(window: MonitoredWindow) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("Column")
    for title in ("Distance", "PSI", "Missing (before)", "q"):
        table.add_column(title, justify="right")
    columns = sorted(window.verdict.columns, key=lambda c: (not c.alarm, -(c.distance or 0)))
    for column in columns[:SHOWN]:
        table.add_row(*_column(column), style="bold red" if column.alarm else "")
    if len(columns) > SHOWN:
        table.add_row(Text(f"  and {len(columns) - SHOWN} more; the report has all", "dim"))
    return table


def _column(column: ColumnVerdict) -> tuple[str, ...]:
    missing = f"{_share(column.missing)} ({_share(column.missing_before)})"
    mark = "▸ " if column.alarm else "  "
    return (
        f"{mark}{escape(column.column)}",
        _figure(column.distance),
        _figure(column.psi),
        missing,
        "–" if column.q is None else f"{column.q:.2g}",
    )


def _families(window: MonitoredWindow) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("Test")
    table.add_column("p", justify="right")
    table.add_column("")
    verdict = window.verdict
    found = [(one.name, one) for one in verdict.multivariate]
    found += [(f"predictions: {one.name}", one) for one in verdict.predictions]
    for name, one in found:
        # A test that found nothing needs no sentence, only its figure.
        told = one.reason if one.alarm else f"{one.effect_name} {one.effect:.3f}"
        _add(table, name.replace("_", " "), one.p, told, alarm=one.alarm)
    for measure in verdict.performance:
        _add(
            table,
            f"performance, {measure.kind}",
            measure.p,
            measure.reason,
            alarm=measure.alarm,
        )
    return table


def _add(table: Table, name: str, p: float, told: str, *, alarm: bool) -> None:
    mark, style = ("▸ ", "bold red") if alarm else ("  ", "")
    table.add_row(f"{mark}{escape(name)}", f"{p:.2g}", Text(told), style=style)


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"
