"""Graphs under test, run on plain columns."""

from __future__ import annotations

import warnings

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.pipeline import Pipeline

from evergreen.config import FeaturesConfig
from evergreen.data.conform import model_frame, target_values
from evergreen.data.contract import Contract
from evergreen.expressions import Expression
from evergreen.features import build_features
from evergreen.onnx_export.expressions import Columns, Derivation
from evergreen.onnx_export.features import FEATURES, add_features
from evergreen.onnx_export.graph import DOUBLE, Graph
from evergreen.serving.onnx_model import OnnxModel, new_session
from evergreen.training.candidates import BY_NAME, make_estimator
from tests.support.search_tables import column, mixed_table

LABELS = {
    "text": ("amber", "mint", "zinc"),
    "two texts": ("no", "yes"),
    "integers": (-1, 4, 10),
    "two integers": (0, 1),
    "booleans": (False, True),
}
QUICK = {"random_forest": 20, "xgboost": 25, "lightgbm": 25}


def labelled(labels, rows=150):
    """Return a table and contract whose target has these labels."""
    frame, contract = mixed_table(rows=rows)
    codes = np.unique(frame["outcome"], return_inverse=True)[1] % len(labels)
    frame["outcome"] = np.array([*labels, None], dtype=object)[codes]
    kind = "boolean" if isinstance(labels[0], bool) else "integer"
    target = column("outcome", "category" if isinstance(labels[0], str) else kind, "target")
    columns = (*contract.features, target)
    return frame, contract.model_copy(update={"labels": labels, "columns": columns})


def fitted(name, frame, contract, params=None, *, balance=False, features=None):
    """Return a small fitted pipeline of a candidate."""
    candidate = BY_NAME[name]
    settings = {"n_estimators": QUICK[name]} if name in QUICK else {}
    estimator = make_estimator(
        candidate, contract.task, {**settings, **(params or {})}, seed=1, balance=balance, threads=1
    )
    features = features or FeaturesConfig(derive={"ratio": "`alcohol/vol` / `size [m]`"})
    pipeline = build_features(contract, features, scale=candidate.scale, seed=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Pipeline([("features", pipeline), ("estimator", estimator)]).fit(
            model_frame(frame, contract), target_values(frame, contract)
        )


def derive_by_graph(
    expressions: dict[str, Expression], values: dict[str, npt.NDArray[np.float64]]
) -> dict[str, npt.NDArray[np.float64]]:
    """Evaluate derived columns by ONNX Runtime."""
    graph = Graph()
    columns = Columns(graph)
    columns.define(list(values), graph.input("numbers", DOUBLE, len(values)))
    columns.derive(Derivation(expressions))
    result = graph.add("Identity", columns.pick(list(expressions)), name="result")
    graph.output(result, DOUBLE, len(expressions))
    session = new_session(graph.model({}).SerializeToString())
    found = session.run(None, {"numbers": np.column_stack(list(values.values()))})[0]
    return {name: found[:, place] for place, name in enumerate(expressions)}


def features_by_graph(
    fitted: Pipeline, contract: Contract, frame: pd.DataFrame
) -> npt.NDArray[np.float64]:
    """Compute a fitted pipeline's matrix of features by ONNX Runtime."""
    graph = Graph()
    inputs = add_features(graph, fitted, contract)
    graph.output(FEATURES, DOUBLE, len(fitted.get_feature_names_out()))
    model = OnnxModel(graph.model({**inputs.metadata(), "labels": "null"}).SerializeToString())
    return model.run({name: frame[name].to_numpy() for name in frame.columns}, len(frame))
