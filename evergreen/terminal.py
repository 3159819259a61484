"""What the command line shows: a live view while it works, one table at the end.

Everything that libraries print goes to a log file instead; the view keeps handles of its own on
the real streams.
"""

from __future__ import annotations

import io
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from evergreen.training.progress import Progress


@contextmanager
def output_to_log(path: Path) -> Iterator[tuple[TextIO, TextIO]]:
    """Send this process's output to ``path``, also that of C code and of child processes.

    Yields
    ------
    (stdout, stderr) : the streams as they were, for the view and for JSON.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    saved = os.dup(1), os.dup(2)
    real_out = io.TextIOWrapper(os.fdopen(os.dup(1), "wb"), encoding="utf-8", write_through=True)
    real_err = io.TextIOWrapper(os.fdopen(os.dup(2), "wb"), encoding="utf-8", write_through=True)
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        os.dup2(log, 1)
        os.dup2(log, 2)
        yield real_out, real_err
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os.dup2(saved[0], 1)
        os.dup2(saved[1], 2)
        for descriptor in (*saved, log):
            os.close(descriptor)
        real_out.flush()
        real_err.flush()


class LiveView:
    """Shows the stages of a run as they pass; silent where the stream is no terminal."""

    def __init__(self, stream: TextIO, *, enabled: bool = True) -> None:
        self.console = Console(file=stream)
        self._enabled = enabled and self.console.is_terminal
        self._stages: list[tuple[str, float, float | None]] = []
        self._candidates: dict[str, Progress] = {}
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

    def show(self, news: str | Progress) -> None:
        """Take the title of a new stage, or the progress of a candidate."""
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
                lines.append(Spinner("dots", Text.from_markup(f" {elapsed}"), style="cyan"))
                if self._candidates and not all(p.done for p in self._candidates.values()):
                    lines.append(self._candidate_table())
        return Group(*lines)

    def _candidate_table(self) -> Table:
        table = Table.grid(padding=(0, 2, 0, 0))
        for progress in self._candidates.values():
            best = f"best {progress.best:.4g}" if progress.best is not None else ""
            state = progress.error or best
            table.add_row(
                f"      {progress.title}",
                ProgressBar(total=max(progress.trials, 1), completed=progress.trial, width=24),
                f"{progress.trial}/{progress.trials}",
                Text(state, style="red" if progress.error else "dim"),
            )
        return table
