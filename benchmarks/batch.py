"""Batch scoring beside the bare ONNX Runtime: rows per second, and the most memory in use.

    python benchmarks/batch.py [--rows 10000000] [--candidate random_forest] [--bundle FOLDER]

The table is wine, repeated and perturbed, in row groups of 131,072 rows. The run is a process of
its own and is killed once (SIGKILL) on its way, unless ``--whole``; the next one goes on. What
comes out is checked: every row once, and a sample predicted anew. The bare loop
feeds the same rows (the first ``--bare-rows`` of them), already decoded into one array, to the same
graph.

Processor seconds are those of all threads; on a machine that does other work they say more than
rows per second. Prints Markdown.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
GROUP = 131_072
CHUNK_ROWS = 65_536  # what batch.chunk_rows is by default
# In a process of its own, so that its memory is that of scoring alone.
SCORE = """
import json, sys
from pathlib import Path
from evergreen.batch.run import BatchJob, run_batch
from evergreen.batch.settings import BatchConfig, ParquetOutput
from evergreen.data.source_config import ParquetSource
from evergreen.serving.runtime import load_runtime
from evergreen.serving.settings import ServingConfig
bundle, source, output = sys.argv[1:]
job = BatchJob(
    ParquetSource(path=source), ParquetOutput(path=output), BatchConfig(), ServingConfig(),
    load_runtime(bundle), "1", Path(source).parent / "records",
)
print(run_batch(job).model_dump_json())
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--candidate", default="random_forest", help="fitted on wine")
    parser.add_argument("--bundle", type=Path, help="instead: a bundle, such as the champion's")
    parser.add_argument("--bare-rows", type=int, default=1_000_000, help="of the bare loop")
    parser.add_argument("--single", action="store_true", help="also into a single file")
    parser.add_argument("--whole", action="store_true", help="do not break the run off")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="evergreen-batch-") as folder:
        measure(options, Path(folder))


def measure(options: argparse.Namespace, folder: Path) -> None:
    from evergreen.serving.runtime import load_runtime

    bundle = options.bundle
    if bundle is None:
        from tests.support.served import bundle_of

        params = {"n_estimators": 100} if options.candidate == "random_forest" else {}
        bundle = folder / "bundle"
        bundle_of("wine.yaml", options.candidate, bundle, params)
    runtime = load_runtime(bundle)
    source = folder / "table.parquet"
    write_table(source, options.rows)
    what = f"{runtime.manifest.origin.title}, {options.rows:,} rows, {os.cpu_count()} cores"
    print(f"{what}, table {source.stat().st_size / 1e6:,.0f} MB\n")
    print("| | rows/s | processor s per million rows | most memory, MB |")
    print("| --- | ---: | ---: | ---: |", flush=True)
    for name, ending in (("a folder of Parquet files", "/"), ("one Parquet file", ".parquet")):
        if ending != "/" and not options.single:
            continue
        output = folder / f"scored{ending.replace('/', '')}"
        broken = not options.whole and ending == "/"
        cost = scored(bundle, source, f"{folder}/scored{ending}", broken, options.rows)
        check(output, source, options.rows, runtime)
        show(f"batch, into {name}", options.rows, cost)
    for threads in (1, len(os.sched_getaffinity(0))):
        rows, cost = bare(runtime, source, threads, options.bare_rows)
        show(f"bare ONNX Runtime, threads: {threads}", rows, cost)


def show(what: str, rows: int, cost: Cost) -> None:
    memory = f"{cost.memory:,.0f}" if cost.memory else ""
    per_million = cost.processor / rows * 1e6
    print(f"| {what} | {rows / cost.seconds:,.0f} | {per_million:.2f} | {memory} |", flush=True)


def write_table(path: Path, rows: int) -> None:
    """Write wine, each number moved by up to 2 %."""
    from sklearn.datasets import load_wine

    from evergreen.data.source_config import SklearnSource
    from evergreen.data.sources import read_source

    frame = read_source(SklearnSource(name="wine")).drop(columns="target")
    values, rng = frame.to_numpy(np.float64), np.random.default_rng(7)
    assert len(values) == len(load_wine().data)
    schema = pa.schema([(name, pa.float64()) for name in frame.columns])
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for start in range(0, rows, GROUP):
            count = min(GROUP, rows - start)
            part = values[rng.integers(0, len(values), count)]
            part = part * rng.uniform(0.98, 1.02, part.shape)
            writer.write_table(pa.table(list(part.T), schema=schema))


@dataclass
class Cost:
    seconds: float = 0.0
    processor: float = 0.0  # seconds, of all threads
    memory: float = 0.0  # MB, the most


def scored(bundle: Path, source: Path, output: str, broken: bool, rows: int) -> Cost:
    """Score in processes of their own, the first of which may be killed on its way."""
    command = [sys.executable, "-c", SCORE, str(bundle), str(source), output]
    staged = Path(output.rstrip("/"))
    journal = staged.with_name(f".{staged.name}.batch") / "journal.jsonl"
    cost = Cost()
    for attempt in range(2 if broken else 1):
        started = time.monotonic()
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
        watch = Watch(process.pid)
        if broken and attempt == 0:
            half = rows // CHUNK_ROWS // 2
            while not (journal.exists() and journal.read_bytes().count(b"\n") >= half):
                assert process.poll() is None, "it ended before it could be killed"
                time.sleep(0.01)
            process.send_signal(signal.SIGKILL)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        killed = broken and attempt == 0
        assert process.returncode == (-signal.SIGKILL if killed else 0)
        assert staged.exists() is not killed
        cost.seconds += time.monotonic() - started
        cost.processor += used.ru_utime + used.ru_stime
        cost.memory = max(cost.memory, watch.stop())
    return cost


class Watch:
    """Looks at the resident memory of a process and its children."""

    def __init__(self, pid: int) -> None:
        self._process, self._most, self._over = psutil.Process(pid), 0, threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self) -> None:
        while not self._over.wait(0.05):
            try:
                tree = [self._process, *self._process.children(recursive=True)]
                self._most = max(self._most, sum(one.memory_info().rss for one in tree))
            except psutil.NoSuchProcess:
                continue

    def stop(self) -> float:
        self._over.set()
        self._thread.join()
        return self._most / 1e6


def check(output: Path, source: Path, rows: int, runtime) -> None:
    """Every row is there once, in order, and the first ones have the model's answers."""
    seen = 0
    files = sorted(output.glob("*.parquet")) if output.is_dir() else [output]
    for file in files:
        with pq.ParquetFile(file) as opened:
            for batch in opened.iter_batches(GROUP, columns=["row"]):
                numbers = batch.column(0).to_numpy()
                assert (numbers == np.arange(seen, seen + len(numbers))).all()
                seen += len(numbers)
    assert seen == rows, (seen, rows)
    with pq.ParquetFile(source) as opened:
        first = next(opened.iter_batches(1000))
    answers = runtime.predict(
        {name: first.column(name).to_numpy() for name in first.schema.names}
    ).predictions
    with pq.ParquetFile(files[0]) as opened:
        found = next(opened.iter_batches(1000, columns=["prediction"])).column(0).to_pylist()
    assert found == answers.tolist()


def bare(runtime, source: Path, threads: int, most: int) -> tuple[int, Cost]:
    """Feed the session alone, 8,192 rows at a time; return how many rows, and what they cost."""
    from evergreen.promotion.graph_part import MODEL_ONNX
    from evergreen.serving.onnx_model import CHUNK, new_session

    session = new_session((runtime.bundle.folder / MODEL_ONNX).read_bytes())
    name = session.get_inputs()[0].name
    columns = runtime._model().columns
    rows, cost = 0, Cost()

    def feed(part: np.ndarray) -> None:
        session.run(None, {name: part})

    with pq.ParquetFile(source) as opened, ThreadPoolExecutor(threads) as pool:
        for batch in opened.iter_batches(GROUP, columns=columns):
            matrix = np.column_stack([batch.column(name).to_numpy() for name in columns])
            parts = [matrix[at : at + CHUNK] for at in range(0, len(matrix), CHUNK)]
            started, used = time.monotonic(), time.process_time()
            list(pool.map(feed, parts))
            cost.seconds += time.monotonic() - started
            cost.processor += time.process_time() - used
            rows += len(matrix)
            if rows >= most:
                break
    return rows, cost


if __name__ == "__main__":
    main()
