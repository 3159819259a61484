"""The scenarios of the drift benchmark: tables whose change is known.

30 number columns (six blocks of five with correlation 0.5, every third one log-normal) and five
categories (2, 3, 4, 6 and 10 levels); the target is drawn from a logistic model of six numbers and
one category, which a logistic regression learns.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from evergreen.data.contract import Column, Contract
from evergreen.monitoring.outputs import window_batch
from evergreen.monitoring.profile import Profile, make_profile
from evergreen.training.predictions import Predictions

NUMBERS = 30
BLOCK = 5
LEVELS = (2, 3, 4, 6, 10)
LABELS = ("no", "yes")
# Accuracy of the best model 0.79; with two signs changed it falls to 0.56, with one coefficient
# at zero to 0.74.
COEFFICIENTS = {0: 1.2, 5: 1.0, 11: 0.9, 16: -0.8, 21: 0.8, 26: -0.6}
MILD, SUDDEN = 5, (5, 11)
SCENARIOS = (
    "none",
    *(f"mean_{d}_{k}" for d in ("0.25", "0.5", "1") for k in ("1", "5", "all")),
    "var1.5_1",
    "var1.5_5",
    "newcat_0.01",
    "newcat_0.05",
    "corr",
    "corr_flip",
    "concept_mild",
    "concept",
)

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Rows:
    """n rows: standard normal-like numbers before skewing, levels, and true labels (0 or 1)."""

    numbers: FloatArray
    levels: NDArray[np.int64]
    truth: NDArray[np.int64]

    def columns(self) -> dict[str, NDArray]:
        """Return the feature columns as the contract names them."""
        found: dict[str, NDArray] = {}
        for place in range(self.numbers.shape[1]):
            found[f"x{place:02d}"] = self.numbers[:, place]
        for place in range(self.levels.shape[1]):
            found[f"c{place}"] = NAMES[self.levels[:, place]]
        return found


NAMES = np.array([f"level {place}" for place in range(max(LEVELS))] + ["new"], dtype=object)


def draw(
    rng: np.random.Generator, rows: int, scenario: str = "none", numbers: int = NUMBERS
) -> Rows:
    """Draw rows of a scenario, with ``numbers`` number columns."""
    latent = np.empty((rows, numbers))
    for start in range(0, numbers, BLOCK):
        width = min(BLOCK, numbers - start)
        shared = rng.normal(size=(rows, 1))
        if scenario == "corr" and start < 2 * BLOCK:
            shared = rng.normal(size=(rows, width))
        latent[:, start : start + width] = np.sqrt(0.5) * (shared + rng.normal(size=(rows, width)))
    if scenario == "corr_flip":
        latent[:, 1] = _flipped(rng, rows, latent[:, 0])
    kind, _, rest = scenario.partition("_")
    if kind == "mean":
        size, _, count = rest.partition("_")
        latent[:, _chosen(count, numbers)] += float(size)
    elif kind == "var1.5":
        latent[:, _chosen(rest, numbers)] *= 1.5
    levels = np.stack([rng.integers(0, count, rows) for count in LEVELS], axis=1)
    logit = concept(latent, levels, scenario)
    truth = (rng.random(rows) < 1 / (1 + np.exp(-logit))).astype(np.int64)
    if kind == "newcat":
        levels[rng.random(rows) < float(rest), 2] = max(LEVELS)
    shown = latent.copy()
    shown[:, 2::3] = np.exp(shown[:, 2::3])
    return Rows(shown, levels, truth)


def concept(latent: FloatArray, levels: NDArray[np.int64], scenario: str) -> FloatArray:
    """Return each row's log-odds."""
    weights = np.zeros(latent.shape[1])
    for place, weight in COEFFICIENTS.items():
        if place < len(weights):
            weights[place] = weight
    if scenario == "concept":
        for place in SUDDEN:
            weights[place] *= -1
    if scenario == "concept_mild":
        weights[MILD] = 0
    return latent @ weights + 0.5 * (levels[:, 1] == 0) - 0.17


def contract(numbers: int = NUMBERS) -> Contract:
    """Return the contract of the tables."""
    features = [
        Column(name=f"x{place:02d}", type="number", role="feature", nullable=False)
        for place in range(numbers)
    ]
    features += [
        Column(name=f"c{place}", type="category", role="feature", nullable=False)
        for place in range(len(LEVELS))
    ]
    target = Column(name="y", type="category", role="target", nullable=False)
    return Contract(
        use_case="drift",
        task="classification",
        target="y",
        labels=LABELS,
        columns=(*features, target),
    )


class Model:
    """A logistic regression on all columns; good enough to have a loss that can rise."""

    def __init__(self, rows: Rows) -> None:
        from sklearn.linear_model import LogisticRegression

        self._model = LogisticRegression(C=0.1, max_iter=300, tol=1e-3)
        self._model.fit(_features(rows), rows.truth)

    def probabilities(self, rows: Rows) -> FloatArray:
        """Return n x 2 probabilities."""
        return np.asarray(self._model.predict_proba(_features(rows)))

    def accuracy(self, rows: Rows) -> float:
        """Return the share of right answers."""
        return float((self.probabilities(rows).argmax(axis=1) == rows.truth).mean())


def reference(table: Rows, model: Model, holdout: Rows) -> Profile:
    """Return the profile that a training would have made."""
    import pandas as pd

    numbers = table.numbers.shape[1]
    probabilities = model.probabilities(holdout)
    names = np.array(LABELS, dtype=object)
    predictions = Predictions(
        actual=names[holdout.truth],
        predicted=names[probabilities.argmax(axis=1)],
        probabilities=probabilities,
        labels=LABELS,
    )
    return make_profile(pd.DataFrame(table.columns()), contract(numbers), predictions)


def batch(rows: Rows, model: Model, *, labelled: bool = True) -> pa.RecordBatch:
    """Return a window as a monitor sees it: inputs, predictions, and labels where they came."""
    probabilities = model.probabilities(rows)
    names = np.array(LABELS, dtype=object)
    return window_batch(
        contract(rows.numbers.shape[1]),
        rows.columns(),
        predictions=names[probabilities.argmax(axis=1)],
        probabilities=probabilities,
        actual=names[rows.truth] if labelled else None,
    )


def _features(rows: Rows) -> FloatArray:
    numbers = rows.numbers.copy()
    numbers[:, 2::3] = np.log(numbers[:, 2::3])
    levels = [rows.levels[:, [place]] == np.arange(count) for place, count in enumerate(LEVELS)]
    return np.hstack([numbers, *levels])


def _chosen(count: str, numbers: int) -> NDArray[np.int64]:
    """Return the columns that change: one of each block before a second one of any."""
    order = np.argsort(np.arange(numbers) % BLOCK, kind="stable")
    return order if count == "all" else order[: int(count)]


def _flipped(rng: np.random.Generator, rows: int, other: FloatArray) -> FloatArray:
    return -0.5 * other + np.sqrt(0.75) * rng.normal(size=rows)
