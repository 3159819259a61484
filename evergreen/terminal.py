"""What the command line shows: a live view while it works, one table at the end.

Everything that libraries print goes to a log file instead; the view keeps handles of its own on
the real streams.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from evergreen.batch.outcome import RowProgress
from evergreen.outcome import TrainingOutcome
from evergreen.promotion.registration import Registration
from evergreen.training.progress import Progress
from evergreen.training.results import LEFT_OUT


@contextmanager
def redirected_output(log: Path | None) -> Iterator[tuple[TextIO, TextIO]]:
    """Send this process's output to ``log``, also that of C code and of child processes.

    With no log it all goes to standard error, so that standard output stays the caller's.

    Yields
    ------
    (stdout, stderr) : the streams as they were, for the view and for JSON.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    saved = os.dup(1), os.dup(2)
    real_out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    real_err = os.fdopen(os.dup(2), "w", encoding="utf-8")
    target = os.dup(2) if log is None else os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        os.dup2(target, 1)
        os.dup2(target, 2)
        yield real_out, real_err
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        real_out.close()
        real_err.close()
        os.dup2(saved[0], 1)
        os.dup2(saved[1], 2)
        for descriptor in (*saved, target):
            os.close(descriptor)


class LiveView:
    """Shows the stages of a run as they pass; silent where the stream is no terminal."""

    def __init__(self, stream: TextIO, *, enabled: bool = True) -> None:
        self.console = Console(file=stream)
        self._enabled = enabled and self.console.is_terminal
        self._stages: list[tuple[str, float, float | None]] = []
        self._candidates: dict[str, Progress] = {}
        self._rows: RowProgress | None = None
        self._live: Live | None = None

    def __enter__(self) -> LiveView:
        if self._enabled:
            self._live = Live(
                get_renderable=self._render,
                console=self.console,
                refresh_per_second=8,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._close_stage()
        if self._live is not None:
            self._live.stop()

    def show(self, news: str | Progress | RowProgress) -> None:
        """Take the title of a new stage, or the progress of a candidate or of scored rows."""
        if isinstance(news, RowProgress):
            self._rows = news
            return
        if isinstance(news, Progress):
            self._candidates[news.candidate] = news
            return
        self._close_stage()
        self._stages.append((news, time.monotonic(), None))

    @property
    def durations(self) -> dict[str, float]:
        """Seconds per finished stage, in order."""
        return {title: seconds for title, _, seconds in self._stages if seconds is not None}

    def _close_stage(self) -> None:
        if self._stages and self._stages[-1][2] is None:
            title, start, _ = self._stages[-1]
            self._stages[-1] = (title, start, time.monotonic() - start)

    def _render(self) -> RenderableType:
        lines: list[RenderableType] = []
        for title, start, seconds in self._stages:
            if seconds is not None:
                lines.append(Text.assemble(("  ✓ ", "green"), title, (f"  {seconds:.1f} s", "dim")))
            else:
                elapsed = f"{title}  [dim]{time.monotonic() - start:.0f} s[/dim]"
                spinner = Spinner("dots", Text.from_markup(elapsed), style="cyan")
                lines.append(Padding(spinner, (0, 0, 0, 2)))
                if self._candidates and not all(p.done for p in self._candidates.values()):
                    lines.append(self._candidate_table())
                if self._rows is not None:
                    lines.append(_row_line(self._rows))
        return Group(*lines)

    def _candidate_table(self) -> Table:
        table = Table.grid(padding=(0, 2, 0, 0))
        for progress in list(self._candidates.values()):  # others come while this goes on
            best = f"best {progress.best:.4g}" if progress.best is not None else ""
            state = progress.error or best
            table.add_row(
                f"      {progress.title}",
                ProgressBar(total=max(progress.trials, 1), completed=progress.trial, width=24),
                f"{progress.trial}/{progress.trials}",
                Text(state, style="red" if progress.error else "dim"),
            )
        return table


def _row_line(progress: RowProgress) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    rows, rate = f"{progress.rows:,} rows", Text(f"{progress.rows_per_second:,.0f} rows/s", "dim")
    if progress.total:
        bar = ProgressBar(total=progress.total, completed=progress.rows, width=24)
        table.add_row("     ", bar, f"{progress.rows:,}/{progress.total:,} rows", rate)
    else:
        table.add_row("     ", rows, rate)
    return table


_VERDICTS = {
    "promoted": ("PROMOTED", "bold green"),
    "unchanged": ("UNCHANGED", "bold green"),
    "waiting": ("WAITING FOR APPROVAL", "bold yellow"),
    "ramping": ("RAMPING AS A CANARY", "bold yellow"),
    "refused": ("REFUSED", "bold red"),
}

_REJECTED = ("REJECTED", "bold yellow")


def show_training(outcome: TrainingOutcome, stream: TextIO, *, quiet: bool = False) -> None:
    """Print the final table, the verdict, and where to look next."""
    console = Console(file=stream, highlight=False)
    word, style = _VERDICTS[outcome.status]
    verdict = Text.assemble((word, style), "  ", outcome.message)
    if quiet:
        console.print(verdict)
        return
    console.print(
        f"\n[bold]{outcome.use_case}[/bold]  [dim]{outcome.task}, {outcome.rows:,} rows: "
        f"{outcome.train_rows:,} for training, {outcome.holdout_rows:,} held out\n"
        f"{outcome.seconds:.1f} s on stack {outcome.stack!r}, {outcome.cached_steps} of "
        f"{outcome.steps} steps from the cache[/dim]\n"
    )
    show_judgement(outcome, console)
    console.print(verdict, "\n", sep="")
    for title, where in _next_steps(outcome):
        # One line each, however long: paths and commands are there to be copied.
        console.print(f"  [dim]{title:<12}[/dim] {escape(where)}", soft_wrap=True)


def show_judgement(outcome: TrainingOutcome, console: Console) -> None:
    """Print the candidates, the challenger's figures, and what the gate says to them."""
    console.print(_candidates(outcome))
    if taken_over := sum(candidate.taken_over for candidate in outcome.candidates):
        trials = sum(candidate.trials for candidate in outcome.candidates)
        console.print(
            f"[dim]{taken_over} of {trials} trials taken over from a search that was interrupted"
            "[/dim]\n"
        )
    console.print(_metrics(outcome))
    console.print(_rules(outcome))


def show_decision(outcome: Registration, notes: Sequence[str], stream: TextIO) -> None:
    """Print what a person's word on a waiting version led to."""
    console = Console(file=stream, highlight=False)
    for note in notes:
        console.print(note, style="dim", markup=False)
    word, style = ("APPROVED", "bold green") if outcome.status == "promoted" else _REJECTED
    console.print(Text.assemble((word, style), "  ", outcome.message))


def _candidates(outcome: TrainingOutcome) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("Candidate")
    table.add_column(f"{outcome.metric} (cross-validated)", justify="right")
    table.add_column("Trials", justify="right")
    table.add_column("Time", justify="right")
    for candidate in outcome.candidates:
        score = LEFT_OUT if (candidate.error or "").startswith(LEFT_OUT) else "failed"
        if candidate.score is not None:
            score = f"{candidate.score:.4g} ± {candidate.score_std or 0:.2g}"
        table.add_row(
            f"{'▸ ' if candidate.chosen else '  '}{candidate.title}",
            score,
            str(candidate.trials),
            f"{candidate.seconds:.1f} s",
            style="bold" if candidate.chosen else "red" if candidate.error else "",
        )
    return table


def _metrics(outcome: TrainingOutcome) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("On the holdout")
    table.add_column("Value", justify="right")
    table.add_column("95 % interval", justify="right")
    for name, interval in outcome.metrics.items():
        if interval.estimate is None:
            table.add_row(f"  {name}", "not measurable", "")
            continue
        bounds = ""
        if interval.low is not None and interval.high is not None:
            bounds = f"{interval.low:.4g} to {interval.high:.4g}"
        table.add_row(f"  {name}", f"{interval.estimate:.4g}", bounds)
    return table


def _rules(outcome: TrainingOutcome) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("Gate")
    table.add_column("Figure", justify="right")
    table.add_column("")
    for rule in outcome.verdict.rules:
        mark = Text("✓", "green") if rule.passed else Text("✗", "bold red")
        figure = "not measurable" if rule.figure is None else f"{rule.figure:.4g}"
        # A rule that passed needs no explanation here; the report has it.
        reason = Text("" if rule.passed else rule.reason, "dim")
        table.add_row(Text.assemble("  ", mark, f" {rule.name}"), figure, reason)
    return table


def _next_steps(outcome: TrainingOutcome) -> list[tuple[str, str]]:
    approval = [
        ("Approve", f"python run.py --approve {outcome.use_case}"),
        ("Reject", f"python run.py --reject {outcome.use_case}"),
    ]
    served = outcome.mlflow_uri.startswith("http")
    titles = {"training": "Report", "data": "Data report", "card": "Model card"}
    return [
        *(approval if outcome.status in ("waiting", "ramping") else []),
        *((title, outcome.reports[name]) for name, title in titles.items()),
        (
            "MLflow",
            outcome.mlflow_uri if served else f"mlflow ui --backend-store-uri {outcome.mlflow_uri}",
        ),
        ("Dashboard", outcome.dashboard or "zenml login --local"),
        ("Log", outcome.log),
    ]


def show_overview(content: Mapping[str, Mapping[str, str]]) -> None:
    """Print titled lists of names with a line of description each."""
    console = Console(highlight=False)
    for title, entries in content.items():
        console.print(f"\n[bold]{title.replace('_', ' ').capitalize()}[/bold]")
        table = Table.grid(padding=(0, 2, 0, 0))
        for name, description in entries.items():
            table.add_row(f"  {name}", Text(description, "dim"))
        console.print(table)
