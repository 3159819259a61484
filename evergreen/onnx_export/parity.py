"""The proof that a graph answers as the model does: over given rows, and at every threshold.

Trees are where single and double precision part company: a value next to a threshold may fall to
either side. So rows are made that reach a branch, with the value that it asks for at its
threshold, and at the next ones above and below, in double and in single precision. They are put
to the whole model through the columns that reach the estimator unchanged, and to the estimator
alone for all the others.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from evergreen.data.contract import Contract
from evergreen.onnx_export.estimators import tree_ensemble
from evergreen.onnx_export.features import FEATURES
from evergreen.onnx_export.parts import estimator_alone
from evergreen.onnx_export.threshold_rows import Probe, rows_at_thresholds
from evergreen.promotion.parity import Parity
from evergreen.serving.onnx_model import OnnxModel, new_session

if TYPE_CHECKING:
    import pandas as pd

# Of probabilities absolutely; of regressions relative to the greatest prediction of those rows.
TOLERANCE: Final = 1e-6
MAX_ROWS: Final = 20_000
MAX_BRANCHES: Final = 1_500
MAX_WHOLE_ROWS: Final = 2_000

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Comparison:
    """Answers of both sides on the same rows: n × classes, or n predictions."""

    where: str
    native: FloatArray
    graph: FloatArray

    @property
    def difference(self) -> float:
        """The greatest difference; NaN where one side has no finite answer."""
        if not self.native.size:
            return 0.0
        scale = 1.0 if self.native.ndim == 2 else float(np.abs(self.native).max()) or 1.0
        return float((np.abs(self.native - self.graph) / scale).max())

    def other_classes(self, tolerance: float) -> int:
        """Return how many rows got another class, where the two are not equally probable."""
        if self.native.ndim == 1:
            return 0
        chosen = np.take_along_axis(self.native, self.graph.argmax(axis=1)[:, None], axis=1)
        return int((self.native.max(axis=1) - chosen[:, 0] > 2 * tolerance).sum())


def check_parity(
    model: Any,
    onnx_bytes: bytes,
    inputs: pd.DataFrame,
    contract: Contract,
    tolerance: float = TOLERANCE,
) -> Parity:
    """Compare a fitted pipeline with its graph on a model frame, and at its trees' thresholds.

    ``inputs`` are best rows that the model was not fitted on; at most 20,000 are taken, evenly.
    Of larger models, 1,500 branches are tried, drawn evenly from all trees.
    """
    if len(inputs) > MAX_ROWS:
        inputs = inputs.iloc[np.linspace(0, len(inputs) - 1, MAX_ROWS).astype(int)]
    ensemble = tree_ensemble(model[-1])
    features = np.asarray(model[:-1].transform(inputs), dtype=np.float64)
    probe = Probe.nothing(features)
    if ensemble is not None:
        probe = rows_at_thresholds(ensemble, features, MAX_BRANCHES)
    compared = list(_comparisons(model, onnx_bytes, inputs, contract, probe))
    worst = max(compared, key=lambda one: np.nan_to_num(one.difference, nan=np.inf))
    others = sum(one.other_classes(tolerance) for one in compared)
    return Parity(
        passed=worst.difference <= tolerance and others == 0,
        tolerance=tolerance,
        rows=len(inputs),
        threshold_rows=len(probe.features),
        branches=probe.branches,
        branches_tried=probe.tried,
        difference=worst.difference if np.isfinite(worst.difference) else None,
        where=worst.where,
        reason=_reason(worst, others, tolerance),
    )


def _comparisons(
    model: Any, onnx_bytes: bytes, inputs: pd.DataFrame, contract: Contract, probe: Probe
) -> Iterator[Comparison]:
    order = _class_order(model, contract)
    graph = OnnxModel(onnx_bytes)

    def whole(rows: pd.DataFrame, where: str) -> Comparison:
        columns = {name: rows[name].to_numpy() for name in rows.columns}
        return Comparison(where, _native(model, rows, order), graph.run(columns, len(rows)))

    yield whole(inputs, "on the rows given")
    if len(probe.features):
        alone = new_session(estimator_alone(onnx_bytes))
        found = alone.run(None, {FEATURES: probe.features})[0]
        native = _native(model[-1], probe.features, order)
        yield Comparison("at the thresholds of its trees", native, found)
        yield whole(_columns_at_thresholds(model, inputs, probe), "with columns at thresholds")


def _columns_at_thresholds(model: Any, inputs: pd.DataFrame, probe: Probe) -> pd.DataFrame:
    """Put the probe's values into the columns that reach the estimator unchanged."""
    taken = np.linspace(0, len(probe.features) - 1, min(len(probe.features), MAX_WHOLE_ROWS))
    taken = np.unique(taken.astype(int))
    rows = inputs.iloc[probe.base[taken]].reset_index(drop=True)
    numbers = model.named_steps["features"].named_steps["derive"].numbers
    # By name: a feature of a column's own name is the column itself where nothing is scaled.
    names = list(model[:-1].get_feature_names_out())
    for position, name in enumerate(names):
        if name in numbers and name in rows.columns and names.count(name) == 1:
            rows[name] = probe.features[taken, position]
    return rows


def _native(model: Any, rows: Any, order: npt.NDArray[np.int64] | None) -> FloatArray:
    if order is None:
        return np.asarray(model.predict(rows), dtype=np.float64).reshape(-1)
    probabilities = np.asarray(model.predict_proba(rows), dtype=np.float64)
    return np.hstack([probabilities, np.zeros((len(probabilities), 1))])[:, order]


def _class_order(model: Any, contract: Contract) -> npt.NDArray[np.int64] | None:
    """Return for each label of the contract the model's column; -1 for a class never seen."""
    if contract.labels is None:
        return None
    classes = {label: position for position, label in enumerate(model.classes_.tolist())}
    return np.array([classes.get(label, -1) for label in contract.labels], dtype=np.int64)


def _reason(worst: Comparison, others: int, tolerance: float) -> str | None:
    if not np.isfinite(worst.difference):
        return f"an answer is not finite {worst.where}"
    if worst.difference > tolerance:
        return (
            f"answers differ by up to {worst.difference:.2g} {worst.where}, more than {tolerance:g}"
        )
    return f"{others} rows get another class" if others else None
