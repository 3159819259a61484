"""Graphs under test, run on plain columns."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.pipeline import Pipeline

from evergreen.data.contract import Contract
from evergreen.expressions import Expression
from evergreen.onnx_export.expressions import Columns, Derivation
from evergreen.onnx_export.features import FEATURES, add_features
from evergreen.onnx_export.graph import DOUBLE, Graph
from evergreen.serving.onnx_model import OnnxModel, new_session


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
    model = OnnxModel(graph.model(inputs.metadata()).SerializeToString())
    return model.run({name: frame[name].to_numpy() for name in frame.columns}, len(frame))
