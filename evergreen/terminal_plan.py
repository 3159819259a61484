"""What the command line shows of a plan: what a training will take, before it begins."""

from __future__ import annotations

from typing import TextIO

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from evergreen.data.size import gigabytes
from evergreen.reporting.numbers import seconds
from evergreen.training.plan import TrainingPlan


def show_plan(plan: TrainingPlan, stream: TextIO) -> None:
    """Print the table's size, the engine, and what each stage will take."""
    console = Console(file=stream, highlight=False)
    console.print(f"\n[bold]{plan.use_case}[/bold]  [dim]{escape(plan.source)}[/dim]")
    if plan.size is not None:
        about = "" if plan.size.exact_rows else "about "
        console.print(
            f"{about}{plan.size.rows:,} rows, {plan.size.columns} columns, "
            f"{gigabytes(plan.size.bytes)} in memory"
        )
    console.print(f"engine [bold]{plan.engine.name}[/bold]: {escape(plan.engine.reason)}\n")
    if plan.stages:
        console.print(_stages(plan))
        console.print(
            f"In all about {seconds(plan.seconds)}, {gigabytes(plan.memory)} of the "
            f"{gigabytes(plan.memory_limit)} there are. Rough figures of one machine; the run's "
            "report compares them with what it took."
        )
    if plan.memory > plan.memory_limit:
        console.print(
            "[bold red]It will not fit.[/bold red] Set training.engine: external."
            if not plan.engine.external
            else "[bold red]It will not fit.[/bold red] Give it more memory, or fewer rows."
        )


def _stages(plan: TrainingPlan) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("Stage")
    for title in ("Rows", "Time", "Memory"):
        table.add_column(title, justify="right")
    for stage in plan.stages:
        table.add_row(
            stage.stage,
            f"{stage.rows:,}",
            seconds(stage.seconds),
            gigabytes(stage.memory),
        )
    return table
