"""Making what windows are compared with, from the table that a model was trained on.

The same code counts windows later, so that a reference and a window differ in nothing but rows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from evergreen.monitoring.encoding import ColumnEncoder, ScoreTable
from evergreen.monitoring.grid import CodeArray, Grid, quantiles
from evergreen.monitoring.outputs import brier, sure_bins
from evergreen.monitoring.packed import Packed
from evergreen.monitoring.reading import mixed
from evergreen.monitoring.reference import (
    Calibration,
    ColumnReference,
    Comparison,
    GridReference,
    LossReference,
    PredictionReference,
    Sample,
    Structure,
    comparison_of,
)
from evergreen.monitoring.sample import RowSample
from evergreen.monitoring.scores import ScoreSums, fisher_spread
from evergreen.monitoring.window import reconstruction_errors

if TYPE_CHECKING:
    from evergreen.monitoring.profile import ColumnProfile, Profile
    from evergreen.training.predictions import Predictions

FloatArray = npt.NDArray[np.float64]

EXPLAINED = 0.65  # share of the variance that the principal components keep
SURE_BINS = 10
MIN_ERRORS = 50  # rows without which the reconstruction error has no reference


def make_comparison(
    table: Mapping[str, pa.Array], columns: Sequence[ColumnProfile], predictions: Predictions
) -> Comparison:
    """Make the reference of later windows.

    ``table`` holds the feature columns, ``columns`` their plain profiles; the predictions are of
    rows that the model was not fitted on, where there are such.
    """
    references = []
    encoders = []
    codes: list[CodeArray] = []
    rows = len(next(iter(table.values()))) if table else 0
    hashes = np.zeros(rows, dtype=np.uint64)
    for column in columns:
        empty = ColumnEncoder(_plain(column))
        encoded = empty.encode(table[column.name])
        reference = _counted(empty, encoded.counts.bins)
        references.append(reference)
        encoders.append(ColumnEncoder(reference))
        codes.append(encoded.codes)
        hashes = mixed(hashes, encoded.bits)
    sample = RowSample.of(hashes, codes, None)
    made: dict[str, Any] = {
        "rows": rows,
        "columns": tuple(references),
        "structure": _structure(encoders, codes),
        "sample": Sample(codes=Packed.of(sample.codes), copies=Packed.of(sample.copies)),
        "duplicates": sample.duplicates,
        **_outputs(predictions),
    }
    return Comparison(key=_key(made), **made)


def accept_drift(
    reference: Profile,
    table: Mapping[str, pa.Array],
    columns: Sequence[ColumnProfile],
    predictions: Predictions,
) -> Profile:
    """Return the reference with the data of newer rows: drift that was looked into and accepted.

    What the model promised stays: losses and calibration are those of its holdout, so that
    accepting new inputs never hides that the model became worse.
    """
    old = comparison_of(reference)
    new = make_comparison(table, columns, predictions)
    kept = new.model_copy(update={"loss": old.loss, "calibration": old.calibration})
    made = {name: getattr(kept, name) for name in Comparison.model_fields if name != "key"}
    comparison = kept.model_copy(update={"key": _key(made)})
    return reference.model_copy(
        update={"rows": new.rows, "columns": tuple(columns), "comparison": comparison}
    )


def grid_of(values: FloatArray) -> Grid:
    """Return the grid of finite values: their quantiles, with counts."""
    ordered = np.sort(values[np.isfinite(values)])
    grid = Grid(np.unique(quantiles(ordered)))
    return Grid(grid.points, grid.count(grid.codes(ordered)))


def _plain(column: ColumnProfile) -> ColumnReference:
    """Return a column's reference before its bins are counted."""
    shared: dict[str, Any] = {"name": column.name, "kind": column.kind, "rows": column.rows}
    if column.category is not None:
        category = column.category
        return ColumnReference(
            **shared,
            missing=column.rows - category.count,
            levels=tuple(category.levels),
            level_rows=tuple(category.levels.values()),
            other_rows=category.other_rows,
            singletons=sum(rows == 1 for rows in category.levels.values()),
        )
    number = column.number
    assert number is not None  # noqa: S101  (one of the two is there)
    points = np.unique(np.array(number.quantiles, dtype=np.float64))
    return ColumnReference(
        **shared,
        missing=column.rows - number.count,
        mean=number.mean or 0.0,
        deviation=number.deviation or 0.0,
        grid=GridReference.of(Grid(points)),
    )


def _counted(encoder: ColumnEncoder, bins: npt.NDArray[np.int64]) -> ColumnReference:
    if encoder.grid is None:
        return encoder.reference
    grid = GridReference(points=Packed.of(encoder.grid.points), counts=Packed.of(bins))
    return encoder.reference.model_copy(update={"grid": grid})


def _structure(encoders: Sequence[ColumnEncoder], codes: Sequence[CodeArray]) -> Structure | None:
    varied = [
        place
        for place, encoder in enumerate(encoders)
        if encoder.grid is not None and len(encoder.grid.points) > 1
    ]
    if len(varied) < 2:
        return None
    table = ScoreTable([encoders[place] for place in varied])
    scores, present = table.scores([codes[place] for place in varied])
    sums = ScoreSums.of(scores, present)
    correlations = sums.correlations()
    with np.errstate(divide="ignore", invalid="ignore"):
        own = np.diag(sums.rows)
        centre = np.nan_to_num(np.diag(sums.first) / own)
        variance = np.nan_to_num(np.diag(sums.square) / own) - centre**2
    scale = np.where(variance > 1e-6, np.sqrt(np.maximum(variance, 1e-6)), 1.0)
    middle, spread = centre.astype(np.float32), scale.astype(np.float32)
    components, errors = _reconstruction(scores, present, middle, spread)
    return Structure(
        columns=tuple(encoders[place].reference.name for place in varied),
        correlations=Packed.of(correlations.astype(np.float32)),
        rows=Packed.of(sums.rows.astype(np.int64)),
        spread=Packed.of(fisher_spread(scores, present, correlations).astype(np.float32)),
        centre=Packed.of(middle),
        scale=Packed.of(spread),
        components=components,
        errors=errors,
    )


def _reconstruction(
    scores: npt.NDArray[np.float32],
    present: npt.NDArray[np.bool_] | None,
    centre: npt.NDArray[np.float32],
    scale: npt.NDArray[np.float32],
) -> tuple[Packed | None, GridReference | None]:
    """Fit principal components on every other row; measure the errors on the rest."""
    fit, rest = slice(0, None, 2), slice(1, None, 2)
    if len(scores) < 2 * MIN_ERRORS:
        return None, None
    part = ScoreSums.of(scores[fit], None if present is None else present[fit])
    matrix = np.nan_to_num(part.correlations())
    values, vectors = np.linalg.eigh(matrix)
    order = np.argsort(values)[::-1]
    share = np.cumsum(np.maximum(values[order], 0)) / max(np.maximum(values, 0).sum(), 1e-12)
    kept = min(int(np.searchsorted(share, EXPLAINED)) + 1, len(order) - 1)
    components = vectors[:, order[:kept]].astype(np.float32)
    errors = reconstruction_errors(
        scores[rest], None if present is None else present[rest], centre, scale, components
    )
    return Packed.of(components), GridReference.of(grid_of(errors))


def _outputs(predictions: Predictions) -> dict[str, Any]:
    rows = len(predictions)
    if predictions.labels is None:
        values = np.asarray(predictions.predicted, dtype=np.float64)
        losses = np.abs(values - np.asarray(predictions.actual, dtype=np.float64))
        made = PredictionReference(rows=rows, values=GridReference.of(grid_of(values)))
        return {"predictions": made, "loss": _loss("absolute_error", losses)}
    labels = tuple(str(label) for label in predictions.labels)
    codes = predictions.predicted_codes
    counts = np.bincount(codes[codes >= 0], minlength=len(labels))
    grids: dict[str, GridReference] = {}
    known = predictions.actual_codes >= 0
    right = predictions.actual_codes == codes
    losses, metric = (~right)[known].astype(np.float64), "error_rate"
    calibration = None
    if predictions.probabilities is not None and predictions.has_probabilities:
        probabilities = predictions.probabilities
        # Of two probabilities that sum to one, the second says all.
        shown = range(1 if len(labels) == 2 else 0, len(labels))
        grids = {labels[p]: GridReference.of(grid_of(probabilities[:, p])) for p in shown}
        losses = brier(probabilities[known], predictions.actual_codes[known])
        metric = "brier"
        calibration = _calibration(probabilities[known], right[known])
    made = PredictionReference(
        rows=rows, labels=labels, label_rows=tuple(counts.tolist()), probabilities=grids
    )
    return {"predictions": made, "loss": _loss(metric, losses), "calibration": calibration}


def _loss(metric: Any, losses: FloatArray) -> LossReference | None:
    finite = losses[np.isfinite(losses)]
    if len(finite) < 2:
        return None
    return LossReference(
        metric=metric,
        rows=len(finite),
        mean=float(finite.mean()),
        deviation=float(finite.std(ddof=1)),
        skewness=_skewness(finite),
    )


def _skewness(values: FloatArray) -> float:
    centred = values - values.mean()
    deviation = float(np.sqrt((centred**2).mean()))
    return float((centred**3).mean() / deviation**3) if deviation > 0 else 0.0


def _calibration(probabilities: FloatArray, right: npt.NDArray[np.bool_]) -> Calibration | None:
    if len(right) < SURE_BINS:
        return None
    sureness = probabilities.max(axis=1)
    bins = int(np.clip(len(right) // 30, 1, SURE_BINS))
    inner = np.quantile(sureness, np.arange(1, bins) / bins)
    edges = tuple(np.unique(inner).tolist())
    rows = sure_bins(probabilities, edges)
    correct = sure_bins(probabilities[right], edges) if right.any() else np.zeros_like(rows)
    return Calibration(edges=edges, rows=tuple(rows.tolist()), right=tuple(correct.tolist()))


def _key(made: Mapping[str, Any]) -> str:
    """Return a digest of everything that says how a window is counted."""
    digest = hashlib.sha256()
    for name in sorted(made):
        value = made[name]
        for part in value if isinstance(value, tuple) else (value,):
            text = part.model_dump_json() if hasattr(part, "model_dump_json") else repr(part)
            digest.update(f"{name}={text};".encode())
    return digest.hexdigest()[:16]
