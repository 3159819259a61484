"""Reading an expression's text."""

from __future__ import annotations

import ast
import keyword
import re
import warnings
from bisect import bisect_right
from collections.abc import Callable, Collection, Mapping
from difflib import get_close_matches
from itertools import pairwise
from types import MappingProxyType
from typing import Any, NoReturn

import numpy as np

from evergreen.errors import InputError
from evergreen.expressions.nodes import Call, ColumnValue, Constant, Expression, Node
from evergreen.expressions.operations import FUNCTIONS, OPERATIONS

MAX_LENGTH = 2_000
MAX_DEPTH = 100

_ARITHMETIC: Mapping[type[ast.AST], str] = {
    ast.Add: "add",
    ast.Sub: "subtract",
    ast.Mult: "multiply",
    ast.Div: "divide",
    ast.Mod: "modulo",
    ast.Pow: "power",
}
_COMPARISONS: Mapping[type[ast.AST], str] = {
    ast.Lt: "less",
    ast.LtE: "less_equal",
    ast.Gt: "greater",
    ast.GtE: "greater_equal",
    ast.Eq: "equal",
    ast.NotEq: "not_equal",
}
_HINTS: Mapping[type[ast.AST], str] = {
    ast.FloorDiv: "'//' is not allowed; write floor(a / b)",
    ast.BitXor: "'^' is not allowed; a power is written **",
    ast.BitAnd: "'&' is not allowed; write 'and'",
    ast.BitOr: "'|' is not allowed; write 'or'",
    ast.Invert: "'~' is not allowed; write 'not'",
    ast.Is: "'is' is not allowed; write == or is_missing(x)",
    ast.IsNot: "'is not' is not allowed; write != or 'not is_missing(x)'",
    ast.In: "'in' is not allowed; write x == 1 or x == 2",
    ast.NotIn: "'not in' is not allowed; write x != 1 and x != 2",
    ast.Attribute: "attribute access (a.b) is not allowed; put odd column names in backticks",
    ast.Subscript: "indexing (a[b]) is not allowed; put odd column names in backticks",
    ast.Lambda: "'lambda' is not allowed; put a column of that name in backticks",
}


def parse(
    text: str,
    columns: Collection[str] | None = None,
    refused: Mapping[str, str] = MappingProxyType({}),
) -> Expression:
    """Read an expression.

    Parameters
    ----------
    text
        The expression. Columns are named as they are, or in backticks: `` `alcohol/vol` ``.
    columns
        The columns it may read; None: any.
    refused
        Columns that exist and may not be read, each with the reason.

    Raises
    ------
    InputError
        If the text is no expression; the message says where, what is wrong, and what is allowed.
    """
    if not isinstance(text, str) or not text.strip():
        raise InputError("an expression must be text such as 'total_rooms / households'.")
    if len(text) > MAX_LENGTH:
        raise InputError(f"the expression has {len(text)} characters; at most {MAX_LENGTH} fit.")
    return _Reader(_Code(text), columns, refused).read()


class _Code:
    """An expression as Python can parse it: quoted names are identifiers, all on one line."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.quoted: dict[str, str] = {}  # identifier: the name that it stands for
        self.starts = [(0, len(text) - len(text.lstrip()))]  # positions in python and in text
        self.python = self._python()

    def _python(self) -> str:
        prefix = "_q"
        while prefix in self.text:
            prefix += "_q"
        python, end = "", self.starts[0][1]
        for match in re.finditer(r"`([^`]+)`", self.text):
            python += self.text[end : match.start()]
            self.starts.append((len(python), match.start()))
            identifier = f"{prefix}{len(self.quoted)}"
            self.quoted[identifier] = match[1]
            python, end = python + identifier, match.end()
            self.starts.append((len(python), end))
        python += self.text[end:]
        for sign, reason in (("`", "a backtick is not closed"), ("#", "'#' is not allowed")):
            if sign in python:
                self.fail(python.index(sign), reason)
        return re.sub(r"\s", " ", python)

    def place(self, node: ast.expr) -> int:
        """Return a node's position in the parsed text, in characters (Python counts bytes)."""
        return len(self.python.encode()[: node.col_offset].decode())

    def name(self, node: ast.Name) -> str:
        """Return a name as it is written; Python would normalise it (NFKC)."""
        written = self.python.encode()[node.col_offset : node.end_col_offset].decode()
        return self.quoted.get(written, written)

    def fail(self, place: int, reason: str) -> NoReturn:
        """Raise the error for a position in the parsed text."""
        python, start = self.starts[bisect_right(self.starts, (place, len(self.text))) - 1]
        position = min(start + place - python, len(self.text))
        shown = self.text.strip()
        if len(shown) > 100:
            first = max(0, position - 50)
            shown = f"…{self.text[first : first + 100].strip()}…"
        raise InputError(f"{shown!r}, position {position + 1}: {reason}.")


class _Reader:
    """Turns Python's syntax tree into ours, and refuses all else."""

    def __init__(
        self, code: _Code, columns: Collection[str] | None, refused: Mapping[str, str]
    ) -> None:
        self.code = code
        self.known = columns
        self.refused = refused
        self.columns: dict[str, None] = {}
        self.readers: Mapping[type[ast.expr], Callable[[Any], Node]] = {
            ast.Constant: self._constant,
            ast.Name: self._column,
            ast.BinOp: self._arithmetic,
            ast.UnaryOp: self._sign,
            ast.BoolOp: self._logic,
            ast.IfExp: self._choice,
            ast.Compare: self._comparison,
            ast.Call: self._call,
        }

    def read(self) -> Expression:
        parsed = self._parsed()
        self._require_shallow(parsed)
        root = self._node(parsed)
        if not self.columns:
            self.code.fail(0, "it reads no column")
        return Expression(self.code.text.strip(), root, tuple(self.columns))

    def _parsed(self) -> ast.expr:
        hint = "odd column names need backticks"
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return ast.parse(self.code.python, mode="eval").body
        except SyntaxError as error:
            self.code.fail((error.offset or 1) - 1, f"it cannot be read ({error.msg}); {hint}")
        except (ValueError, RecursionError, MemoryError) as error:
            self.code.fail(0, f"it cannot be read ({error or type(error).__name__}); {hint}")

    def _require_shallow(self, root: ast.expr) -> None:
        level: list[ast.AST] = [root]
        for _ in range(MAX_DEPTH):
            level = [child for node in level for child in ast.iter_child_nodes(node)]
        if level:
            self.code.fail(0, f"it is nested more than {MAX_DEPTH} deep; derive it in parts")

    def _node(self, node: ast.expr) -> Node:
        if type(node) not in self.readers:
            self._refuse(node, node)
        return self.readers[type(node)](node)

    def _nodes(self, *nodes: ast.expr) -> tuple[Node, ...]:
        return tuple(self._node(node) for node in nodes)

    def _constant(self, node: ast.Constant) -> Constant:
        if not isinstance(node.value, bool | int | float):
            self._fail(node, f"{node.value!r} is no number; expressions are made of numbers")
        try:
            number = float(node.value)
        except OverflowError:
            number = np.inf
        if not np.isfinite(number):
            self._fail(node, "the number is too large")
        return Constant(number)

    def _column(self, node: ast.Name) -> ColumnValue:
        name = self.code.name(node)
        if self.known is not None and name not in self.known:
            self._fail(node, _unknown_column(name, self.known, self.refused))
        self.columns[name] = None
        return ColumnValue(name)

    def _arithmetic(self, node: ast.BinOp) -> Call:
        if type(node.op) not in _ARITHMETIC:
            self._refuse(node.op, node)
        return Call(_ARITHMETIC[type(node.op)], self._nodes(node.left, node.right))

    def _sign(self, node: ast.UnaryOp) -> Node:
        if isinstance(node.op, ast.Invert):
            self._refuse(node.op, node)
        operand = self._node(node.operand)
        if isinstance(node.op, ast.UAdd):
            return operand
        return Call("not" if isinstance(node.op, ast.Not) else "negative", (operand,))

    def _logic(self, node: ast.BoolOp) -> Call:
        return Call("and" if isinstance(node.op, ast.And) else "or", self._nodes(*node.values))

    def _choice(self, node: ast.IfExp) -> Call:
        return Call("where", self._nodes(node.test, node.body, node.orelse))

    def _comparison(self, node: ast.Compare) -> Call:
        sides = self._nodes(node.left, *node.comparators)
        links = []
        for operator, pair in zip(node.ops, pairwise(sides), strict=True):
            if type(operator) not in _COMPARISONS:
                self._refuse(operator, node)
            links.append(Call(_COMPARISONS[type(operator)], pair))
        return links[0] if len(links) == 1 else Call("and", tuple(links))

    def _call(self, node: ast.Call) -> Call:
        if not isinstance(node.func, ast.Name):
            self._refuse(node.func, node)
        name = self.code.name(node.func)
        if name not in FUNCTIONS:
            near = get_close_matches(name.lower(), FUNCTIONS, n=1)
            hint = f"did you mean {near[0]}?" if near else "use one of these"
            self._fail(node, f"there is no function {name!r}; {hint} ({', '.join(FUNCTIONS)})")
        if node.keywords or any(isinstance(argument, ast.Starred) for argument in node.args):
            self._fail(node, f"{name} takes its arguments by position, such as {name}(x)")
        operation, given = OPERATIONS[name], len(node.args)
        if given < operation.least or (operation.most is not None and given > operation.most):
            wanted = f"{operation.least}{'' if operation.most else ' or more'}"
            noun = "argument" if wanted == "1" else "arguments"
            self._fail(node, f"{name} takes {wanted} {noun}, not {given}")
        return Call(name, self._nodes(*node.args))

    def _refuse(self, what: ast.AST, where: ast.expr) -> NoReturn:
        other = f"{type(what).__name__} is not part of the language"
        self._fail(where, _HINTS.get(type(what), other))

    def _fail(self, node: ast.expr, reason: str) -> NoReturn:
        self.code.fail(self.code.place(node), reason)


def _unknown_column(name: str, columns: Collection[str], refused: Mapping[str, str]) -> str:
    if name in refused:
        return f"the column {name!r} cannot be used: {refused[name]}"
    known = list(columns)
    near = get_close_matches(name, known, n=1) or [
        other for other in known if other.lower().startswith(name.lower())
    ]
    if near:
        return f"there is no column {name!r}; did you mean {_quoted(near[0])}?"
    shown = ", ".join(_quoted(other) for other in known[:12])
    more = f" and {len(known) - 12} more" if len(known) > 12 else ""
    return f"there is no column {name!r}; there are {shown}{more}"


def _quoted(name: str) -> str:
    """Return a column's name as an expression writes it."""
    return name if name.isidentifier() and not keyword.iskeyword(name) else f"`{name}`"
