"""The end of a turn of the loop, on the terminal."""

from __future__ import annotations

from typing import Final, TextIO

from rich.console import Console
from rich.markup import escape
from rich.text import Text

from evergreen.monitoring.display import show_findings
from evergreen.monitoring.turn_outcome import Status, TurnOutcome
from evergreen.terminal import show_judgement

_WORDS: Final[dict[Status, str]] = {
    "none": "NOTHING TO DO",
    "watch": "WATCH",
    "alert": "ALERT",
    "waits": "WAITS FOR A DECISION",
    "promoted": "RETRAINED AND PROMOTED",
    "waiting": "RETRAINED, WAITING FOR APPROVAL",
    "ramping": "RETRAINED, RAMPING AS A CANARY",
    "unchanged": "RETRAINED, UNCHANGED",
    "refused": "RETRAINED, REFUSED",
    "concluded": "FINISHED",
    "rolled_back": "ROLLED BACK",
    "failed": "FAILED IN SERVICE",
}
_TITLES: Final = {
    "window": "Report",
    "decision": "Decision",
    "monitoring": "All windows",
    "training": "Training",
    "data": "Data report",
    "card": "Model card",
}


def show_turn(outcome: TurnOutcome, stream: TextIO, *, quiet: bool = False) -> None:
    """Print what was found, what was learnt, what was done, and where to look next."""
    console = Console(file=stream, highlight=False)
    style = "bold green" if outcome.exit_code == 0 else "bold red"
    if outcome.status in ("watch", "waits", "waiting", "ramping"):
        style = "bold yellow"
    word = Text(_WORDS[outcome.status], style)
    if quiet:
        console.print(Text.assemble(word, "  ", outcome.message), soft_wrap=True)
        return
    console.print(
        f"\n[bold]{outcome.use_case}[/bold]  [dim]one turn, {outcome.seconds:.1f} s on stack "
        f"{outcome.stack!r}; version {outcome.champion} is champion[/dim]\n",
        soft_wrap=True,
    )
    if outcome.window is not None:
        show_findings(outcome.window, console)
    if outcome.training is not None:
        show_judgement(outcome.training, console)
    console.print(Text.assemble(word, "  ", outcome.message), "\n", sep="", soft_wrap=True)
    for name, where in (*outcome.reports.items(), ("Log", outcome.log)):
        title = _TITLES.get(name, name)
        console.print(f"  [dim]{title:<12}[/dim] {escape(where)}", soft_wrap=True)
