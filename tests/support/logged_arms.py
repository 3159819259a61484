"""A prediction log with rows of champion and challenger, as servers write them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from evergreen.serving.arms import CHALLENGER, CHALLENGER_FAILED, CHAMPION
from evergreen.serving.prediction_log import PredictionLog
from evergreen.serving.records import PredictionRecord

LABELS = ("calm", "gale", "storm")


def answered(
    arm: str,
    rows: int,
    since: datetime,
    *,
    version: str | None = None,
    seed: int = 0,
    fail: float = 0.0,
    slow: float = 1.0,
    labels: Sequence[float] = (0.4, 0.3, 0.3),
    seconds: float = 60.0,
) -> list[PredictionRecord]:
    """Return one request per row, evenly over the seconds after ``since``.

    A request that failed is the champion's, with the flag that says so.
    """
    rng = np.random.default_rng(seed)
    version = version or {CHAMPION: "1", CHALLENGER: "2"}.get(arm, "2")
    return [
        PredictionRecord(
            request_id=f"{arm}-{seed}-{number:05}",
            model="boats",
            version="1" if failed else version,
            inputs={},
            prediction=LABELS[code],
            time=since.timestamp() + seconds * (number + 0.5) / rows,
            arm=CHAMPION if failed else arm,
            flags=(CHALLENGER_FAILED,) if failed else (),
            latency_ms=float(latency),
        )
        for number, (failed, code, latency) in enumerate(
            zip(
                rng.random(rows) < fail,
                rng.choice(3, rows, p=labels),
                slow * rng.lognormal(0, 0.5, rows),
                strict=True,
            )
        )
    ]


def write_log(
    url: str, spool: Path, records: Sequence[PredictionRecord], labels: Sequence[Any] = ()
) -> None:
    """Write records, and the true label of each where there are any."""
    log = PredictionLog(url, "boats", spool=spool)
    log.record(records)
    for record, label in zip(records, labels, strict=False):
        log.feedback(record.request_id, label)
    log.close()
