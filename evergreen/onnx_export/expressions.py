"""Expressions as ONNX nodes, many at a time.

A node of a graph costs about a microsecond whatever it computes, so calls of one operation that
do not need each other become columns of one node: eight divisions are one ``Div``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from evergreen.expressions import OPERATIONS, ColumnValue, Constant, Expression, Node
from evergreen.onnx_export.graph import Graph
from evergreen.onnx_export.operations import emit

RESULT = "\0"  # begins the names of results, and of no column


@dataclass(frozen=True)
class Place:
    """Where a column's values are: a tensor of ``width`` columns, and the position in it."""

    tensor: str
    position: int
    width: int


@dataclass(frozen=True)
class Derivation:
    """Expressions in an order of evaluation; ``prefix`` stands before every name, read or given.

    ``bounded``: no result can be infinite, so that none needs to be looked at.
    """

    expressions: Mapping[str, Expression]
    prefix: str = ""
    bounded: bool = False


class Columns:
    """Columns of numbers by name, as tensors of a graph."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._places: dict[str, Place] = {}
        self._joined: dict[tuple[str, ...], str] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._places

    def define(self, names: Sequence[str], tensor: str) -> None:
        """Name the columns of a tensor."""
        for position, name in enumerate(names):
            self._places[name] = Place(tensor, position, len(names))

    def derive(self, *groups: Derivation) -> None:
        """Compute expressions, each of columns there are and of ones before it."""
        plan = _Plan()
        for group in groups:
            for name, expression in group.expressions.items():
                plan.define(name, expression, group)
        for wave in plan.waves():
            operation, constant = wave[0].operation, wave[0].constant
            slots = zip(*(call.arguments for call in wave), strict=True)
            arguments = [
                self.graph.constant([plan.constants[key] for key in slot])
                if is_constant
                else self.pick(list(slot))
                for slot, is_constant in zip(slots, constant, strict=True)
            ]
            result = emit(self.graph, operation, arguments, bounded=wave[0].bounded)
            self.define([call.key for call in wave], result)
        for name, key in plan.names.items():
            self._places[name] = self._places[key]

    def pick(self, names: Sequence[str]) -> str:
        """Return a tensor of the named columns, in this order."""
        places = [self._places[name] for name in names]
        widths = {place.tensor: place.width for place in places}
        tensors = tuple(widths)
        if tensors not in self._joined:
            self._joined[tensors] = self.graph.side_by_side(tensors)
        starts = dict(zip(tensors, np.cumsum([0, *widths.values()]).tolist(), strict=False))
        positions = [starts[place.tensor] + place.position for place in places]
        return self.graph.columns(self._joined[tensors], positions, sum(widths.values()))


@dataclass(frozen=True)
class _Step:
    """One call to be made: the key of its result, and those of its arguments."""

    key: str
    operation: str
    arguments: tuple[str, ...]
    constant: tuple[bool, ...]  # which of the arguments are constants
    bounded: bool


class _Plan:
    """The distinct calls of many expressions, in waves that can be computed at once."""

    def __init__(self) -> None:
        self.names: dict[str, str] = {}
        self.constants: dict[str, float] = {}
        self._steps: dict[tuple[str, tuple[str, ...]], _Step] = {}

    def define(self, name: str, expression: Expression, group: Derivation) -> None:
        self.names[f"{group.prefix}{name}"] = self._key(expression.root, group)

    def waves(self) -> list[list[_Step]]:
        """Put each call as late as those that need it allow, so that like calls meet."""
        height = {step.key: 0 for step in self._steps.values()}
        for step in reversed(self._steps.values()):
            for argument in step.arguments:
                if argument in height:
                    height[argument] = max(height[argument], height[step.key] + 1)

        def order(step: _Step) -> tuple[int, str, tuple[bool, ...], bool]:
            return -height[step.key], step.operation, step.constant, step.bounded

        return [list(wave) for _, wave in groupby(sorted(self._steps.values(), key=order), order)]

    def _key(self, node: Node, group: Derivation) -> str:
        """Return the name of a node's result; equal nodes share one."""
        if isinstance(node, ColumnValue):
            name = f"{group.prefix}{node.name}"
            return self.names.get(name, name)
        if isinstance(node, Constant):
            return self._constant(node.value)
        arguments = tuple(self._key(argument, group) for argument in node.arguments)
        constant = tuple(argument in self.constants for argument in arguments)
        if all(constant):
            with np.errstate(all="ignore"):
                values = [np.asarray(self.constants[argument]) for argument in arguments]
                return self._constant(float(OPERATIONS[node.operation](*values)))
        call = (node.operation, arguments)
        if call not in self._steps:
            key = f"{RESULT}{len(self._steps)}"
            self._steps[call] = _Step(key, *call, constant, group.bounded)
        return self._steps[call].key

    def _constant(self, value: float) -> str:
        key = f"{RESULT}={value!r}"
        self.constants[key] = value
        return key
