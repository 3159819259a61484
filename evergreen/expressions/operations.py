"""What the operations of an expression compute, on NumPy arrays of float64.

A missing value (NaN) makes every result missing, with two exceptions: ``is_missing`` tells, and
a condition ignores the branch it does not choose. Where there is no finite result (division by
zero, the logarithm of zero, an overflow), the result is missing. True is 1, false is 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import reduce
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Operation:
    """What a call does, and how many arguments it takes (``most`` None: any number)."""

    apply: Callable[..., Any]
    least: int
    most: int | None

    def __call__(self, *arguments: FloatArray) -> FloatArray:
        """Return the result; what is not finite is missing."""
        return finite(self.apply(*arguments))


def finite(values: FloatArray) -> FloatArray:
    """Return the values with infinities made missing."""
    infinite = np.isinf(values)
    return np.where(infinite, np.nan, values) if infinite.any() else values


def _missing_where_any_is(truth: Callable[..., Any]) -> Callable[..., FloatArray]:
    """Make a function of arrays missing where one of its arguments is."""

    def apply(*arguments: FloatArray) -> FloatArray:
        missing = reduce(np.logical_or, [np.isnan(argument) for argument in arguments])
        return np.where(missing, np.nan, truth(*arguments))

    return apply


def _all(*values: FloatArray) -> Any:
    return reduce(np.logical_and, [value != 0 for value in values])


def _any(*values: FloatArray) -> Any:
    return reduce(np.logical_or, [value != 0 for value in values])


def _where(condition: FloatArray, then: FloatArray, otherwise: FloatArray) -> FloatArray:
    return np.where(np.isnan(condition), np.nan, np.where(condition != 0, then, otherwise))


def _clip(values: FloatArray, low: FloatArray, high: FloatArray) -> FloatArray:
    return np.minimum(np.maximum(values, low), high)


def _truth(function: Callable[..., Any], least: int, most: int | None) -> Operation:
    return Operation(_missing_where_any_is(function), least, most)


OPERATIONS: Mapping[str, Operation] = MappingProxyType(
    {
        "add": Operation(np.add, 2, 2),
        "subtract": Operation(np.subtract, 2, 2),
        "multiply": Operation(np.multiply, 2, 2),
        "divide": Operation(np.divide, 2, 2),
        "modulo": Operation(np.mod, 2, 2),  # of the divisor's sign, as Python's
        # NumPy's 1 ** NaN and NaN ** 0 are 1.
        "power": Operation(_missing_where_any_is(np.power), 2, 2),
        "negative": Operation(np.negative, 1, 1),
        "less": _truth(np.less, 2, 2),
        "less_equal": _truth(np.less_equal, 2, 2),
        "greater": _truth(np.greater, 2, 2),
        "greater_equal": _truth(np.greater_equal, 2, 2),
        "equal": _truth(np.equal, 2, 2),
        "not_equal": _truth(np.not_equal, 2, 2),
        "and": _truth(_all, 2, None),
        "or": _truth(_any, 2, None),
        "not": _truth(np.logical_not, 1, 1),
        "where": Operation(_where, 3, 3),
        "log": Operation(np.log, 1, 1),
        "log1p": Operation(np.log1p, 1, 1),
        "exp": Operation(np.exp, 1, 1),
        "sqrt": Operation(np.sqrt, 1, 1),
        "abs": Operation(np.abs, 1, 1),
        "floor": Operation(np.floor, 1, 1),
        "ceil": Operation(np.ceil, 1, 1),
        "round": Operation(np.rint, 1, 1),  # halves to the even neighbour, as IEEE 754 has it
        "min": Operation(lambda *values: reduce(np.minimum, values), 2, None),
        "max": Operation(lambda *values: reduce(np.maximum, values), 2, None),
        "clip": Operation(_clip, 3, 3),
        "is_missing": Operation(np.isnan, 1, 1),
    }
)

# The operations that are written as functions; the others have signs or words of their own.
FUNCTIONS = (
    *("log", "log1p", "exp", "sqrt", "abs", "min", "max", "clip", "where"),
    *("floor", "ceil", "round", "is_missing"),
)
