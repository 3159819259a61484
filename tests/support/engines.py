"""One table for several engines, and the models that they fit on it."""

from __future__ import annotations

import numpy as np
import pandas as pd

from evergreen.config import TrainingConfig, UseCase
from evergreen.data.conform import conform
from evergreen.data.dataset import Dataset
from evergreen.data.engine import Engine
from evergreen.data.infer import infer_contract
from evergreen.training.results import CandidateResult
from evergreen.training.search import fit_candidate

ROWS = 8_000
EXTERNAL = Engine(name="external", reason="the test says so")
TARGETS = ("truth", "kind", "price")


def sales(rows: int = ROWS) -> pd.DataFrame:
    """Return numbers with gaps, a category, a moment, and a target of each kind."""
    random = np.random.default_rng(4)
    a, b = random.normal(size=(2, rows))
    colour = random.choice(["red", "green", "blue"], rows, p=[0.6, 0.3, 0.1])
    value = a + b * (colour == "red") + random.normal(0, 0.5, rows)
    days = pd.Timestamp("2024-01-01") + pd.to_timedelta(random.integers(0, 300, rows), "D")
    return pd.DataFrame(
        {
            "a": np.where(random.random(rows) < 0.05, np.nan, a),
            "b": b,
            "colour": pd.Series(colour, dtype="str"),
            "day": days.as_unit("us"),
            "truth": value > 0,
            "kind": pd.Series(np.select([value < -1, value < 1], ["low", "mid"], "high")),
            "price": value,
        }
    )


def tried(target: str, features: dict | None = None, **data: str) -> UseCase:
    """Return a use case that predicts a target of `sales`; ``data`` is more of that section."""
    return UseCase.model_validate(
        {
            "name": "tried",
            "task": "regression" if target == "price" else "classification",
            "data": {
                "source": "x.csv",
                "target": target,
                "ignore": [name for name in TARGETS if name != target],
                **data,
            },
            "features": features or {},
        }
    )


def prepared(table, target, folder, other=EXTERNAL):
    """Return a use case, its contract, and the same rows for the memory and another engine."""
    use_case = tried(target, features={"derive": {"ratio": "a / b"}})
    contract = infer_contract(table, use_case)
    frame = conform(table, contract)
    sides = [
        Dataset.write(frame, folder / f"{engine.name}.parquet", "rows", engine)
        for engine in (Engine(), other)
    ]
    return use_case, contract, frame, sides


def chosen(name: str, **params: object) -> CandidateResult:
    """Return what a search that chose these parameters gives."""
    return CandidateResult.model_validate(
        {"name": name, "title": name, "params": params, "score": 0.0, "score_std": 0.0}
        | {"fold_scores": (), "rounds": 40 if name == "xgboost" else None, "trials": ()}
        | {"seconds": 0.0}
    )


def fitted(sides, contract, use_case, candidate, **training):
    """Return the models that are fitted on these tables, each by its engine."""
    return [
        fit_candidate(
            side,
            contract,
            candidate,
            features=use_case.features,
            training=TrainingConfig(**training),
            split=use_case.split,
        )
        for side in sides
    ]
