"""The scikit-learn pipeline of a bundle: predictions where there is no graph, and SHAP values.

pandas, scikit-learn and the model are loaded where they are needed, not before.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from evergreen.data.contract import Contract
from evergreen.errors import RefusedError
from evergreen.promotion.bundle import Bundle
from evergreen.promotion.golden import read_golden
from evergreen.serving.explain_process import ExplainProcess
from evergreen.serving.onnx_model import FloatArray, Inputs

if TYPE_CHECKING:
    import pandas as pd

# What a server on ONNX Runtime does without (requirements/serve-native.in).
PACKAGES: Final = ("pandas", "sklearn", "skops", "xgboost", "lightgbm")
TO_EXPLAIN: Final = (*PACKAGES, "shap")


def what_lacks(purpose: str, packages: tuple[str, ...] = PACKAGES) -> str | None:
    """Return what to say where packages that the native model needs are not installed, or None."""
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if not missing:
        return None
    return (
        f"{purpose} {', '.join(missing)}, not installed here. Install requirements/"
        "serve-native.txt, or use the serving image built with EXTRAS=native."
    )


class NativeModel:
    """A fitted pipeline that takes and gives plain arrays."""

    def __init__(self, model: Any, contract: Contract) -> None:
        self._model = model
        self._contract = contract
        self._columns: npt.NDArray[np.int64] | None = None
        if contract.labels is not None:
            positions = {label: place for place, label in enumerate(contract.labels)}
            self._columns = np.array([positions[label] for label in model.classes_.tolist()])

    def run(self, inputs: Inputs, rows: int) -> FloatArray:
        """Return probabilities (rows × labels) or predictions (rows)."""
        classes = len(self._contract.labels or ())
        if not rows:  # scikit-learn refuses to predict nothing
            return np.zeros((0, classes) if self._columns is not None else 0)
        frame = to_frame(inputs, self._contract)
        if self._columns is None:
            return np.asarray(self._model.predict(frame), dtype=np.float64).reshape(-1)
        probabilities = np.zeros((rows, classes))
        probabilities[:, self._columns] = self._model.predict_proba(frame)
        return probabilities


class Explainer:
    """SHAP values from the native model, by a process of its own."""

    def __init__(self, bundle: Bundle) -> None:
        self._process = ExplainProcess(bundle.folder)

    def explain(self, inputs: Inputs) -> dict[str, FloatArray]:
        """Return per feature column the SHAP values, rows × outputs.

        Raises
        ------
        RefusedError
            If there are none for this kind of model, or packages are lacking.
        UnreachableError
            If the process does not answer.
        """
        if (lack := what_lacks("Explanations need", TO_EXPLAIN)) is not None:
            raise RefusedError(lack)
        return self._process.explain(inputs)


def explaining(bundle: Bundle) -> Callable[[Inputs], dict[str, FloatArray]]:
    """Load the native model, and return what explains by it, as `Explainer.explain` does."""
    from evergreen.training.explanation import column_shap_values
    from evergreen.training.shap_values import NoShapError

    model, contract = bundle.model(), bundle.contract
    # Linear models are explained against the golden rows' mean.
    background = to_frame(read_golden(bundle.folder / "golden.parquet", contract), contract)

    def explain(inputs: Inputs) -> dict[str, FloatArray]:
        try:
            return column_shap_values(model, to_frame(inputs, contract), background)
        except NoShapError as error:
            raise RefusedError(f"This model's predictions cannot be explained: {error}.") from error

    return explain


def to_frame(inputs: Inputs, contract: Contract) -> pd.DataFrame:
    """Return the table that a pipeline takes."""
    import pandas as pd

    series = {}
    for column in contract.features:
        values = inputs[column.name]
        if column.type in ("category", "identifier"):
            texts = [text or None for text in values.tolist()]
            series[column.name] = pd.Series(texts, dtype=object)
        else:
            series[column.name] = pd.Series(values)
    return pd.DataFrame(series)
