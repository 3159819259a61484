"""``--simulate``: send changed rows of the use case's own table to its running API."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

from evergreen.data.conform import conform
from evergreen.data.infer import infer_contract
from evergreen.data.sources import read_source
from evergreen.errors import ExitCode, RefusedError
from evergreen.simulation.scenarios import as_labels, as_requests, simulate
from evergreen.simulation.traffic import Summary, send_traffic
from evergreen.use_case import load_use_case

KEY_VARIABLE = "EVERGREEN_API_KEY"
ROWS = 1000
SEED = 1


def run_simulation(options: argparse.Namespace) -> int:
    """Send one scenario; raise `RefusedError` where the API refused every row."""
    use_case = load_use_case(Path(options.config), options.overrides)
    url = (options.url or f"http://127.0.0.1:{use_case.deploy.port}").rstrip("/")
    seed = SEED if options.seed is None else options.seed
    raw = read_source(use_case.data.source)
    contract = infer_contract(raw, use_case)
    drawn = simulate(conform(raw, contract), contract, options.simulate, options.rows or ROWS, seed)
    screen = Console(stderr=True)
    hidden = options.quiet or options.json or not screen.is_terminal
    bar = Progress(
        "{task.description}",
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=screen,
        disable=hidden,
    )
    with bar:
        task = bar.add_task(f"{options.simulate} to {url}", total=len(drawn))
        summary = send_traffic(
            url,
            as_requests(drawn, contract),
            as_labels(drawn, contract),
            rate=options.rate,
            key=os.environ.get(KEY_VARIABLE),
            progress=lambda sent: bar.update(task, completed=sent),
        )
    if options.json:
        print(summary.model_dump_json(indent=2))
    else:
        print(in_words(summary, options.simulate, classes=contract.task == "classification"))
    if summary.sent and not summary.answered:
        raise RefusedError(f"The API at {url} refused every row: {summary.reason}")
    return ExitCode.DONE


def in_words(summary: Summary, scenario: str, *, classes: bool) -> str:
    """Return the summary as a few lines."""
    version = ", ".join(summary.versions) or "none"
    lines = [
        f"{scenario}: {summary.sent:,} rows sent in {summary.seconds:.1f} s; "
        f"{summary.answered:,} answered (version {version}), {summary.labelled:,} true labels."
    ]
    if classes and summary.answered:
        share = summary.correct / summary.answered
        lines.append(f"{share:.1%} of the answers were right.")
    if summary.refused:
        lines.append(f"{summary.refused:,} rows were refused, most for: {summary.reason}")
    return "\n".join(lines)
