"""Rows of a request, brought into columns and read as the contract promises."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from evergreen.data.contract import Contract
from evergreen.serving.parsing.fields import Field, Findings
from evergreen.serving.parsing.readers import kind
from evergreen.serving.parsing.rows import Inputs
from evergreen.serving.problems import FieldError, Problem
from evergreen.serving.settings import ServingConfig

Columns = Mapping[str, Sequence[Any]]
_ABSENT = object()


class TableReader:
    """Reads any number of rows by a contract and the policies of a use case."""

    def __init__(self, contract: Contract, settings: ServingConfig) -> None:
        self.settings = settings
        self.fields = tuple(Field(column, settings) for column in contract.features)
        self.names = tuple(field.name for field in self.fields)
        self._known = frozenset(self.names)
        # The rest of the training table may come along: it is left out, as in training.
        self._others = frozenset(column.name for column in contract.columns) - self._known

    def records(self, rows: Sequence[Any], *, lone: bool = False) -> tuple[Inputs, Findings]:
        """Read rows that are objects from names to values; ``lone`` leaves out row numbers.

        Raises
        ------
        Problem
            If a row is no object, or a value breaks the contract.
        """
        findings = Findings()
        for number, row in enumerate(rows):
            if not isinstance(row, dict):
                raise _no_object(row, None if lone else number)
            if not row.keys() <= self._known:
                self._extra(row, number, findings)
        columns = {name: [row.get(name) for row in rows] for name in self.names}
        return self._finish(columns, lambda field: field.from_json, findings, lone=lone)

    def lists(self, rows: Sequence[Any], *, lone: bool = False) -> tuple[Inputs, Findings]:
        """Read rows that are lists of values in contract order.

        Raises
        ------
        Problem
            If a row is no list of the right length, or a value breaks the contract.
        """
        for number, row in enumerate(rows):
            if not isinstance(row, list | tuple):
                raise Problem("invalid-input", f"{_row(number, lone)} is no list of values.")
            if len(row) != len(self.names):
                raise Problem(
                    "invalid-input",
                    f"{_row(number, lone)} has {len(row)} values; the model takes "
                    f"{len(self.names)}, in this order: {', '.join(map(repr, self.names[:50]))}.",
                )
        columns = {name: [row[at] for row in rows] for at, name in enumerate(self.names)}
        return self._finish(columns, lambda field: field.from_json, Findings(), lone=lone)

    def json_columns(self, columns: Columns, *, lone: bool = False) -> tuple[Inputs, Findings]:
        """Read columns of JSON values, all of one length."""
        return self._columns(columns, lambda field: field.from_json, lone=lone)

    def text_columns(self, columns: Columns) -> tuple[Inputs, Findings]:
        """Read columns of CSV cells, all of one length."""
        return self._columns(columns, lambda field: field.from_text, lone=False)

    def typed_columns(self, columns: Columns) -> tuple[Inputs, Findings]:
        """Read columns of a typed table; columns that the contract does not know may be empty."""
        return self._columns(columns, lambda field: field.from_typed, lone=False)

    def _columns(
        self, columns: Columns, read: Callable[[Field], Any], *, lone: bool
    ) -> tuple[Inputs, Findings]:
        findings = Findings()
        if not columns.keys() <= self._known:
            self._extra(columns, None, findings)
        absent = {field.name: field for field in self.fields if field.name not in columns}
        for field in absent.values():
            if field.missing == "reject":
                findings.errors.append(field.error(None, "the column is missing"))
        if findings.errors:
            raise invalid(findings.errors)
        rows = max(len(values) for values in columns.values()) if columns else 0
        return self._finish(
            {**dict.fromkeys(absent, [None] * rows), **columns},
            lambda field: field.from_json if field.name in absent else read(field),
            findings,
            lone=lone,
        )

    def _finish(
        self,
        columns: Columns,
        read: Callable[[Field], Any],
        findings: Findings,
        *,
        lone: bool,
    ) -> tuple[Inputs, Findings]:
        inputs: Inputs = {
            field.name: read(field)(columns[field.name], findings) for field in self.fields
        }
        if findings.errors:
            errors = findings.errors
            if lone:
                errors = [FieldError(e.field, e.message, e.allowed) for e in errors]
            raise invalid(errors)
        return inputs, findings

    def _extra(self, names: Mapping[str, Any], row: int | None, findings: Findings) -> None:
        if self.settings.extra_fields == "ignore":
            return
        for name in names:
            if name in self._known or name in self._others:
                continue
            close = difflib.get_close_matches(name[:100], self.names, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            findings.errors.append(
                FieldError(name[:100], f"is not a field of this model{hint}", None, row)
            )


def invalid(errors: Sequence[FieldError]) -> Problem:
    """Return the problem that lists refused values."""
    first = errors[0]
    where = "" if first.row is None else f"row {first.row}, "
    more = f" ({len(errors) - 1} more)" if len(errors) > 1 else ""
    return Problem("invalid-input", f"{where}{first.field}: {first.message}{more}", errors)


def rows_in(inputs: Inputs) -> int:
    """Return how many rows a model's inputs have."""
    return len(next(iter(inputs.values())))


def slice_of(inputs: Inputs, start: int, stop: int) -> Inputs:
    """Return some of the rows."""
    return {name: values[start:stop] for name, values in inputs.items()}


def plain(values: np.ndarray[Any, Any]) -> list[Any]:
    """Return a column as JSON and the prediction log take it: None for what is missing."""
    if values.dtype == object:
        return list(values)
    if values.dtype.kind == "M":
        return [None if np.isnat(value) else str(value) for value in values]
    listed = values.tolist()
    if np.isnan(values).any():
        listed = [None if value != value else value for value in listed]  # noqa: PLR0124
    return listed


def _no_object(row: Any, number: int | None) -> Problem:
    where = "The body" if number is None else f"Row {number}"
    return Problem(
        "invalid-input", f"{where} must be an object from fields to values, but is {kind(row)}."
    )


def _row(number: int, lone: bool) -> str:
    return "The row" if lone else f"Row {number}"
