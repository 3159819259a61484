"""The second half of a finished graph, on its own."""

from __future__ import annotations

from onnx import load_from_string
from onnx.helper import make_tensor_value_info

from evergreen.onnx_export.features import FEATURES
from evergreen.onnx_export.graph import DOUBLE


def estimator_alone(onnx_bytes: bytes) -> bytes:
    """Return the graph that takes the matrix of features instead of a table's columns."""
    model = load_from_string(onnx_bytes)
    graph = model.graph
    start = 1 + next(place for place, node in enumerate(graph.node) if FEATURES in node.output)
    del graph.node[:start]
    read = {name for node in graph.node for name in node.input}
    for place in reversed(range(len(graph.initializer))):
        if graph.initializer[place].name not in read:
            del graph.initializer[place]
    del graph.input[:]
    graph.input.append(make_tensor_value_info(FEATURES, DOUBLE, ["rows", "features"]))
    return bytes(model.SerializeToString())
