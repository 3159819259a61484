"""A small fitted model with columns of every type, and the bundle of it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.pipeline import Pipeline

from evergreen.config import EncodeConfig, FeaturesConfig, Task
from evergreen.data.conform import conform, model_frame, target_values
from evergreen.data.contract import Column, Contract
from evergreen.features import build_features
from evergreen.monitoring.profile import make_profile
from evergreen.promotion.bundle import Bundle, Figures, Origin, write_bundle
from evergreen.provenance import environment
from evergreen.training.candidates import BY_NAME, make_estimator
from evergreen.training.predictions import predict
from evergreen.training.results import Interval, PredictionInterval

ROWS = 120


def small_contract(task: Task = "classification", use_case: str = "boats") -> Contract:
    """Return the contract of `small_table`: odd column names, every type, a timestamp."""
    target = "category" if task == "classification" else "number"
    return Contract(
        use_case=use_case,
        task=task,
        target="wind",
        labels=("calm", "gale", "storm") if task == "classification" else None,
        columns=(
            Column(name="seen", type="timestamp", role="timestamp", nullable=False),
            Column(name="mast / height", type="number", role="feature", nullable=True, unit="m"),
            Column(name="crew", type="integer", role="feature", nullable=False),
            Column(name="licensed", type="boolean", role="feature", nullable=False),
            Column(name="harbour", type="category", role="feature", nullable=True),
            Column(name="built", type="timestamp", role="feature", nullable=True),
            Column(name="wind", type=target, role="target", nullable=False),
        ),
    )


def small_table(task: Task = "classification", seed: int = 7, rows: int = ROWS) -> pd.DataFrame:
    """Return a conformed table."""
    rng = np.random.default_rng(seed)
    height = rng.normal(10, 3, rows)
    crew = rng.integers(1, 9, rows)
    classes = np.array(["calm", "gale", "storm"], dtype=object)
    frame = pd.DataFrame(
        {
            "seen": pd.date_range("2026-01-01", periods=rows, freq="h"),
            "mast / height": np.where(rng.random(rows) < 0.1, np.nan, height),
            "crew": crew,
            "licensed": rng.random(rows) < 0.5,
            "harbour": rng.choice(np.array(["Åbo", "Kiel", None], dtype=object), rows),
            "built": pd.date_range("1990-01-01", periods=rows, freq="37D"),
            "wind": classes[crew % 3] if task == "classification" else height * 2 + crew,
        }
    )
    return conform(frame, small_contract(task))


def small_model(
    task: Task = "classification", candidate: str = "decision_tree", seed: int = 7
) -> Pipeline:
    """Return a fitted pipeline of the kind that training makes."""
    contract, frame = small_contract(task), small_table(task, seed)
    chosen = BY_NAME[candidate]
    features = build_features(
        contract,
        FeaturesConfig(derive={"per_head": "`mast / height` / crew"}, encode=EncodeConfig()),
        scale=chosen.scale,
        seed=1,
    )
    estimator = make_estimator(chosen, task, {}, seed=1, balance=False, threads=1)
    model = Pipeline([("features", features), ("estimator", estimator)])
    return model.fit(model_frame(frame, contract), target_values(frame, contract))


def write_small_bundle(
    folder: Path,
    task: Task = "classification",
    candidate: str = "decision_tree",
    *,
    training_key: str = "key-1",
    seed: int = 7,
    use_case: str = "boats",
    **changed: Any,
) -> Bundle:
    """Write the bundle of `small_model` with plausible surroundings."""
    model = changed.pop("model", None) or small_model(task, candidate, seed)
    contract, frame = small_contract(task, use_case), small_table(task, seed)
    metric = "accuracy" if task == "classification" else "rmse"
    parts: dict[str, Any] = {
        "model": model,
        "contract": contract,
        "profile": make_profile(frame, contract, predict(model, frame, contract)),
        "figures": Figures(
            metric=metric,
            rows=len(frame),
            confidence=0.95,
            metrics={metric: Interval(estimate=0.9, low=0.8, high=0.95)},
            prediction_interval=None
            if task == "classification"
            else PredictionInterval(confidence=0.9, half_width=1.5, rows=40),
        ),
        "card": "# Boats\n\nPredicts the wind.\n",
        "inputs": model_frame(frame, contract),
        "origin": Origin(
            candidate=candidate,
            title=BY_NAME[candidate].title,
            params={"max_depth": 3},
            training_key=training_key,
            data_fingerprint="f" * 64,
            data_source="boats.csv",
            rows=len(frame),
        ),
        "environment": environment(),
        "created": datetime(2026, 5, 1, tzinfo=UTC),
    }
    return write_bundle(folder, **{**parts, **changed})
