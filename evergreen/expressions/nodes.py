"""A parsed expression: three kinds of nodes, and their evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from evergreen.errors import InputError
from evergreen.expressions.operations import OPERATIONS, FloatArray, finite


@dataclass(frozen=True)
class Constant:
    """A number; true is 1, false is 0."""

    value: float


@dataclass(frozen=True)
class ColumnValue:
    """The values of one column."""

    name: str


@dataclass(frozen=True)
class Call:
    """An operation (a key of ``OPERATIONS``) on the results of other nodes."""

    operation: str
    arguments: tuple[Node, ...]


Node = Constant | ColumnValue | Call


@dataclass(frozen=True)
class Expression:
    """An expression's text, its tree, and the columns it reads, in order of appearance."""

    text: str
    root: Node
    columns: tuple[str, ...]

    def evaluate(self, values: Mapping[str, npt.NDArray[Any]]) -> FloatArray:
        """Return one float64 value per row; missing and infinite input counts as missing.

        Raises
        ------
        InputError
            If ``values`` lacks a column.
        """
        arrays = {}
        for name in self.columns:
            if name not in values:
                raise InputError(
                    f"The expression {self.text!r} needs the column {name!r}, which is not given."
                )
            arrays[name] = finite(np.asarray(values[name], dtype=np.float64))
        with np.errstate(all="ignore"):
            return _evaluate(self.root, arrays)


def _evaluate(node: Node, values: Mapping[str, FloatArray]) -> FloatArray:
    if isinstance(node, Constant):
        return np.asarray(node.value)
    if isinstance(node, ColumnValue):
        return values[node.name]
    return OPERATIONS[node.operation](*(_evaluate(part, values) for part in node.arguments))
