"""Seconds and memory of train, monitor and batch as tables grow, beside the bare libraries.

    python benchmarks/scale.py [--rows 1e4,1e5,1e6] [--work train,monitor,batch]
                               [--engines memory,external,dask] [--without bare,pandas]
                               [--ceiling 20] [--timeout 14400] [--write scale.json]
    python benchmarks/scale.py --from scale.json --plot docs/images/scale.svg

Each run is a process of its own, as a user types it; its seconds include its start, and its memory
is the most that it and the processes it started had at once. Beside ours stand scripts that do with
plain libraries what the run must do at least (see `scale_work.py`), and the pattern of ZenML's own
template, whose steps hand pandas frames to each other (see `scale_peer.py`). The challenger's
search (one trial on ``--search-rows`` rows, five folds) is on top of what they do.

A run that needs more than the ceiling is killed; that is its result, and the same way is not tried
on more rows. Runs are added to the file as they end, so that sizes may be measured one by one.
Monitor and batch need a model: where ``train`` is not asked for, one is trained on a million rows.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
from scale_figures import Measured, append_run, markdown, read_runs
from scale_process import run_within
from scale_work import BARE, CONFIG, write_table

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
MODEL_ROWS = 1_000_000  # that a model is trained on which only monitor and batch need


def main() -> None:
    options = read_options()
    runs = read_runs(options.file) if options.file else measured(options)
    print(markdown(runs))
    if options.plot:
        from scale_plot import draw

        draw(runs, options.plot)


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", default="1e4,1e5,1e6")
    parser.add_argument("--columns", type=int, default=30)
    parser.add_argument("--work", default="train,monitor,batch")
    parser.add_argument("--engines", default="memory,external")
    parser.add_argument("--without", default="", help="bare, pandas: what not to run beside ours")
    parser.add_argument("--workers", type=int, default=2, help="of Dask, on this machine")
    parser.add_argument("--worker-memory", default="", help="of one of Dask, such as 8Gi")
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--search-rows", type=int, default=20_000)
    parser.add_argument("--ceiling", type=float, help="GB that a run may have (nine tenths of all)")
    parser.add_argument("--timeout", type=float, default=6 * 3600, help="seconds per run")
    parser.add_argument("--write", type=Path, help="JSON file that the runs are added to")
    parser.add_argument("--from", dest="file", type=Path, help="show this file, measure nothing")
    parser.add_argument("--plot", type=Path, help="draw the runs (.svg or .png)")
    parser.add_argument("--folder", type=Path, help="for tables and state (a temporary one)")
    options = parser.parse_args()
    if options.ceiling is None:
        options.ceiling = 0.9 * psutil.virtual_memory().total / 1e9
    for name in ("work", "engines", "without"):
        setattr(options, name, [word for word in getattr(options, name).split(",") if word])
    return options


def measured(options: argparse.Namespace) -> list[Measured]:
    """Run everything, adding each run to the file; return what is known then."""
    runs = {run.key: run for run in (read_runs(options.write) if options.write else [])}
    with tempfile.TemporaryDirectory(prefix="evergreen-scale-", dir=options.folder) as folder:
        bench = Bench(options, Path(folder), runs)
        bench.prepare()
        for rows in sorted(int(float(text)) for text in options.rows.split(",")):
            bench.measure(rows)
    return list(runs.values())


class Bench:
    """The runs, size by size, in one state folder."""

    def __init__(
        self,
        options: argparse.Namespace,
        folder: Path,
        runs: dict[tuple[str, str, int, int], Measured],
    ) -> None:
        self.options, self.folder, self.runs = options, folder, runs
        self.config = folder / "scale.yaml"
        self.model: Path | None = None  # the bundle that is scored with
        self.trained_on: Path | None = None
        self.rounds: int = options.rounds

    def prepare(self) -> None:
        """Create the databases of both ZenML projects, which a user's first run does once."""
        for home in ("ours", "peer"):
            words = ["benchmarks/scale_peer.py", "--prepare"]
            self.python(words, home)

    def measure(self, rows: int) -> None:
        """Run everything that was asked for on one size of table."""
        table = self.folder / f"{rows}.parquet"
        write_table(table, rows, self.options.columns)
        os.sync()  # or what is run first shares the disk with the table's own bytes
        if "train" in self.options.work:
            self.train(table, rows)
        if {"monitor", "batch"} & set(self.options.work):
            self.require_model(rows)
            self.monitor_and_batch(table, rows)
        for path in self.folder.glob("*.parquet"):
            if path != self.trained_on or "train" in self.options.work:
                path.unlink()

    def train(self, table: Path, rows: int) -> None:
        """Train by every engine, and beside them."""
        for engine in self.options.engines:
            found = self.run("train", engine, rows, self.train_words(table, engine))
            self.take_model(found, table)
        words = [table, self.rounds]
        self.run("train", "bare", rows, ["-c", BARE["train"], *words])
        if "dask" in self.options.engines:
            on_dask = ["-c", BARE["train on dask"], *words, self.options.workers]
            on_dask.append(self.options.worker_memory or "auto")
            self.run("train", "bare on dask", rows, on_dask)
        self.run("train", "pandas artifacts", rows, ["benchmarks/scale_peer.py", *words], "peer")

    def require_model(self, rows: int) -> None:
        """Train a model, where none was, on as many rows as a profile looks at."""
        if self.model is not None:
            return
        table = self.folder / "model.parquet"
        write_table(table, min(rows, MODEL_ROWS), self.options.columns)
        found = self.python(self.train_words(table, "external"), "ours")
        self.take_model(found, table)

    def monitor_and_batch(self, table: Path, rows: int) -> None:
        """Compare the table with what was trained on, and score it."""
        shared = ["--config", self.config, "--json"]
        if "monitor" in self.options.work:
            words = ["run.py", "--pipeline", "monitor", *shared, "--window", table]
            self.run("monitor", "ours", rows, words)
            self.run("monitor", "bare", rows, ["-c", BARE["monitor"], self.trained_on, table])
        if "batch" in self.options.work:
            out = self.folder / "scored.parquet"
            words = ["run.py", "--pipeline", "batch", *shared, "--source", table, "--output", out]
            self.run("batch", "ours", rows, words)
            bare = ["-c", BARE["batch"], table, self.model, self.folder / "bare.parquet"]
            self.run("batch", "bare", rows, bare)

    def train_words(self, table: Path, engine: str) -> list[Any]:
        workers = f"workers: {self.options.workers}"
        if self.options.worker_memory:
            workers += f", memory: {self.options.worker_memory}"
        self.config.write_text(
            CONFIG.format(
                table=table,
                rounds=self.options.rounds,
                search_rows=self.options.search_rows,
                workers=workers,
            )
        )
        words = ["run.py", "--pipeline", "train", "--config", self.config, "--json"]
        return [*words, "--no-cache", "--set", f"training.engine={engine}"]

    def take_model(self, found: dict[str, Any] | None, table: Path) -> None:
        """Keep what monitor, batch and the bare scripts go by: bundle, rounds, table."""
        if not found:
            return
        self.model = Path(found["artifacts"]["bundle"]) / "bundle" / "model.onnx"
        self.rounds = rounds_of(found)
        self.trained_on = table

    def run(
        self, work: str, way: str, rows: int, words: list[Any], home: str = "ours"
    ) -> dict[str, Any] | None:
        """Measure one run, and keep it; return what it printed, None where it did not end well."""
        if way.split(" ", maxsplit=1)[0] in self.options.without:
            return None
        columns = self.options.columns
        for other in self.runs.values():
            fewer = other.columns == columns and other.rows < rows
            if fewer and (other.work, other.way) == (work, way) and other.outcome != "done":
                print(
                    f"{work} {way} {rows:,}: left out ({other.outcome} at {other.rows:,})",
                    file=sys.stderr,
                )
                return None
        kept: list[Measured] = []
        found = self.python(words, home, (work, way, rows, columns), kept)
        for run in kept:
            self.runs[run.key] = run
            if self.options.write:
                append_run(self.options.write, run)
            print(
                f"{work} {way} {rows:,}: {run.outcome}, {run.seconds:.1f} s, {run.peak_mb:,.0f} MB",
                file=sys.stderr,
            )
        return found

    def python(
        self,
        words: list[Any],
        home: str,
        what: tuple[str, str, int, int] | None = None,
        kept: list[Measured] | None = None,
    ) -> dict[str, Any] | None:
        """Run Python with these words; return the JSON that it printed last."""
        state = self.folder / home
        (state / "repository").mkdir(parents=True, exist_ok=True)
        environment = {
            **os.environ,
            "EVERGREEN_HOME": str(state / "evergreen"),
            "ZENML_CONFIG_PATH": str(state / "zenml"),
            "ZENML_REPOSITORY_PATH": str(state / "repository"),
            "ZENML_ANALYTICS_OPT_IN": "false",
        }
        ended = run_within(
            [sys.executable, *map(str, words)],
            cwd=ROOT,
            environment=environment,
            ceiling=int(self.options.ceiling * 1e9),
            timeout=self.options.timeout,
            good=(0, 1) if words[0] == "run.py" else (0,),  # 1: the gate, or an alarm
        )
        if ended.outcome == "failed":
            raise SystemExit(f"{what or words[:3]} failed:\n{ended.err[-3000:]}")
        found = last_json(ended.out) if ended.outcome == "done" else None
        if what is not None and kept is not None:
            names = ("metrics", "log_loss", "durations")
            kept.append(
                Measured(
                    *what,
                    seconds=ended.seconds,
                    cpu=ended.cpu,
                    peak_mb=ended.peak / 1e6,
                    outcome=ended.outcome,
                    when=datetime.now(UTC).isoformat(timespec="seconds"),
                    load=os.getloadavg()[0],
                    ceiling_mb=self.options.ceiling * 1e3,
                    result={key: found[key] for key in names if found and key in found},
                )
            )
        return found


def last_json(text: str) -> dict[str, Any]:
    """Return the object that a program printed last; what it said before is left out."""
    lines = text.rstrip().splitlines()
    starts = [number for number, line in enumerate(lines) if line.startswith("{")]
    found: dict[str, Any] = json.loads("\n".join(lines[starts[-1] :]))
    return found


def rounds_of(outcome: dict[str, Any]) -> int:
    """Return how many rounds the challenger has, which early stopping chose."""
    from evergreen.promotion.serialization import load_model

    model = load_model(Path(outcome["artifacts"]["challenger"]) / "model.skops")
    return int(model[-1].get_booster().num_boosted_rounds())


if __name__ == "__main__":
    main()
