"""What the command line shows of deployments."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TextIO

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from evergreen.deployment.outcome import DeployedServer, DeploymentOutcome, ModelStatus, Removal
from evergreen.deployment.values import ServerState
from evergreen.deployment.wording import condition

API = "Contract API"  # its title
_STYLES = {
    "running": "green",
    "degraded": "yellow",
    "down": "bold red",
    "not deployed": "dim",
    "starting": "yellow",
    "rendered": "yellow",
}


def show_deployment(outcome: DeploymentOutcome, stream: TextIO, *, quiet: bool = False) -> None:
    """Print the servers and their checks, the verdict, and where to look next."""
    console = Console(file=stream, highlight=False)
    verdict = Text.assemble((outcome.status.upper(), "bold green"), "  ", outcome.message)
    if quiet:
        console.print(verdict, soft_wrap=True)
        console.print(_api(outcome), soft_wrap=True, markup=False)
        return
    console.print(
        f"\n[bold]{outcome.use_case}[/bold]  [dim]version {outcome.version}, {outcome.runtime} "
        f"runtime; {outcome.seconds:.1f} s on stack {outcome.stack!r}[/dim]\n"
    )
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title in ("Server", "Address", "Version", "Golden rows", "Off by"):
        table.add_column(title, no_wrap=True)
    for server in outcome.servers:
        table.add_row(*_server(server))
    console.print(table)
    for server in outcome.servers:
        change = f"was started: {server.why}" if server.changed else "was left as it was"
        console.print(Text(f"{server.title} {change}.", "dim"))
    console.print(Text(f"{outcome.agreement[0].upper()}{outcome.agreement[1:]}.", "dim"))
    for note in outcome.notes:
        console.print(Text(note, "yellow"))
    console.print(Text("\n").append(verdict), "\n", sep="", soft_wrap=True)
    for title, where in _next_steps(outcome):
        console.print(f"  [dim]{title:<12}[/dim] {escape(where)}", soft_wrap=True)


def show_removal(removal: Removal, stream: TextIO) -> None:
    """Print what was stopped."""
    console = Console(file=stream, highlight=False)
    if not removal.stopped:
        console.print(f"Nothing of {removal.use_case!r} was deployed.", markup=False)
        return
    for state in removal.stopped:
        console.print(Text.assemble(("STOPPED", "bold yellow"), f"  {state.title} at {state.url}"))


def show_status(models: Sequence[ModelStatus], stack: str, stream: TextIO) -> None:
    """Print for every model what serves it where."""
    console = Console(file=stream, highlight=False)
    console.print(f"\n[dim]stack {stack!r}[/dim]")
    for model in models:
        champion = f"champion {model.champion}" if model.champion else "no champion"
        deployed = f", version {model.deployed} deployed" if model.deployed else ""
        since = f" {model.since:%Y-%m-%d %H:%M} UTC" if model.since else ""
        console.print(f"\n[bold]{model.use_case}[/bold]  [dim]{champion}{deployed}{since}[/dim]")
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for title in ("Server", "Address", "Version", "State"):
            table.add_column(title, no_wrap=True)
        for state in model.servers:
            word = condition(state)
            address, version = state.url or "", state.version or ""
            pods = "" if state.wanted is None else f", {state.ready} of {state.wanted} pods"
            table.add_row(state.title, address, version, Text(f"{word}{pods}", _STYLES[word]))
        console.print(table)
        for state in model.servers:
            if remark := _remark(state, model.champion):
                console.print(Text(f"{state.title}: {remark}.", "yellow"), soft_wrap=True)


def _remark(state: ServerState, champion: str | None) -> str | None:
    if state.serves and state.version is not None and state.version != champion:
        return f"it serves version {state.version}, not the champion; deploy to change that"
    return state.detail


def _server(server: DeployedServer) -> tuple[str | Text, ...]:
    check = server.check
    if check is None:
        return server.title, server.url or "none", "", Text("not asked", "yellow"), ""
    mark = Text("✓ ", "green") if check.passed else Text("✗ ", "bold red")
    rows = Text.assemble(mark, f"{check.rows} of {check.rows}")
    difference = "labels" if check.difference is None else f"{check.difference:.2g}"
    return server.title, server.url or "none", check.version or "unknown", rows, difference


def _api(outcome: DeploymentOutcome) -> str:
    """Return the address to hand out: the contract API's where there is one."""
    ours = sorted(outcome.servers, key=lambda server: server.title != API)
    return next((server.url for server in ours if server.url is not None), "none yet")


def _next_steps(outcome: DeploymentOutcome) -> list[tuple[str, str]]:
    steps = []
    config = ["--config", outcome.config] if outcome.config else []
    for server in outcome.servers:
        if server.title == API:
            steps += [
                ("Docs", f"{server.url}/docs"),
                ("ZenML", f"zenml deployment describe {outcome.use_case}_api"),
            ]
        elif server.flavor == "mlflow":
            steps += [
                ("MLflow", f"{server.url}/invocations"),
                ("", "zenml model-deployer models list"),
            ]
    return [
        *steps,
        ("Status", "python run.py --status"),
        ("Stop", shlex.join(["python", "run.py", "--undeploy", *config])),
        ("Log", outcome.log),
        ("Try it", _api(outcome)),
    ]
