"""A small table with a known model, its reference profile, and windows of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from evergreen.data.contract import Column, Contract
from evergreen.monitoring.outputs import window_batch
from evergreen.monitoring.profile import Profile, make_profile
from evergreen.training.predictions import Predictions

LABELS = ("no", "yes")
COLOURS = np.array(["blue", "green", "red"], dtype=object)


def orders_contract() -> Contract:
    """Return a contract of two related numbers, a date, a category and a flag."""
    kinds = {"price": "number", "weight": "number", "size": "number", "made": "timestamp"}
    kinds |= {"colour": "category", "gift": "boolean"}
    features = [Column(name=n, type=t, role="feature", nullable=True) for n, t in kinds.items()]
    target = Column(name="late", type="category", role="target", nullable=False)
    return Contract(
        use_case="orders",
        task="classification",
        target="late",
        labels=LABELS,
        columns=(*features, target),
    )


def orders(
    rows: int, seed: int, *, shift: float = 0.0, correlation: float = 0.7, flipped: bool = False
) -> dict[str, Any]:
    """Draw columns, probabilities of the true model before ``flipped``, and true labels."""
    rng = np.random.default_rng(seed)
    price = rng.normal(size=rows)
    weight = correlation * price + np.sqrt(1 - correlation**2) * rng.normal(size=rows)
    days = rng.integers(0, 3000, rows).astype("timedelta64[D]")
    columns = {
        "price": price + shift,
        "weight": np.exp(weight),
        "size": np.where(rng.random(rows) < 0.1, np.nan, rng.integers(1, 9, rows)),
        "made": np.datetime64("2020-01-01", "us") + days,
        "colour": COLOURS[rng.integers(0, 3, rows)],
        "gift": (rng.random(rows) < 0.3).astype(np.float64),
    }
    positive = 1 / (1 + np.exp(-1.5 * price))
    truth = rng.random(rows) < (1 - positive if flipped else positive)
    return {
        "columns": columns,
        "probabilities": np.stack([1 - positive, positive], axis=1),
        "actual": np.array(LABELS, dtype=object)[truth.astype(int)],
    }


def orders_profile(rows: int = 2000, seed: int = 1) -> Profile:
    """Return the profile that a training would have made."""
    table, holdout = orders(rows, seed), orders(800, seed + 1000)
    predictions = Predictions(
        actual=holdout["actual"],
        predicted=_labels(holdout["probabilities"]),
        probabilities=holdout["probabilities"],
        labels=LABELS,
    )
    return make_profile(pd.DataFrame(table["columns"]), orders_contract(), predictions)


def orders_batch(
    rows: int, seed: int, *, labelled: bool = True, change: dict[str, Any] | None = None, **how: Any
) -> pa.RecordBatch:
    """Return a window; ``change`` replaces columns."""
    drawn = orders(rows, seed, **how)
    return window_batch(
        orders_contract(),
        drawn["columns"] | (change or {}),
        predictions=_labels(drawn["probabilities"]),
        probabilities=drawn["probabilities"],
        actual=drawn["actual"] if labelled else None,
    )


def _labels(probabilities: np.ndarray) -> np.ndarray:
    return np.array(LABELS, dtype=object)[probabilities.argmax(axis=1)]
