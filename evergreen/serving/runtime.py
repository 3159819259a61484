"""A bundle brought to life: verified, replayed, and ready to predict.

The ONNX path imports neither pandas nor scikit-learn nor MLflow, and unpickles nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Protocol

import msgspec
import numpy as np
import numpy.typing as npt

from evergreen.config import Label
from evergreen.data.contract import Contract
from evergreen.errors import InputError, UnreachableError
from evergreen.promotion.bundle import Bundle, Manifest, open_bundle
from evergreen.promotion.golden import PREDICTION, PROBABILITY, compare_columns, read_golden
from evergreen.promotion.graph_part import MODEL_ONNX
from evergreen.serving.native_model import Explainer, NativeModel, what_lacks
from evergreen.serving.onnx_model import FloatArray, Inputs, OnnxModel, faults

Kind = Literal["onnx", "native"]


class Outputs(msgspec.Struct, frozen=True):
    """What a model says of n rows.

    ``predictions``: labels as objects, or float64. ``probabilities``: n × labels, and
    ``intervals``: n × 2 (low, high), each None where there are none.
    """

    predictions: npt.NDArray[Any]
    probabilities: FloatArray | None
    labels: tuple[Label, ...] | None
    intervals: FloatArray | None = None

    def part(self, start: int, stop: int) -> Outputs:
        """Return what is said of the rows from ``start`` to before ``stop``."""
        rows, shares, bounds = slice(start, stop), self.probabilities, self.intervals
        return Outputs(
            self.predictions[rows],
            None if shares is None else shares[rows],
            self.labels,
            None if bounds is None else bounds[rows],
        )


class Runtime(Protocol):
    """A model that is ready to predict; safe to be used from several threads."""

    bundle_version: str | None
    kind: Kind
    contract: Contract
    manifest: Manifest

    def predict(self, batch: Inputs) -> Outputs:
        """Predict n rows, given as one array per feature column of the contract.

        number, integer and boolean: float64, missing NaN; category: objects (text, missing None);
        timestamp: datetime64[us] in UTC, missing NaT.
        """
        ...

    def explain(self, batch: Inputs) -> dict[str, FloatArray]:
        """Return SHAP values, n rows × outputs, per feature column.

        There is one output for a regression and for two classes (the second label's), else one
        per label. Units: as `evergreen.training.shap_values.shap_values` says. The first call
        loads the native model and its libraries, which takes seconds.

        Raises
        ------
        RefusedError
            If there are no SHAP values for this kind of model.
        """
        ...


class BundleRuntime:
    """A bundle's model on one of the two runtimes."""

    def __init__(self, bundle: Bundle, version: str | None = None) -> None:
        self.bundle = bundle
        self.bundle_version = version
        self.contract = bundle.contract
        self.manifest = bundle.manifest
        self.kind: Kind = bundle.manifest.runtime
        self._labels = self.contract.labels
        self._label_array = np.array([*(self._labels or ()), None], dtype=object)[:-1]
        self._first = self.contract.features[0].name
        interval = bundle.figures.prediction_interval
        self._bounds = None if interval is None else interval.half_width * np.array([-1.0, 1.0])
        self._run = self._model().run
        self._explainer = Explainer(bundle)

    def _model(self) -> OnnxModel | NativeModel:
        if self.kind == "native":
            if (lack := what_lacks("runs on scikit-learn and needs")) is not None:
                raise InputError(f"The bundle {self.bundle.folder} {lack}")
            return NativeModel(self.bundle.model(), self.contract)
        model = OnnxModel(self._graph())
        known = {column.name for column in self.contract.features}
        strange = [column for column in model.columns if column not in known]
        labels = None if self._labels is None else list(self._labels)
        if strange or model.labels != labels:
            what = f"reads a column {strange[0]!r}" if strange else "has labels"
            raise InputError(
                f"The bundle {self.bundle.folder} cannot be served: its model.onnx {what} that the "
                "contract does not know. Fetch it again, or train anew."
            )
        model.takes_numbers([column.name for column in self.contract.features])
        return model

    def _graph(self) -> bytes:
        path = self.bundle.folder / MODEL_ONNX
        try:
            return path.read_bytes()
        except OSError as error:
            raise UnreachableError(f"Cannot read {path}: {error.strerror or error}") from error

    def predict(self, batch: Inputs) -> Outputs:
        """Predict n rows; see `Runtime`."""
        rows = len(batch[self._first])
        found = self._run(batch, rows)
        if self._labels is None:
            bounds = None if self._bounds is None else found[:, None] + self._bounds
            return Outputs(found, None, None, bounds)
        if rows == 1:  # without a fancy index: what every single request pays
            place = int(found.argmax())
            return Outputs(self._label_array[place : place + 1], found, self._labels)
        return Outputs(self._label_array[found.argmax(axis=1)], found, self._labels)

    def explain(self, batch: Inputs) -> dict[str, FloatArray]:
        """Return SHAP values per feature column; see `Runtime`."""
        return self._explainer.explain(batch)


def load_runtime(folder: Path | str, version: str | None = None) -> BundleRuntime:
    """Return the model of a bundle, after its golden rows came out as at training.

    ``version`` is what the registry calls the bundle.

    Raises
    ------
    InputError
        If the bundle is damaged or incomplete, its model cannot be loaded, or it does not give
        the answers that it gave at training.
    UnreachableError
        If a file cannot be read.
    """
    runtime = BundleRuntime(open_bundle(folder), version)
    golden = read_golden(runtime.bundle.folder / "golden.parquet", runtime.contract)
    inputs = {column.name: golden[column.name] for column in runtime.contract.features}
    try:
        outputs = runtime.predict(inputs)
    except faults() as error:
        raise InputError(f"The bundle {folder} cannot be served: {error}") from error
    replay = compare_columns(golden, _answers(outputs), runtime.contract)
    if not replay.passed:
        raise InputError(f"The bundle {folder} cannot be served. {replay.message}")
    return runtime


def _answers(outputs: Outputs) -> Mapping[str, npt.NDArray[Any]]:
    """Name answers as golden rows do."""
    answers = {PREDICTION: outputs.predictions}
    if outputs.probabilities is not None:
        for position, label in enumerate(outputs.labels or ()):
            answers[f"{PROBABILITY}{label}"] = outputs.probabilities[:, position]
    return answers
