"""A history of monitored windows, made by running the core on generated deliveries.

Until `CHANGE` nothing changes. From then on distances are longer and an hour's traffic counts more,
so a column drifts and the model becomes worse; a retraining on what came since then mends both.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from evergreen.data.contract import Column, Contract
from evergreen.monitoring.counts import LossSums
from evergreen.monitoring.decision import Decision, Outcome, WindowLoss, decide
from evergreen.monitoring.history import MonitoredWindow, MonitoringHistory, ObservedWindow
from evergreen.monitoring.judge import judge_window
from evergreen.monitoring.outputs import window_batch
from evergreen.monitoring.profile import Profile, make_profile
from evergreen.monitoring.settings import MonitoringConfig, RetrainConfig
from evergreen.monitoring.window import WindowCounter
from evergreen.training.predictions import Predictions

LABELS = ("no", "yes")
CHANGE = 12  # the first window after the change
ROWS = 500
BEGIN = datetime(2026, 3, 2, 6, tzinfo=UTC)
EVERY = timedelta(hours=6)
NUMBERS = ("distance_km", "weight_kg", "items", "hour", "price")
CATEGORIES = ("weather", "vehicle")
CONFIG = MonitoringConfig(
    retrain=RetrainConfig(min_rows=1000, growth=20), guard=timedelta(days=2), cool_down=6
)


def contract() -> Contract:
    """Return the contract of the deliveries."""
    kinds = dict.fromkeys(NUMBERS, "number") | dict.fromkeys(CATEGORIES, "category")
    features = [Column(name=n, type=t, role="feature", nullable=True) for n, t in kinds.items()]
    target = Column(name="late", type="category", role="target", nullable=False)
    return Contract(
        use_case="deliveries",
        task="classification",
        target="late",
        labels=LABELS,
        columns=(*features, target),
    )


def deliveries(rng: np.random.Generator, rows: int, *, changed: bool = False) -> dict[str, Any]:
    """Draw rows and whether they were late (``actual``)."""
    distance = rng.lognormal(1.45 if changed else 1.0, 0.6, rows)
    hour = rng.integers(7, 22, rows).astype(float)
    weather = rng.choice(["dry", "rain", "snow"], rows, p=[0.7, 0.25, 0.05])
    weight = rng.gamma(2.0, 1.5, rows)
    rush = np.exp(-((hour - 17) ** 2) / 8)
    score = 1.6 * np.log(distance) + 1.2 * (weather != "dry") - 2.2
    score += (3.2 * rush - 1.6) if changed else 0.8 * rush
    columns = {
        "distance_km": distance,
        "weight_kg": np.where(rng.random(rows) < 0.04, np.nan, weight),
        "items": rng.integers(1, 9, rows).astype(float),
        "hour": hour,
        "price": 3 + 0.8 * weight + rng.normal(0, 1, rows),
        "weather": weather.astype(object),
        "vehicle": rng.choice(["bike", "scooter", "van"], rows).astype(object),
    }
    late = rng.random(rows) < 1 / (1 + np.exp(-score))
    return {"columns": columns, "actual": np.array(LABELS, dtype=object)[late.astype(int)]}


class Model:
    """A model and its reference profile."""

    def __init__(self, drawn: Sequence[dict[str, Any]], version: str) -> None:
        table = pd.concat([pd.DataFrame(d["columns"]) for d in drawn], ignore_index=True)
        actual = np.concatenate([d["actual"] for d in drawn])
        cut = int(0.7 * len(table))
        self.version = version
        self.pipeline = make_pipeline(
            make_column_transformer(
                (StandardScaler(), list(NUMBERS)), (OneHotEncoder(), list(CATEGORIES))
            ),
            LogisticRegression(),
        )
        self.pipeline.fit(table[:cut].fillna(3.0), actual[:cut])
        probabilities = self.pipeline.predict_proba(table[cut:].fillna(3.0))
        self.profile: Profile = make_profile(
            table,
            contract(),
            Predictions(
                actual=actual[cut:],
                predicted=_labels(probabilities),
                probabilities=probabilities,
                labels=LABELS,
            ),
        )

    def probabilities(self, columns: dict[str, Any]) -> np.ndarray:
        """Return n x 2 probabilities."""
        return self.pipeline.predict_proba(pd.DataFrame(columns).fillna(3.0))


def make_history(
    url: str,
    windows: int = 22,
    *,
    outcome: Outcome | None = "promoted",
    labelled: float = 0.8,
    unlabelled_before: int = 0,
    config: MonitoringConfig = CONFIG,
    seed: int = 5,
) -> tuple[MonitoredWindow, ...]:
    """Monitor and retrain; return what the history at ``url`` holds then, the newest first.

    ``labelled`` of the rows get their truth, none of the first ``unlabelled_before`` windows.
    ``outcome`` is that of a retraining; None: nobody retrains.
    """
    rng = np.random.default_rng(seed)
    history = MonitoringHistory(url)
    model = Model([deliveries(rng, 4000)], "1")
    seen: list[tuple[datetime, dict[str, Any]]] = []
    for place in range(windows):
        drawn = deliveries(rng, ROWS, changed=place >= CHANGE)
        end = BEGIN + place * EVERY
        known = 0.0 if place < unlabelled_before else labelled
        observed = _observe(model, drawn, rng, known, end, config)
        decision = decide(observed.verdict, config, history.policy_history(observed), end)
        recorded = history.record(observed, decision)
        seen.append((end, drawn))
        if decision.action == "retrain" and outcome is not None and recorded.id is not None:
            version = str(int(model.version) + 1) if outcome == "promoted" else None
            history.record_turn(recorded.id, "started")
            history.record_turn(recorded.id, outcome, version=version)
            if version is not None:
                model = Model(_chosen(seen, decision), version)
    found = history.windows("deliveries")
    history.close()
    return found


def _observe(
    model: Model,
    drawn: dict[str, Any],
    rng: np.random.Generator,
    known: float,
    end: datetime,
    config: MonitoringConfig,
) -> ObservedWindow:
    actual = drawn["actual"].copy()
    actual[rng.random(ROWS) >= known] = None
    probabilities = model.probabilities(drawn["columns"])
    batch = window_batch(
        contract(),
        drawn["columns"],
        predictions=_labels(probabilities),
        probabilities=probabilities,
        actual=actual,
    )
    window = WindowCounter(model.profile).count([batch])
    losses: LossSums = window.predictions.loss
    return ObservedWindow(
        use_case="deliveries",
        version=model.version,
        source="log",
        place="sqlite:////data/predictions.db",
        first=end - EVERY + timedelta(minutes=1),
        last=end,
        rows=ROWS,
        loss=WindowLoss(rows=losses.rows, total=losses.total, squares=losses.squares),
        verdict=judge_window(model.profile, window, config),
        seconds=0.2,
    )


def _chosen(
    seen: Sequence[tuple[datetime, dict[str, Any]]], decision: Decision
) -> list[dict[str, Any]]:
    since = decision.training.since if decision.training is not None else None
    return [drawn for end, drawn in seen if since is None or end > since]


def _labels(probabilities: np.ndarray) -> np.ndarray:
    return np.array(LABELS, dtype=object)[probabilities.argmax(axis=1)]
