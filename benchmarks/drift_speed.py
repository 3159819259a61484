"""What judging one window costs, in time and memory, beside Evidently's preset."""

from __future__ import annotations

import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from drift_data import Model, batch, draw, reference

from evergreen.monitoring.judge import judge_window
from evergreen.monitoring.settings import MonitoringConfig
from evergreen.monitoring.window import WindowCounter

NUMBERS = 35  # and five categories: 40 columns
PART = 250_000


def write_window(path: Path, rows: int, model: Model) -> None:
    """Write a window as Parquet, part by part."""
    rng = np.random.default_rng(9)
    writer = None
    for start in range(0, rows, PART):
        part = batch(draw(rng, min(PART, rows - start), numbers=NUMBERS), model, labelled=False)
        writer = writer or pq.ParquetWriter(path, part.schema, compression="snappy")
        writer.write_batch(part)
    if writer is not None:
        writer.close()


def speed_table(rows: int, evidently: bool) -> str:
    """Return a table of seconds and megabytes."""
    rng = np.random.default_rng(8)
    table = draw(rng, 5000, numbers=NUMBERS)
    model = Model(table)
    profile = reference(table, model, draw(rng, 1250, numbers=NUMBERS))
    lines = [
        "| rows, 40 columns | read from Parquet and judged, s | of it processor time, s | "
        "in memory, judged, s | peak memory of the process, MB |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    with tempfile.TemporaryDirectory() as folder:
        for size in (rows // 10, rows):
            path = Path(folder) / f"{size}.parquet"
            write_window(path, size, model)
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
            wall, cpu, _ = timed(profile, pq.ParquetFile(path).iter_batches(65_536))
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
            memory = _in_memory(profile, path) if size <= 2_000_000 else None
            shown = "" if memory is None else f"{memory:.2f}"
            peaks = f"{peak:,} ({before:,} before)"
            lines.append(f"| {size:,} | {wall:.2f} | {cpu:.2f} | {shown} | {peaks} |")
        if evidently:  # last: it takes memory that would count as ours
            theirs, spent = _evidently(table, path)
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
            name = f"{rows:,}, Evidently's DataDriftPreset"
            lines.append(f"| {name} | | {spent:.1f} | {theirs:.1f} | {peak:,} |")
            lines += [
                "",
                f"Evidently takes {theirs / wall:.0f} times as long as reading and judging",
            ]
            if memory is not None:
                lines[-1] += f", {theirs / memory:.0f} times as long as judging in memory"
            lines[-1] += "."
    return "\n".join(lines)


def timed(profile, batches) -> tuple[float, float, object]:
    """Count and judge; return seconds, processor seconds and the verdict."""
    wall, cpu = time.perf_counter(), time.process_time()
    window = WindowCounter(profile).count(batches)
    verdict = judge_window(profile, window, MonitoringConfig())
    return time.perf_counter() - wall, time.process_time() - cpu, verdict


def _in_memory(profile, path: Path) -> float:
    return timed(profile, [pq.read_table(path)])[0]


def _evidently(table, path: Path) -> tuple[float, float]:
    """Return the seconds, and processor seconds, of its preset on a table in memory."""
    import pandas as pd
    from evidently import Report
    from evidently.presets import DataDriftPreset

    columns = pd.DataFrame(table.columns())
    window = pq.read_table(path, columns=list(columns)).to_pandas()
    wall, cpu = time.perf_counter(), time.process_time()
    Report([DataDriftPreset()]).run(window, columns)
    return time.perf_counter() - wall, time.process_time() - cpu
