"""The contract as a Pandera schema, and what a raw table breaks of it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from evergreen.data.casting import as_number, as_text, by_level, is_missing, uncastable
from evergreen.data.conform import as_label, suggestion
from evergreen.data.contract import Column, Contract
from evergreen.data.dataset import PIECE_VALUES
from evergreen.data.threads import in_threads
from evergreen.errors import InputError

if TYPE_CHECKING:
    from pandera.pandas import DataFrameSchema

Promise = Literal["types", "ranges", "categories", "nulls"]
Test = Callable[[pd.Series], pd.Series]

_loading = threading.Lock()


@dataclass(frozen=True)
class Breach:
    """One promise that a column breaks: the positions (0-based) of the rows that break it."""

    promise: Promise
    column: Column
    rows: NDArray[np.int64]


def contract_schema(contract: Contract) -> DataFrameSchema:
    """Return the Pandera schema that a raw table is held against.

    Every column must be of its type, where that means that its values can be cast to it. Ranges,
    categories and "no missing values" bind only where the use case declares them. Ignored columns
    promise nothing; the features must be there.
    """
    pa = _pandera()
    columns = {
        column.name: pa.Column(
            nullable=True,  # blank text is missing, too: the check "nulls" knows
            required=column.role == "feature",
            checks=[
                pa.Check(test, name=promise, ignore_na=False)
                for promise, test in _tests(column, contract).items()
            ],
        )
        for column in contract.columns
        if column.role != "ignored"
    }
    return pa.DataFrameSchema(columns, name=contract.use_case)


def validate(frame: pd.DataFrame, contract: Contract) -> list[Breach]:
    """Return all promises that a raw table breaks, column by column.

    Raises
    ------
    InputError
        If a feature column is absent.
    """
    frame = frame.reset_index(drop=True)
    # Tests make columns of truth values: of a large table, some columns at a time.
    at_once = max(1, PIECE_VALUES // max(1, len(frame)))

    def broken(start: int) -> list[Breach]:
        columns = contract.columns[start : start + at_once]
        part = contract.model_copy(update={"columns": columns})
        held = frame[[column.name for column in columns if column.name in frame.columns]]
        return _broken(held, part, frame.columns)

    starts = range(0, len(contract.columns), at_once)
    return [breach for found in in_threads(broken, starts) for breach in found]


def _pandera() -> Any:
    """Return pandera's module for pandas, which one thread loads while others wait.

    Its modules import each other, so that threads which come upon different ones may wait for each
    other; Python ends that with an error (as it says of `_ModuleLock` in importlib).
    """
    with _loading:
        return _loaded()


@cache
def _loaded() -> Any:
    import pandera.errors
    import pandera.pandas

    pandera.pandas.DataFrameSchema().validate(pd.DataFrame())  # which loads the rest
    return pandera.pandas


def _broken(frame: pd.DataFrame, contract: Contract, known: pd.Index) -> list[Breach]:
    errors = _pandera().errors

    try:
        contract_schema(contract).validate(frame, lazy=True, inplace=True)  # nothing is coerced
    except errors.SchemaErrors as failure:
        breaches = []
        for error in failure.schema_errors:
            if error.reason_code == errors.SchemaErrorReason.COLUMN_NOT_IN_DATAFRAME:
                name = str(error.failure_cases)
                raise InputError(
                    f"The table lacks the column {name!r} that its contract promises. "
                    + suggestion(name, known)
                ) from None
            if error.reason_code != errors.SchemaErrorReason.DATAFRAME_CHECK:
                raise
            rows = np.sort(error.failure_cases["index"].to_numpy("int64"))
            breaches.append(Breach(error.check.name, contract.column(error.schema.name), rows))
        return breaches
    return []


def _tests(column: Column, contract: Contract) -> dict[Promise, Test]:
    """Return what to ask of a column: each test tells which values keep the promise."""
    tests: dict[Promise, Test] = {"types": _type_test(column, contract)}
    if {"minimum", "maximum"} & set(column.declared):
        tests["ranges"] = _range_test(column)
    if "categories" in column.declared:
        allowed = as_text(pd.Series(list(column.categories or ()), dtype=object)).tolist()
        tests["categories"] = lambda values: is_missing(values) | as_text(values).isin(allowed)
    if "nullable" in column.declared and not column.nullable:
        tests["nulls"] = lambda values: ~is_missing(values)
    return tests


def _type_test(column: Column, contract: Contract) -> Test:
    if column.role == "target" and contract.labels is not None:
        return lambda values: by_level(
            values, lambda levels: as_label(levels, contract).notna() | is_missing(levels)
        )
    return lambda values: ~uncastable(values, column.type, column.format)


def _range_test(column: Column) -> Test:
    declared: dict[str, Any] = {name: getattr(column, name) for name in column.declared}
    low, high = declared.get("minimum", -np.inf), declared.get("maximum", np.inf)

    def within(values: pd.Series) -> pd.Series:
        numbers = as_number(values)
        # What is no number, or infinite, is the matter of other checks.
        return ~np.isfinite(numbers) | numbers.between(low, high)

    return within
