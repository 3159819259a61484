"""A graph under construction: nodes, constants, inputs and outputs, with names made up as needed.

Tensors are named by strings. Unless said otherwise they are float64 of rows × columns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from onnx import ModelProto, NodeProto, TensorProto, checker, helper, numpy_helper

OPSET: Final = 21
ML_DOMAIN: Final = "ai.onnx.ml"
ML_OPSET: Final = 3
IR_VERSION: Final = 10

DOUBLE: Final = TensorProto.DOUBLE
FLOAT: Final = TensorProto.FLOAT
INT64: Final = TensorProto.INT64
STRING: Final = TensorProto.STRING


class Graph:
    """Nodes in the order in which they were added, which is an order of evaluation."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self._constants: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self._initializers: list[TensorProto] = []
        self._inputs: list[Any] = []
        self._outputs: list[Any] = []
        self._count = 0

    def input(self, name: str, kind: int, columns: int) -> str:
        """Declare an input of rows × columns."""
        self._inputs.append(helper.make_tensor_value_info(name, kind, ["rows", columns]))
        return name

    def output(self, name: str, kind: int, columns: int | None) -> str:
        """Declare a tensor as output, of rows × columns, or of rows alone."""
        shape: list[str | int | None] = ["rows"] if columns is None else ["rows", columns]
        self._outputs.append(helper.make_tensor_value_info(name, kind, shape))
        return name

    def constant(self, values: npt.ArrayLike, dtype: Any = np.float64) -> str:
        """Return a tensor with these values; equal ones are stored once."""
        array = np.asarray(values, dtype=dtype)
        key = (str(array.dtype), array.shape, array.tobytes())
        if key not in self._constants:
            name = self._name("constant")
            self._initializers.append(numpy_helper.from_array(array, name))
            self._constants[key] = name
        return self._constants[key]

    def add(self, operation: str, *inputs: str, name: str | None = None, **attributes: Any) -> str:
        """Add a node with one output; return that. An attribute that is None is left out."""
        output = name or self._name(operation.lower())
        known = {key: value for key, value in attributes.items() if value is not None}
        self.nodes.append(helper.make_node(operation, list(inputs), [output], **known))
        return output

    def cast(self, tensor: str, kind: int) -> str:
        """Return a tensor converted to another type of element."""
        return self.add("Cast", tensor, to=kind)

    def columns(self, tensor: str, positions: Sequence[int], width: int) -> str:
        """Return the columns at these positions of a tensor that has ``width`` columns."""
        if list(positions) == list(range(width)):
            return tensor
        return self.add("Gather", tensor, self.constant(positions, np.int64), axis=1)

    def side_by_side(self, tensors: Sequence[str]) -> str:
        """Return the columns of several tensors, one after the other."""
        return tensors[0] if len(tensors) == 1 else self.add("Concat", *tensors, axis=1)

    def model(self, metadata: Mapping[str, str]) -> ModelProto:
        """Return the finished, checked model."""
        graph = helper.make_graph(
            self.nodes, "evergreen", self._inputs, self._outputs, self._initializers
        )
        model = helper.make_model(
            graph,
            producer_name="evergreen",
            ir_version=IR_VERSION,
            opset_imports=[
                helper.make_opsetid("", OPSET),
                helper.make_opsetid(ML_DOMAIN, ML_OPSET),
            ],
        )
        helper.set_model_props(model, dict(metadata))
        checker.check_model(model)
        return model

    def _name(self, stem: str) -> str:
        self._count += 1
        return f"{stem}_{self._count}"
