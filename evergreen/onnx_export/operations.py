"""The operations of an expression as ONNX nodes: what `evergreen.expressions.operations` says.

Each function takes the graph and its arguments, float64 tensors that broadcast against each other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import reduce
from types import MappingProxyType
from typing import Final

import numpy as np

from evergreen.onnx_export.graph import DOUBLE, Graph

Emit = Callable[..., str]


def emit(graph: Graph, operation: str, arguments: list[str], *, bounded: bool) -> str:
    """Add the nodes of one operation; what is not finite is missing, unless it is ``bounded``."""
    result = _EMITTERS[operation](graph, *arguments)
    return finite(graph, result) if operation in _MAY_OVERFLOW and not bounded else result


def finite(graph: Graph, tensor: str) -> str:
    """Make infinities missing."""
    return graph.add("Where", graph.add("IsInf", tensor), graph.constant(np.nan), tensor)


def _plain(operation: str) -> Emit:
    """Make the emitter of one operation that ONNX has, and that lets missing values through."""
    return lambda graph, *arguments: graph.add(operation, *arguments)


def _number(graph: Graph, truth: str) -> str:
    return graph.cast(truth, DOUBLE)


def _missing_where_any_is(graph: Graph, result: str, arguments: tuple[str, ...]) -> str:
    """Make a result missing where an argument is: finite ones never add up to NaN."""
    total = reduce(lambda left, right: graph.add("Add", left, right), arguments)
    return graph.add("Where", graph.add("IsNaN", total), graph.constant(np.nan), result)


def _truth(compare: Emit) -> Emit:
    def emitter(graph: Graph, *arguments: str) -> str:
        result = _number(graph, compare(graph, *arguments))
        return _missing_where_any_is(graph, result, arguments)

    return emitter


def _is_true(graph: Graph, tensor: str) -> str:
    return graph.add("Not", graph.add("Equal", tensor, graph.constant(0.0)))


def _is_false(graph: Graph, tensor: str) -> str:
    return graph.add("Equal", tensor, graph.constant(0.0))


def _not_equal(graph: Graph, left: str, right: str) -> str:
    return graph.add("Not", graph.add("Equal", left, right))


def _fold(connective: str) -> Emit:
    def emitter(graph: Graph, *arguments: str) -> str:
        truths = [_is_true(graph, argument) for argument in arguments]
        return reduce(lambda left, right: graph.add(connective, left, right), truths)

    return emitter


def _power(graph: Graph, base: str, exponent: str) -> str:
    return _missing_where_any_is(graph, graph.add("Pow", base, exponent), (base, exponent))


def _modulo(graph: Graph, dividend: str, divisor: str) -> str:
    """Give the remainder the divisor's sign, as NumPy does."""
    zero = graph.constant(0.0)
    rest = graph.add("Mod", dividend, divisor, fmod=1)
    differs = graph.add("Less", graph.add("Mul", _sign(graph, rest), _sign(graph, divisor)), zero)
    return graph.add("Where", differs, graph.add("Add", rest, divisor), rest)


def _sign(graph: Graph, tensor: str) -> str:
    return graph.add("Sign", tensor)


def _where(graph: Graph, condition: str, then: str, otherwise: str) -> str:
    chosen = graph.add("Where", _is_false(graph, condition), otherwise, then)
    missing = graph.add("IsNaN", condition)
    return graph.add("Where", missing, graph.constant(np.nan), chosen)


def _log1p(graph: Graph, tensor: str) -> str:
    """Compute log(1 + x) exactly for small x, which ONNX has no operation for.

    D. Goldberg, What every computer scientist should know about floating-point arithmetic (1991),
    theorem 4: with u = 1 + x as rounded, log(u) · x / (u - 1) errs as little as log does.
    """
    one = graph.constant(1.0)
    sum_ = graph.add("Add", tensor, one)
    excess = graph.add("Sub", sum_, one)
    ratio = graph.add("Div", tensor, excess)
    exact = graph.add("Mul", graph.add("Log", sum_), ratio)
    tiny = graph.add("Equal", excess, graph.constant(0.0))
    return graph.add("Where", tiny, tensor, exact)


def _clip(graph: Graph, values: str, low: str, high: str) -> str:
    return _extreme("Less")(graph, _extreme("Greater")(graph, values, low), high)


def _extreme(comparison: str) -> Emit:
    """Make the emitter of the least or greatest; any missing argument makes it missing."""

    def two(graph: Graph, left: str, right: str) -> str:
        # NaN compares false, so a missing left is passed over: it is asked for apart.
        chosen = graph.add("Or", graph.add(comparison, left, right), graph.add("IsNaN", left))
        return graph.add("Where", chosen, left, right)

    def emitter(graph: Graph, *arguments: str) -> str:
        return reduce(lambda left, right: two(graph, left, right), arguments)

    return emitter


def _is_missing(graph: Graph, tensor: str) -> str:
    return _number(graph, graph.add("IsNaN", tensor))


_EMITTERS: Final[Mapping[str, Emit]] = MappingProxyType(
    {
        "add": _plain("Add"),
        "subtract": _plain("Sub"),
        "multiply": _plain("Mul"),
        "divide": _plain("Div"),
        "modulo": _modulo,
        "power": _power,
        "negative": _plain("Neg"),
        "less": _truth(_plain("Less")),
        "less_equal": _truth(_plain("LessOrEqual")),
        "greater": _truth(_plain("Greater")),
        "greater_equal": _truth(_plain("GreaterOrEqual")),
        "equal": _truth(_plain("Equal")),
        "not_equal": _truth(_not_equal),
        "and": _truth(_fold("And")),
        "or": _truth(_fold("Or")),
        "not": _truth(_is_false),
        "where": _where,
        "log": _plain("Log"),
        "log1p": _log1p,
        "exp": _plain("Exp"),
        "sqrt": _plain("Sqrt"),
        "abs": _plain("Abs"),
        "floor": _plain("Floor"),
        "ceil": _plain("Ceil"),
        "round": _plain("Round"),
        "min": _extreme("Less"),
        "max": _extreme("Greater"),
        "clip": _clip,
        "is_missing": _is_missing,
    }
)
# The others give finite or missing results of finite or missing arguments.
_MAY_OVERFLOW: Final = frozenset(
    {"add", "subtract", "multiply", "divide", "power", "log", "log1p", "exp"}
)
