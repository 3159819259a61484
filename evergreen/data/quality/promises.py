"""What the contract promises: types, ranges, categories, no missing values."""

from __future__ import annotations

from evergreen.data.contract import Column
from evergreen.data.quality.observation import (
    FIRST_ROWS,
    Observation,
    Table,
    counted,
    percent,
    quoted,
    these_rows,
)
from evergreen.data.validation import Breach, Promise, validate

_KINDS = {
    "number": "numbers",
    "integer": "whole numbers",
    "boolean": "truth values",
    "timestamp": "dates",
    "category": "categories",
    "identifier": "identifiers",
}


def broken_promises(table: Table) -> dict[Promise, list[Observation]]:
    """Return what the table breaks of its contract, promise by promise."""
    found: dict[Promise, list[Observation]] = {}
    for breach in validate(table.raw, table.contract):
        found.setdefault(breach.promise, []).append(_observe(breach, table))
    return found


def _observe(breach: Breach, table: Table) -> Observation:
    column, count, total = breach.column, len(breach.rows), len(table.raw)
    values = table.raw[column.name].iloc[breach.rows]
    shown = quoted(list(dict.fromkeys(str(value) for value in values.iloc[:1000])), most=3)
    rows = tuple(int(row) for row in breach.rows[:FIRST_ROWS])
    where = f"{counted(count, 'value')} ({percent(count / total)}; {these_rows(rows, count)})"
    return Observation(
        _MESSAGES[breach.promise].format(
            name=repr(column.name),
            where=where,
            shown=shown,
            kind=_KINDS[column.type],
            bounds=_bounds(column),
            allowed=quoted(column.categories or ()),
        ),
        columns=(column.name,),
        count=count,
        share=count / total,
        rows=rows,
    )


_MESSAGES: dict[Promise, str] = {
    "types": "Column {name} holds {kind}, but {where} cannot be read so, such as {shown}. Mend "
    "them, list their spelling as missing (data.source.missing), or state another type under "
    "contract.",
    "ranges": "Column {name} must be {bounds}, but {where} are not, such as {shown}. Mend them, "
    "or widen the range under contract.",
    "categories": "Column {name} may be {allowed}, but {where} are not, such as {shown}. Mend "
    "them, or add them to its categories under contract.",
    "nulls": "Column {name} must not miss a value, but {where} are missing. Fill them, or set "
    "nullable: true under contract.",
}


def _bounds(column: Column) -> str:
    bounds = []
    if column.minimum is not None and "minimum" in column.declared:
        bounds.append(f"at least {column.minimum:g}")
    if column.maximum is not None and "maximum" in column.declared:
        bounds.append(f"at most {column.maximum:g}")
    return " and ".join(bounds)
