"""Predictions, and the truth where it is known, in a window's batches.

Columns: ``evergreen.prediction`` (a label, or a number), ``evergreen.probability.LABEL`` for each
label, and ``evergreen.actual`` (missing where no label came yet).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from evergreen.data.contract import Contract
from evergreen.monitoring.counts import LossSums, PredictionCounts
from evergreen.monitoring.grid import Grid
from evergreen.monitoring.reading import read_levels, read_numbers
from evergreen.monitoring.reference import Comparison
from evergreen.promotion.golden import PREDICTION, PROBABILITY

OUTPUTS: Final = "evergreen."
ACTUAL: Final = "evergreen.actual"

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


def window_batch(
    contract: Contract,
    inputs: Mapping[str, npt.NDArray[Any]],
    *,
    predictions: npt.NDArray[Any] | None = None,
    probabilities: FloatArray | None = None,
    actual: npt.NDArray[Any] | None = None,
) -> pa.RecordBatch:
    """Return plain columns (as the prediction log gives them) as a batch to count.

    ``probabilities`` is n x labels in the contract's order; missing labels are None or NaN.
    """
    columns = {name: _arrow(values) for name, values in inputs.items()}
    text = contract.labels is not None
    if predictions is not None:
        columns[PREDICTION] = _arrow(_written(predictions) if text else predictions)
    if actual is not None:
        columns[ACTUAL] = _arrow(_written(actual) if text else actual)
    if probabilities is not None:
        for place, label in enumerate(contract.labels or ()):
            columns[f"{PROBABILITY}{label}"] = pa.array(probabilities[:, place])
    return pa.RecordBatch.from_pydict(columns)


class PredictionCounter:
    """Counts predictions by what the reference knows of them."""

    def __init__(self, comparison: Comparison) -> None:
        reference = comparison.predictions
        self._labels = reference.labels
        self._grids: dict[str, Grid] = {n: g.grid() for n, g in reference.probabilities.items()}
        if reference.values is not None:
            self._grids[""] = reference.values.grid()
        self._calibration = comparison.calibration
        self._metric = None if comparison.loss is None else comparison.loss.metric

    def nothing(self) -> PredictionCounts:
        """Return the counts of no rows."""
        edges = self._calibration.edges if self._calibration is not None else None
        return PredictionCounts(
            labels=np.zeros(len(self._labels), np.int64),
            bins={name: np.zeros(grid.bins, np.int64) for name, grid in self._grids.items()},
            sureness=np.zeros(0 if edges is None else len(edges) + 1, np.int64),
        )

    def count(self, batch: pa.RecordBatch) -> PredictionCounts:
        """Count a batch; without a column of predictions there are none."""
        if PREDICTION not in batch.schema.names:
            return self.nothing()
        return self._labelled(batch) if self._labels else self._valued(batch)

    def _valued(self, batch: pa.RecordBatch) -> PredictionCounts:
        values, _ = read_numbers(batch.column(PREDICTION))
        known = np.isfinite(values)
        actual = np.full(len(values), np.nan)
        if ACTUAL in batch.schema.names:
            actual, _ = read_numbers(batch.column(ACTUAL))
        with np.errstate(over="ignore", invalid="ignore"):
            losses = np.abs(values - actual)
        grid = self._grids[""]
        return PredictionCounts(
            rows=int(known.sum()),
            missing=int((~known).sum()),
            labels=np.zeros(0, np.int64),
            bins={"": grid.count(grid.codes(values))},
            loss=LossSums.of(losses[np.isfinite(losses)]),
        )

    def _labelled(self, batch: pa.RecordBatch) -> PredictionCounts:
        predicted = self._codes(batch.column(PREDICTION))
        given = predicted != -1
        probabilities = self._probabilities(batch)
        bins = {name: np.zeros(grid.bins, np.int64) for name, grid in self._grids.items()}
        sureness = self.nothing().sureness
        if probabilities is not None:
            for place, label in enumerate(self._labels):
                if label in self._grids:
                    grid = self._grids[label]
                    bins[label] = grid.count(grid.codes(probabilities[:, place]))
            if self._calibration is not None:
                usable = np.isfinite(probabilities).all(axis=1)
                sureness = sure_bins(probabilities[usable], self._calibration.edges)
        return PredictionCounts(
            rows=int(given.sum()),
            missing=int((~given).sum()),
            unknown=int((predicted == -2).sum()),
            labels=np.bincount(predicted[predicted >= 0], minlength=len(self._labels)),
            bins=bins,
            sureness=sureness,
            loss=self._loss(batch, predicted, probabilities),
        )

    def _loss(
        self, batch: pa.RecordBatch, predicted: IntArray, probabilities: FloatArray | None
    ) -> LossSums:
        if ACTUAL not in batch.schema.names or self._metric is None:
            return LossSums()
        actual = self._codes(batch.column(ACTUAL))
        known = (actual != -1) & (predicted != -1)
        if self._metric == "error_rate":
            return LossSums.of((actual != predicted)[known].astype(np.float64))
        if probabilities is None:
            return LossSums()
        known &= np.isfinite(probabilities).all(axis=1)
        return LossSums.of(brier(probabilities[known], actual[known]))

    def _codes(self, column: pa.Array) -> IntArray:
        """Return label positions; -1 where missing, -2 where the reference does not know it."""
        levels, _ = read_levels(column)
        places = {label: place for place, label in enumerate(self._labels)}
        table = np.array([*(places.get(text, -2) for text in levels.levels), -1], dtype=np.int64)
        return table[levels.positions]

    def _probabilities(self, batch: pa.RecordBatch) -> FloatArray | None:
        names = [f"{PROBABILITY}{label}" for label in self._labels]
        if not self._grids or not set(names) <= set(batch.schema.names):
            return None
        return np.stack([read_numbers(batch.column(name))[0] for name in names], axis=1)


def brier(probabilities: FloatArray, actual: IntArray) -> FloatArray:
    """Return each row's squared error over all labels (0 to 2; Brier, 1950).

    An unknown label (-2) is one that got no probability. Bounded, so that a single sure mistake
    does not decide over a window as it would with the logarithmic loss.
    """
    squares = np.einsum("ij,ij->i", probabilities, probabilities)
    own = probabilities[np.arange(len(actual)), np.maximum(actual, 0)]
    return np.asarray(squares + 1 - 2 * np.where(actual >= 0, own, 0.0), dtype=np.float64)


def sure_bins(probabilities: FloatArray, edges: tuple[float, ...]) -> IntArray:
    """Count rows by their greatest probability."""
    places = np.searchsorted(edges, probabilities.max(axis=1), side="right")
    return np.bincount(places, minlength=len(edges) + 1).astype(np.int64)


def _written(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    given = values.tolist()
    if set(map(type, given)) <= {str, type(None)}:
        return values
    plain = [None if _absent(value) else str(value) for value in given]
    written = np.empty(len(plain), dtype=object)
    written[:] = plain
    return written


def _absent(value: Any) -> bool:
    return value is None or value != value  # noqa: PLR0124  (NaN)


def _arrow(values: npt.NDArray[Any]) -> pa.Array:
    if values.dtype != object:
        return pa.array(values)
    try:
        return pa.array(values, from_pandas=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError):  # values of several types
        return pa.array([None if _absent(v) else str(v) for v in values.tolist()], pa.string())
