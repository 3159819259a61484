"""Derived columns, which may use each other."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from graphlib import CycleError, TopologicalSorter
from types import MappingProxyType

from evergreen.errors import InputError
from evergreen.expressions.nodes import Expression
from evergreen.expressions.reader import parse


def parse_derived(
    derive: Mapping[str, str],
    columns: Collection[str] | None = None,
    refused: Mapping[str, str] = MappingProxyType({}),
) -> dict[str, Expression]:
    """Read the expressions of derived columns; return them in an order of evaluation.

    ``columns`` may be read (None: any); ``refused`` names ones that may not, with the reason.

    Raises
    ------
    InputError
        If one is no expression, reads an unknown column, or they need each other in a circle.
    """
    known = None if columns is None else dict.fromkeys([*columns, *derive])
    parsed = {}
    for name, text in derive.items():
        try:
            parsed[name] = parse(text, known, refused)
        except InputError as error:
            raise InputError(f"features.derive.{name}: {error}") from error
    needs = {
        name: [other for other in expression.columns if other in derive]
        for name, expression in parsed.items()
    }
    try:
        order = list(TopologicalSorter(needs).static_order())
    except CycleError as error:
        circle = " needs ".join(repr(name) for name in reversed(error.args[1]))
        raise InputError(
            f"features.derive: columns need each other in a circle: {circle}."
        ) from error
    return {name: parsed[name] for name in order}
