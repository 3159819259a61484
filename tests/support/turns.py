"""A small use case whose truth can be turned round, and a log of what came true."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

from evergreen.serving.prediction_log import PredictionLog
from evergreen.serving.records import PredictionRecord

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


def ago(**span: int) -> datetime:
    """Return a moment so long ago."""
    return datetime.now(UTC) - timedelta(**span)
