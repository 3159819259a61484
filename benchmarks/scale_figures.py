"""The figures of `scale.py`: kept as JSON, shown as a table."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Measured:
    """One run. ``result`` is what it printed, as far as the table needs it; ``load`` the machine's
    load average of a minute when it ended, its own included.

    ``outcome``: done, out of memory (at the ceiling), timed out, failed.
    """

    work: str
    way: str
    rows: int
    columns: int
    seconds: float
    cpu: float
    peak_mb: float
    outcome: str = "done"
    when: str = ""
    load: float = 0.0
    ceiling_mb: float = 0.0
    result: dict[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, str, int, int]:
        """What makes it the same measurement as another one."""
        return self.work, self.way, self.rows, self.columns


def read_runs(path: Path) -> list[Measured]:
    """Return the runs of a file, each measurement once: as it was made last."""
    if not path.exists():
        return []
    runs = [Measured(**each) for each in json.loads(path.read_text(encoding="utf-8"))["runs"]]
    return list({run.key: run for run in runs}.values())


def append_run(path: Path, run: Measured) -> None:
    """Add a run to a file; one of the same measurement goes."""
    runs = [asdict(each) for each in read_runs(path) if each.key != run.key]
    text = json.dumps({"runs": [*runs, asdict(run)]}, indent=1)
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(text + "\n", encoding="utf-8")
    temporary.replace(path)


def beside(run: Measured) -> str:
    """Return the way that a run's is compared with: on Dask that on Dask."""
    return "bare on dask" if run.way in ("dask", "bare on dask") else "bare"


ORDER = ("memory", "external", "dask", "ours", "bare", "bare on dask", "pandas artifacts")


def markdown(runs: Iterable[Measured]) -> str:
    """Return one line per run, with what it took beside the bare script on the same table."""
    runs = sorted(
        runs,
        key=lambda run: (
            ("train", "monitor", "batch").index(run.work),
            run.rows,
            ORDER.index(run.way),
        ),
    )
    by_key = {run.key: run for run in runs}
    lines = [
        "| work | rows | way | seconds | ÷ bare | processor seconds | ÷ bare | peak MB | ÷ bare |",
        "| --- | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for run in runs:
        bare = by_key.get((run.work, beside(run), run.rows, run.columns))
        cells = [run.work, f"{run.rows:,}", run.way]
        for name, places in (("seconds", 1), ("cpu", 1), ("peak_mb", 0)):
            value, other = getattr(run, name), getattr(bare, name, None)
            if run.outcome != "done":
                cells += [run.outcome if name == "seconds" else f"{value:,.0f}", ""]
                continue
            known = bare is not None and bare.outcome == "done" and other
            cells += [f"{value:,.{places}f}", f"{value / other:.2f}" if known else ""]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
