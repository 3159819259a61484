"""Boats as a service sees them: a bundle that they fit, windows of them, and a filled log."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from evergreen.config import UseCase
from evergreen.data.conform import conform, model_frame
from evergreen.data.contract import Contract
from evergreen.monitoring.profile import make_profile
from evergreen.promotion.bundle import Bundle
from evergreen.serving.prediction_log import PredictionLog
from evergreen.serving.records import FeedbackRecord, PredictionRecord
from evergreen.serving.runtime import Runtime
from evergreen.training.predictions import predict
from tests.support.models import small_contract, small_model, write_small_bundle

CLASSES = np.array(["calm", "gale", "storm"], dtype=object)
DATES = pd.date_range("1990-01-01", periods=4000, freq="1D")


def boats(rows: int, seed: int, *, mast: float = 0.0, wrong: float = 0.0) -> pd.DataFrame:
    """Draw boats with their wind; ``mast`` shifts a column, ``wrong`` turns a share of labels."""
    rng = np.random.default_rng(seed)
    crew = rng.integers(1, 9, rows)
    turned = rng.random(rows) < wrong
    return pd.DataFrame(
        {
            "seen": pd.date_range("2026-01-01", periods=rows, freq="s"),
            "mast / height": rng.normal(10 + mast, 3, rows),
            "crew": crew,
            "licensed": rng.random(rows) < 0.5,
            "harbour": rng.choice(np.array(["Åbo", "Kiel", None], dtype=object), rows),
            "built": DATES[rng.integers(0, len(DATES), rows)],
            "wind": CLASSES[(crew + turned) % 3],
        }
    )


def promising_contract() -> Contract:
    """Return a contract that promises masts of at most 100 m, and a crew."""
    contract = small_contract()
    promised = {
        "mast / height": {"maximum": 100.0, "declared": ("maximum",)},
        "crew": {"declared": ("nullable",)},
    }
    columns = [c.model_copy(update=promised.get(c.name, {})) for c in contract.columns]
    return contract.model_copy(update={"columns": tuple(columns)})


def boats_bundle(folder: Path, rows: int = 1500, **changed: Any) -> Bundle:
    """Write a bundle whose reference is of so many boats."""
    contract, model = promising_contract(), small_model()
    table, holdout = conform(boats(rows, 1), contract), conform(boats(500, 2), contract)
    profile = make_profile(table, contract, predict(model, holdout, contract))
    parts = {"contract": contract, "profile": profile, "model": model} | changed
    return write_small_bundle(folder, inputs=model_frame(table.iloc[:200], contract), **parts)


def boats_case(**monitoring: Any) -> UseCase:
    """Return the use case, with a policy."""
    return UseCase.model_validate(
        {
            "name": "boats",
            "task": "classification",
            "data": {"source": "boats.csv", "target": "wind", "timestamp": "seen"},
            "monitoring": monitoring,
        }
    )


class BoatLog:
    """A prediction log in a database, written to as the API does and read once it is in."""

    def __init__(self, url: str, spool: Path, runtime: Runtime) -> None:
        self._url, self._spool, self._runtime = url, spool, runtime

    def add(
        self,
        frame: pd.DataFrame,
        at: datetime,
        *,
        name: str,
        labelled: int = 0,
        version: str = "1",
    ) -> None:
        """Log boats, a millisecond apart; the first ``labelled`` got feedback at once."""
        table = model_frame(frame, self._runtime.contract)
        found = self._runtime.predict({column: table[column].to_numpy() for column in table})
        plain = table.astype(object).where(table.notna(), None)
        plain["built"] = [None if v is None else v.isoformat() for v in plain["built"]]
        self._write(
            PredictionRecord(
                request_id=f"{name}-{row}",
                version=version,
                inputs=inputs,
                prediction=found.predictions[row],
                probabilities=found.probabilities[row].tolist(),
                time=at.timestamp() + row / 1000,
            )
            for row, inputs in enumerate(plain.to_dict("records"))
        )
        if labelled:
            self.label(frame, at, name=name, rows=range(labelled))

    def label(self, frame: pd.DataFrame, at: datetime, *, name: str, rows: range) -> None:
        """Log the true wind of some boats."""
        wind = frame["wind"].tolist()
        self._write(
            FeedbackRecord(request_id=f"{name}-{row}", label=wind[row], time=at.timestamp() + 10)
            for row in rows
        )

    def _write(self, records: Iterable[PredictionRecord | FeedbackRecord]) -> None:
        log = PredictionLog(self._url, "boats", spool=self._spool)
        log.record(list(records))
        log.close()
