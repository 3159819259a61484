"""Seconds and memory of train, monitor and batch as tables grow, beside the bare libraries.

    python benchmarks/scale.py [--rows 1e4,1e5,1e6] [--columns 30] [--work train,monitor,batch]
                               [--engines memory,external,dask] [--workers 2]
                               [--write scale.json]

Each run is a process of its own, as a user types it; its seconds include its start, and its memory
is the highest resident set of that process (candidates are searched in it, not in helpers), of
Dask the highest among it and its workers. The bare scripts do with plain libraries what the run
must do at least:

train    pandas reads the table, XGBoost's own estimator is fitted on four fifths of it with
         the challenger's own parameters and rounds, and judged on the rest
         with the engine dask: the same by Dask's data frames and XGBoost's Dask interface
monitor  pandas reads both tables, SciPy tests every column (Kolmogorov-Smirnov)
batch    PyArrow reads the table in pieces, ONNX Runtime scores them, PyArrow writes

The challenger's search (one trial on ``--search-rows`` rows, five folds) is on top of what the bare
script does. Prints Markdown, and writes JSON with ``--write``.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
PIECE = 1_000_000

CONFIG = """\
name: scale
task: classification
data: {{source: "{table}", target: y, positive: "yes"}}
training:
  candidates:
    xgboost: {{params: {{n_estimators: {rounds}, max_depth: 6, learning_rate: 0.1}}, search: {{}}}}
  trials: 1
  jobs: 1
  search_rows: {search_rows}
  dask: {{workers: {workers}}}
gate: {{champion: null}}
"""

BARE = {
    "train": """
import json, sys
import numpy as np, pandas as pd
from sklearn.metrics import log_loss
from xgboost import XGBClassifier
table, rounds = sys.argv[1], int(sys.argv[2])
frame = pd.read_parquet(table)
y = (frame.pop("y") == "yes").to_numpy()
held = np.random.default_rng(0).random(len(frame)) < 0.2
model = XGBClassifier(n_estimators=rounds, max_depth=6, learning_rate=0.1, tree_method="hist")
model.fit(frame[~held], y[~held])
print(json.dumps({"log_loss": log_loss(y[held], model.predict_proba(frame[held]))}))
""",
    "train on dask": """
import json, os, sys
import dask.dataframe as dd
from dask.distributed import Client, LocalCluster
from sklearn.metrics import log_loss
from xgboost import dask as dxgb
table, rounds, workers = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
threads = max(1, len(os.sched_getaffinity(0)) // workers)
cluster = LocalCluster(None, workers, threads, dashboard_address="localhost:0")
with cluster, Client(cluster) as client:
    frame = dd.read_parquet(table, split_row_groups=True)
    fit, held = frame.random_split([0.8, 0.2], random_state=0)
    y = (fit["y"] == "yes").astype(int)
    matrix = dxgb.DaskQuantileDMatrix(client, fit.drop(columns="y"), y)
    params = {"objective": "binary:logistic", "max_depth": 6, "learning_rate": 0.1}
    booster = dxgb.train(client, params | {"tree_method": "hist"}, matrix, rounds)["booster"]
    found = dxgb.predict(client, booster, held.drop(columns="y")).compute()
    print(json.dumps({"log_loss": log_loss((held["y"] == "yes").compute(), found)}))
""",
    "monitor": """
import json, sys
import pandas as pd
from scipy.stats import ks_2samp
reference, window = (pd.read_parquet(path).drop(columns="y", errors="ignore")
                     for path in sys.argv[1:3])
tests = {name: ks_2samp(reference[name].dropna(), window[name].dropna()).pvalue
         for name in window.columns}
print(json.dumps({"columns": len(tests)}))
""",
    "batch": """
import json, sys
import numpy as np, onnxruntime, pyarrow as pa, pyarrow.parquet as pq
table, graph, output = sys.argv[1:4]
session = onnxruntime.InferenceSession(graph)
names = [each.name for each in session.get_inputs()]
rows, writer = 0, None
for batch in pq.ParquetFile(table).iter_batches(65_536):
    columns = [c for c in batch.schema.names if c != "y"]
    matrix = np.column_stack([batch[c].to_numpy(zero_copy_only=False) for c in columns])
    found = pa.table({"p": session.run(None, {names[0]: matrix})[0][:, 1]})
    writer = writer or pq.ParquetWriter(output, found.schema)
    writer.write_table(found)
    rows += len(matrix)
writer.close()
print(json.dumps({"rows": rows}))
""",
}


@dataclass
class Measured:
    """One run. ``result`` is what it printed, as far as the table needs it."""

    work: str
    way: str
    rows: int
    columns: int
    seconds: float
    peak_mb: float
    result: dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", default="1e4,1e5,1e6")
    parser.add_argument("--columns", type=int, default=30)
    parser.add_argument("--work", default="train,monitor,batch")
    parser.add_argument("--engines", default="memory,external")
    parser.add_argument("--workers", type=int, default=2, help="of Dask, on this machine")
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--search-rows", type=int, default=20_000)
    parser.add_argument("--write", type=Path, help="JSON file for the figures")
    parser.add_argument("--folder", type=Path, help="for tables and state (a temporary one)")
    options = parser.parse_args()
    measured: list[Measured] = []
    with tempfile.TemporaryDirectory(prefix="evergreen-scale-", dir=options.folder) as folder:
        for rows in (int(float(text)) for text in options.rows.split(",")):
            for each in measure(rows, options, Path(folder)):
                print(f"{each.work} {each.way} {rows:,}: {each.seconds:.1f} s", file=sys.stderr)
                measured.append(each)
                if options.write:
                    figures = {"load": os.getloadavg(), "runs": list(map(asdict, measured))}
                    options.write.write_text(json.dumps(figures, indent=1), encoding="utf-8")
    print(markdown(measured))


def measure(rows: int, options: argparse.Namespace, folder: Path) -> Iterator[Measured]:
    """Run everything that was asked for on one size of table."""
    table = folder / f"{rows}.parquet"
    write_table(table, rows, options.columns)
    work = options.work.split(",")
    config = folder / "scale.yaml"
    config.write_text(
        CONFIG.format(
            table=table,
            rounds=options.rounds,
            search_rows=options.search_rows,
            workers=options.workers,
        )
    )
    home = folder / "home"
    size = (rows, options.columns)
    outcome: dict[str, Any] = {}
    for engine in options.engines.split(","):
        command = ["run.py", "--pipeline", "train", "--config", str(config), "--json"]
        command += ["--no-cache", "--set", f"training.engine={engine}"]
        run, outcome = timed("train", engine, size, command, home)
        if "train" in work:
            yield run
    if "train" in work:
        words = [table, rounds_of(outcome)]
        yield timed("train", "bare", size, ["-c", BARE["train"], *words], home)[0]
        if "dask" in options.engines.split(","):
            words = ["-c", BARE["train on dask"], *words, options.workers]
            yield timed("train", "bare on dask", size, words, home)[0]
    if "monitor" in work:
        command = ["run.py", "--pipeline", "monitor", "--config", str(config)]
        yield timed("monitor", "ours", size, [*command, "--window", table, "--json"], home)[0]
        yield timed("monitor", "bare", size, ["-c", BARE["monitor"], table, table], home)[0]
    if "batch" in work:
        command = ["run.py", "--pipeline", "batch", "--config", str(config), "--source", table]
        out = folder / "scored.parquet"
        yield timed("batch", "ours", size, [*command, "--output", out, "--json"], home)[0]
        graph = Path(outcome["artifacts"]["bundle"]) / "bundle" / "model.onnx"
        command = ["-c", BARE["batch"], table, graph, folder / "bare.parquet"]
        yield timed("batch", "bare", size, command, home)[0]
        out.unlink()
    table.unlink()


def timed(
    work: str, way: str, size: tuple[int, int], words: list[Any], home: Path
) -> tuple[Measured, dict[str, Any]]:
    """Run Python with these words; the peak is that of this one process."""
    (home / "repository").mkdir(parents=True, exist_ok=True)
    environment = {
        **os.environ,
        "EVERGREEN_HOME": str(home / "evergreen"),
        "ZENML_CONFIG_PATH": str(home / "zenml"),
        "ZENML_REPOSITORY_PATH": str(home / "repository"),
        "ZENML_ANALYTICS_OPT_IN": "false",
    }
    start = time.perf_counter()
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        process = subprocess.Popen(
            [sys.executable, *map(str, words)], cwd=ROOT, env=environment, stdout=out, stderr=err
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.perf_counter() - start
        out.seek(0)
        err.seek(0)
        if process.returncode not in (0, 1):
            raise SystemExit(f"{work} {way} ended with {process.returncode}:\n{err.read()[-3000:]}")
        found = json.loads(out.read())
    kept = {key: found[key] for key in ("metrics", "log_loss", "durations") if key in found}
    return Measured(work, way, *size, seconds, usage.ru_maxrss / 1024, kept), found


def write_table(path: Path, rows: int, columns: int) -> None:
    """Write numbers and a target that some of them decide, in pieces of a million rows."""
    schema = pa.schema([*((f"x{n}", pa.float64()) for n in range(columns - 1)), ("y", pa.string())])
    with pq.ParquetWriter(path, schema) as file:
        for start in range(0, rows, PIECE):
            random = np.random.default_rng(start)
            values = random.normal(size=(columns - 1, min(PIECE, rows - start)))
            score = values[0] + values[1] * values[2] + random.normal(size=values.shape[1])
            y = np.where(score > 0, "yes", "no")
            file.write_table(pa.table([*values, y], schema=schema))


def rounds_of(outcome: dict[str, Any]) -> int:
    """Return how many rounds the challenger has, which early stopping chose."""
    from evergreen.promotion.serialization import load_model

    model = load_model(Path(outcome["artifacts"]["challenger"]) / "model.skops")
    return int(model[-1].get_booster().num_boosted_rounds())


def markdown(measured: list[Measured]) -> str:
    """Return one line per run, with what it took beside the bare script on the same table.

    Runs on Dask stand beside the bare script on Dask.
    """
    bare = {(each.work, each.rows, each.way): each for each in measured}
    lines = [
        "| work | rows | way | seconds | ÷ bare | peak MB | ÷ bare |",
        "| --- | ---: | --- | ---: | ---: | ---: | ---: |",
    ]
    for each in measured:
        kind = "bare on dask" if each.way in ("dask", "bare on dask") else "bare"
        beside = bare[each.work, each.rows, kind]
        lines.append(
            f"| {each.work} | {each.rows:,} | {each.way} | {each.seconds:.1f} "
            f"| {each.seconds / beside.seconds:.2f} | {each.peak_mb:.0f} "
            f"| {each.peak_mb / beside.peak_mb:.2f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
