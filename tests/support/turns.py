"""A small use case whose truth can be turned round, and a log of what came true."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

from evergreen.serving.prediction_log import PredictionLog
from evergreen.serving.records import PredictionRecord
from evergreen.simulation.traffic import send_traffic

NAME = "orders"


def table(rows: int, seed: int, *, turned: bool = False, noise: bool = False) -> pd.DataFrame:
    """Rows whose label follows ``size`` (turned: its opposite; noise: nothing)."""
    rng = np.random.default_rng(seed)
    size = rng.normal(size=rows)
    sign = size + rng.normal(0, 0.3, rows)
    sign = rng.normal(size=rows) if noise else -sign if turned else sign
    return pd.DataFrame(
        {
            "size": size,
            "kind": rng.choice(["a", "b"], rows),
            "late": np.where(sign > 0, "yes", "no"),
        }
    )


def write_use_case(folder: Path, *more: str) -> Path:
    """Write the use case and its table; return the path of its file."""
    table(400, 1).to_csv(folder / f"{NAME}.csv", index=False)
    path = folder / f"{NAME}.yaml"
    lines = (
        "task: classification",
        f"data: {{source: {folder / NAME}.csv, target: late}}",
        "training: {candidates: [logistic_regression], trials: 1}",
        "evaluation: {bootstrap: 200}",
        *more,
    )
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def log_rows(
    state: Path, rows: pd.DataFrame, start: datetime, *, version: str, wrong: bool = False
) -> datetime:
    """Log a version's predictions of rows with their true labels, one a second; return the end.

    ``wrong`` tells whether the version gave the opposite of what came true.
    """
    log = PredictionLog(f"sqlite:///{state / 'predictions.db'}", NAME, spool=state / "test-spool")
    opposite = {"yes": "no", "no": "yes"}
    moment = start
    for number, row in enumerate(rows.to_dict("records")):
        label = str(row.pop("late"))
        said = opposite[label] if wrong else label
        name = f"v{version}-{start:%H%M%S%f}-{number:05}"
        sure = 0.9 if said == "yes" else 0.1
        log.record(
            [
                PredictionRecord(
                    request_id=name,
                    model=NAME,
                    version=version,
                    inputs={str(key): value for key, value in row.items()},
                    prediction=said,
                    probabilities=[1 - sure, sure],
                    time=moment.timestamp(),
                    arm="champion",
                    latency_ms=1.0,
                )
            ]
        )
        log.feedback(name, label)
        moment += timedelta(seconds=1)
    log.close()
    return moment


def send(url: str, state: Path, rows: pd.DataFrame) -> set[str]:
    """Send rows and their labels to an API, wait for its log; return the versions that answered."""
    before = _labels(state)
    labels = rows["late"].tolist()
    told = send_traffic(url, rows.drop(columns="late").to_dict("records"), labels, delay=0)
    assert (told.answered, told.labelled) == (len(rows), len(rows))
    wait_until(lambda: _labels(state) == before + len(rows))
    return set(told.versions)


def _labels(state: Path) -> int:
    """Return how many logged predictions have a label by now."""
    with closing(sqlite3.connect(state / "predictions.db")) as connection:
        tables = connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'feedback'")
        if not tables.fetchone()[0]:
            return 0
        query = "SELECT count(*) FROM predictions JOIN feedback USING (request_id, request_row)"
        return int(connection.execute(query).fetchone()[0])


def wait_until(happens: Callable[[], bool], timeout: float = 120) -> None:
    """Wait for something that another process does."""
    deadline = time.monotonic() + timeout
    while not happens():
        assert time.monotonic() < deadline, "did not happen"
        time.sleep(0.05)


def ago(**span: int) -> datetime:
    """Return a moment so long ago."""
    return datetime.now(UTC) - timedelta(**span)
