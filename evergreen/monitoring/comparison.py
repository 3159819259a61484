"""Making what windows are compared with, from the table that a model was trained on.

The same code counts windows later, so that a reference and a window differ in nothing but rows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import reduce
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from evergreen.data.hashes import parts_of
from evergreen.data.threads import in_threads
from evergreen.monitoring.encoding import ColumnEncoder, EncodedColumn
from evergreen.monitoring.grid import Grid, quantiles
from evergreen.monitoring.looks import Axes, FirstLook, Pieces, SecondLook, coded_rows
from evergreen.monitoring.outputs import brier, sure_bins
from evergreen.monitoring.packed import Packed
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
from evergreen.monitoring.scores import MomentSums, fisher_spread
from evergreen.monitoring.window import libraries

if TYPE_CHECKING:
    from evergreen.monitoring.profile import ColumnProfile, Profile
    from evergreen.training.predictions import Predictions

FloatArray = npt.NDArray[np.float64]

SURE_BINS = 10


def make_comparison(
    table: Mapping[str, pa.Array], columns: Sequence[ColumnProfile], predictions: Predictions
) -> Comparison:
    """Make the reference of later windows.

    ``table`` holds the feature columns, ``columns`` their plain profiles; the predictions are of
    rows that the model was not fitted on, where there are such.
    """
    rows = len(next(iter(table.values()))) if table else 0
    references: list[ColumnReference] = []

    def encoded() -> Iterator[EncodedColumn]:
        for reference, codes in in_threads(lambda each: _encoded(table[each.name], each), columns):
            references.append(reference)
            yield codes

    hashes, codes = coded_rows(encoded(), rows)
    whole = Pieces(references)
    pieces = [
        whole.coded(hashes[part], [column[part] for column in codes], part.start)
        for part in parts_of(rows)
    ]
    with libraries().limit(limits=1, user_api="blas"):  # the threads are these
        first = reduce(FirstLook.merge, in_threads(lambda piece: piece.first(), pieces))
        seconds: list[SecondLook] = []
        if has_structure(references):
            axes = Axes.of(first)
            seconds = list(in_threads(lambda piece: piece.second(axes), pieces))
    return comparison_of_looks(references, first, seconds, predictions)


def column_reference(values: pa.Array, column: ColumnProfile) -> ColumnReference:
    """Return what a column of later windows is compared with, from all its values."""
    return _encoded(values, column)[0]


def has_structure(references: Sequence[ColumnReference]) -> bool:
    """Tell whether two number columns vary, so that there is something to look at again."""
    return len(Pieces(references).varied) > 1


def comparison_of_looks(
    references: Sequence[ColumnReference],
    first: FirstLook,
    seconds: Iterable[SecondLook],
    predictions: Predictions,
) -> Comparison:
    """Make the reference of later windows from looks at all pieces of its table.

    ``first`` is that of all pieces together; ``seconds``, in the table's order, are not needed
    where there is no structure.
    """
    structure = None
    if has_structure(references):
        structure = _structure(Pieces(references).varied, first, list(seconds))
    sample = first.sample
    made: dict[str, Any] = {
        "rows": first.rows,
        "columns": tuple(references),
        "structure": structure,
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


def _encoded(values: pa.Array, column: ColumnProfile) -> tuple[ColumnReference, EncodedColumn]:
    """Return a column's reference, and all its values coded by it."""
    encoder = ColumnEncoder(_plain(column))
    encoded = encoder.encode(values)
    return _counted(encoder, encoded.counts.bins), encoded


def _counted(encoder: ColumnEncoder, bins: npt.NDArray[np.int64]) -> ColumnReference:
    if encoder.grid is None:
        return encoder.reference
    grid = GridReference(points=Packed.of(encoder.grid.points), counts=Packed.of(bins))
    return encoder.reference.model_copy(update={"grid": grid})


def _structure(
    names: tuple[str, ...], first: FirstLook, seconds: Sequence[SecondLook]
) -> Structure:
    axes, sums = Axes.of(first), first.sums
    moments = reduce(MomentSums.merge, [look.moments for look in seconds])
    components = errors = None
    if axes.components is not None:
        components = Packed.of(axes.components)
        distances = np.concatenate([look.errors for look in seconds])
        errors = GridReference.of(grid_of(distances))
    return Structure(
        columns=names,
        correlations=Packed.of(sums.correlations().astype(np.float32)),
        rows=Packed.of(sums.rows.astype(np.int64)),
        spread=Packed.of(fisher_spread(moments, sums).astype(np.float32)),
        centre=Packed.of(axes.centre),
        scale=Packed.of(axes.scale),
        components=components,
        errors=errors,
    )


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
