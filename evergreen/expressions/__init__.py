"""Expressions for derived columns: a small safe language, read once, evaluated anywhere.

An expression looks like Python: ``log1p(income) / `household size` if age >= 18 else 0``.
It is parsed by Python's own grammar and reduced to three kinds of nodes; nothing is ever executed
as Python. Evaluation needs NumPy alone, so training and serving share one definition, and the
nodes are plain enough to be compiled to another runtime.
"""

from evergreen.expressions.derived import parse_derived
from evergreen.expressions.nodes import Call, ColumnValue, Constant, Expression, Node
from evergreen.expressions.operations import FUNCTIONS, OPERATIONS, Operation
from evergreen.expressions.reader import parse

__all__ = [
    "FUNCTIONS",
    "OPERATIONS",
    "Call",
    "ColumnValue",
    "Constant",
    "Expression",
    "Node",
    "Operation",
    "parse",
    "parse_derived",
]
