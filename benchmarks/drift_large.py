"""A table larger than memory, judged as `run.py --pipeline monitor --window FILE` judges it.

    python benchmarks/drift_large.py [--rows 10000000,100000000] [--folder /var/tmp]
                                     [--write docs/monitoring.md]

Writes 40 columns as Parquet in groups of a million rows, has a champion's bundle predict and judge
them in a process of its own, and tells its seconds and the most memory that it ever held.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from drift_data import BLOCK, LABELS, Rows, contract, draw

from evergreen.config import EncodeConfig, FeaturesConfig, UseCase
from evergreen.costs import peak_memory
from evergreen.data.conform import conform, model_frame, target_values
from evergreen.features import build_features
from evergreen.monitoring.monitor import conclude, observe
from evergreen.monitoring.profile import make_profile
from evergreen.paths import Home
from evergreen.promotion.bundle import Figures, Origin, write_bundle
from evergreen.provenance import environment
from evergreen.training.candidates import BY_NAME, make_estimator
from evergreen.training.predictions import predict
from evergreen.training.results import Interval

NUMBERS = 35
GROUP = 1_000_000


def use_case(source: Path) -> UseCase:
    """Return the use case that judges a table."""
    return UseCase.model_validate(
        {
            "name": "drift",
            "task": "classification",
            "data": {"source": "drift.csv", "target": "y"},
            "monitoring": {"source": str(source)},
        }
    )


def frame_of(rows: Rows) -> pd.DataFrame:
    """Return rows as a conformed table; numbers have three decimals."""
    columns = {name: _rounded(values) for name, values in rows.columns().items()}
    labels = np.array(LABELS, dtype=object)[rows.truth]
    return conform(pd.DataFrame(columns | {"y": labels}), contract(NUMBERS))


def write_champion(folder: Path) -> None:
    """Write the bundle of a logistic regression on 5,000 rows."""
    rng = np.random.default_rng(8)
    known = contract(NUMBERS)
    table, holdout = (
        frame_of(draw(rng, 5000, numbers=NUMBERS)),
        frame_of(draw(rng, 1250, numbers=NUMBERS)),
    )
    candidate = BY_NAME["logistic_regression"]
    features = build_features(
        known, FeaturesConfig(encode=EncodeConfig()), scale=candidate.scale, seed=1
    )
    estimator = make_estimator(candidate, "classification", {}, seed=1, balance=False, threads=1)
    from sklearn.pipeline import Pipeline

    model = Pipeline([("features", features), ("estimator", estimator)])
    model.fit(model_frame(table, known), target_values(table, known))
    predictions = predict(model, holdout, known)
    accuracy = float((predictions.actual == predictions.predicted).mean())
    write_bundle(
        folder,
        model=model,
        contract=known,
        profile=make_profile(table, known, predictions),
        figures=Figures(
            metric="accuracy",
            rows=len(holdout),
            confidence=0.95,
            metrics={"accuracy": Interval(estimate=accuracy, low=accuracy, high=accuracy)},
            prediction_interval=None,
        ),
        card="# Drift\n",
        inputs=model_frame(table.iloc[:200], known),
        origin=Origin(
            candidate="logistic_regression",
            title=candidate.title,
            params={},
            training_key="benchmark",
            data_fingerprint="f" * 64,
            data_source="drift.csv",
            rows=len(table),
        ),
        environment=environment(),
        created=datetime.now(UTC),
    )


def write_window(path: Path, rows: int) -> None:
    """Write a quiet window group by group.

    A group has the first one's rows with each block of columns shifted against the others: no row
    occurs twice, and drawing a hundred million rows takes no hours.
    """
    rng = np.random.default_rng(9)
    drawn = draw(rng, min(rows, GROUP), numbers=NUMBERS)
    columns = {name: _rounded(values) for name, values in drawn.columns().items()}
    levels = {name: pa.array(columns[name]).dictionary_encode() for name in columns if name < "x"}
    writer = None
    for start in range(0, rows, GROUP):
        count = min(GROUP, rows - start)
        arrays = {}
        for place, (name, values) in enumerate(columns.items()):
            if place % BLOCK == 0:
                shift = int(rng.integers(len(drawn.truth)))
            if name in levels:
                parts = [levels[name].slice(shift), levels[name].slice(0, shift)]
                arrays[name] = pa.concat_arrays(parts)[:count]
            else:
                arrays[name] = pa.array(np.roll(values, -shift)[:count])
        table = pa.table(arrays)
        writer = writer or pq.ParquetWriter(path, table.schema, compression="snappy")
        writer.write_table(table, row_group_size=GROUP)
    if writer is not None:
        writer.close()


def judge(path: Path, bundle: Path, home: Path) -> dict[str, object]:
    """Judge a table as the pipeline's step does, and tell what it took."""
    wall, cpu = time.perf_counter(), time.process_time()
    checked = observe(use_case(path), bundle, "1", Home(home))
    found = conclude(checked.observed, use_case(path), Home(home))
    return {
        "rows": found.rows,
        "action": found.action,
        "reason": found.decision.reasons[0],
        "wall": time.perf_counter() - wall,
        "cpu": time.process_time() - cpu,
        "peak": (peak_memory() or math.nan) / 2**20,
    }


def large_table(sizes: list[int], folder: Path | None) -> str:
    """Return a table of seconds and megabytes."""
    lines = [
        "| rows, 40 columns | Parquet on disk, GB | read, predicted and judged, s | "
        "of it processor time, s | most memory ever held, MB | verdict |",
        "| --- | ---: | ---: | ---: | ---: | --- |",
    ]
    with tempfile.TemporaryDirectory(dir=folder) as place:
        bundle = Path(place) / "bundle"
        write_champion(bundle)
        for size in sizes:
            path = Path(place) / f"{size}.parquet"
            write_window(path, size)
            given = ["--judge", str(path), str(bundle), str(Path(place) / f"home-{size}")]
            answer = subprocess.run(
                [sys.executable, __file__, *given], check=True, stdout=subprocess.PIPE, text=True
            )
            found = json.loads(answer.stdout.splitlines()[-1])
            cells = [
                f"{found['rows']:,}",
                f"{path.stat().st_size / 1e9:.2f}",
                f"{found['wall']:,.0f}",
                f"{found['cpu']:,.0f}",
                f"{found['peak']:,.0f}",
                f"{found['action']}: {found['reason']}",
            ]
            lines.append(f"| {' | '.join(cells)} |")
            print(lines[-1], file=sys.stderr, flush=True)
            path.unlink()
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    from drift import machine, put

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", default="10000000,100000000")
    parser.add_argument("--folder", type=Path, default=None, help="where to put the files")
    parser.add_argument("--write", type=Path, default=None)
    parser.add_argument("--judge", type=Path, nargs=3, default=None, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.judge is not None:
        print(json.dumps(judge(*given.judge)))
        return
    text = large_table([int(rows) for rows in given.rows.split(",")], given.folder)
    text += f"\n\n{machine()}"
    print(text)
    if given.write is not None:
        put(given.write, "drift large", text)


def _rounded(values: np.ndarray) -> np.ndarray:
    return values if values.dtype == object else np.round(values, 3)


if __name__ == "__main__":
    main()
