"""A whole model as one ONNX graph."""

from __future__ import annotations

import json
from typing import Any, Final

import numpy as np

from evergreen.data.contract import Contract
from evergreen.onnx_export.errors import NotExportable
from evergreen.onnx_export.estimators import add_estimator
from evergreen.onnx_export.features import FEATURES, add_features
from evergreen.onnx_export.graph import DOUBLE, Graph

PROBABILITIES: Final = "probabilities"
PREDICTIONS: Final = "predictions"


def export_onnx(model: Any, contract: Contract) -> bytes:
    """Return a fitted pipeline as an ONNX model.

    Inputs, each only where the model reads such columns: ``numbers`` (float64, missing NaN),
    ``categories`` (text, missing empty), ``timestamps`` (int64, microseconds since 1970 in UTC,
    missing the least integer). Which columns they hold is written in the model's metadata, under
    the inputs' names, as JSON. Output: ``probabilities``, rows × classes in the order of the
    contract's labels, or ``predictions``, one float64 per row.

    Raises
    ------
    NotExportable
        If a step of the pipeline has no ONNX form; the text says which.
    """
    if set(getattr(model, "named_steps", ())) != {"features", "estimator"}:
        raise NotExportable("it is no pipeline of the steps 'features' and 'estimator'")
    graph = Graph()
    inputs = add_features(graph, model.named_steps["features"], contract)
    answers = add_estimator(graph, model.named_steps["estimator"], FEATURES)
    if contract.labels is None:
        name = graph.add("Squeeze", answers, graph.constant([1], np.int64), name=PREDICTIONS)
        graph.output(name, DOUBLE, None)
    else:
        ordered = _in_contract_order(graph, answers, model.classes_, contract)
        name = graph.add("Identity", ordered, name=PROBABILITIES)
        graph.output(name, DOUBLE, len(contract.labels))
    metadata = {**inputs.metadata(), "labels": json.dumps(contract.labels)}
    return graph.model(metadata).SerializeToString()


def _in_contract_order(graph: Graph, answers: str, classes: Any, contract: Contract) -> str:
    """Bring columns into the order of the contract's labels; a class never seen gets zero."""
    found = classes.tolist()
    labels = contract.labels or ()
    if list(labels) == found:
        return answers
    absent = set(found) - set(labels)
    if absent:
        raise NotExportable(f"it knows classes that the contract lacks: {sorted(map(str, absent))}")
    first = graph.columns(answers, [0], len(found) + 1)
    nothing = graph.add("Sub", first, first)
    order = [found.index(label) if label in found else len(found) for label in labels]
    return graph.columns(graph.side_by_side([answers, nothing]), order, len(found) + 1)
