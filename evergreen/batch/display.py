"""The end of a batch run, on the terminal."""

from __future__ import annotations

from typing import TextIO

from rich.console import Console
from rich.markup import escape
from rich.text import Text

from evergreen.batch.outcome import BatchOutcome

_WORDS = {
    "scored": ("SCORED", "bold green"),
    "unchanged": ("UNCHANGED", "bold green"),
    "refused": ("TOO MANY REFUSED", "bold red"),
}


def show_batch(outcome: BatchOutcome, stream: TextIO, *, quiet: bool = False) -> None:
    """Print what came of the rows, and where it lies."""
    console = Console(file=stream, highlight=False)
    word, style = _WORDS[outcome.status]
    verdict = Text.assemble((word, style), "  ", outcome.message)
    if quiet:
        console.print(verdict)
        return
    result = outcome.result
    console.print(
        f"\n[bold]{result.model}[/bold]  [dim]version {result.version} on {result.runtime}, "
        f"{result.rows:,} rows from {escape(result.source)}\n"
        f"{result.seconds:.1f} s of {outcome.total_seconds:.1f} s in all, "
        f"{result.rows_per_second:,.0f} rows/s[/dim]\n",
        soft_wrap=True,
    )
    if result.note:
        console.print(result.note, "\n", sep="", markup=False, soft_wrap=True)
    console.print(verdict, "\n", sep="", soft_wrap=True)
    lines = [("Output", result.output), ("Refused", result.rejected_output), ("Log", outcome.log)]
    for title, where in lines:
        if where is not None:
            console.print(f"  [dim]{title:<12}[/dim] {escape(where)}", soft_wrap=True)
