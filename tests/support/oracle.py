"""What a request says, read by other code than the API's: json, pandas and Pandera."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pandas as pd

from evergreen.data.casting import as_timestamp
from evergreen.data.conform import model_frame
from evergreen.data.contract import Column, Contract
from evergreen.data.validation import validate

SINGLE = float(np.finfo(np.float32).max)


def parsed(body: bytes, *, nan: bool = False) -> Any:
    """Return what strict JSON holds; raise ValueError where it is none."""

    def pairs(items):
        if len({name for name, _ in items}) != len(items):
            raise ValueError("a name stands twice")
        return dict(items)

    def constant(name):
        if nan and name == "NaN":
            return
        raise ValueError(name)

    return json.loads(body.decode("utf-8"), object_pairs_hook=pairs, parse_constant=constant)


def wrong_with(rows: list[Any], contract: Contract) -> str | None:
    """Say what is wrong with rows that were accepted, None where nothing is."""
    for row in rows:
        if not isinstance(row, dict):
            return f"{row!r} is no object"
        known = {column.name for column in contract.columns}
        if not row.keys() <= known:
            return f"unknown fields {row.keys() - known}"
        for column in contract.features:
            value = row.get(column.name)
            if not column.nullable and _blank(value):
                return f"{column.name} is missing"
            if not _blank(value) and not _typed(value, column):
                return f"{column.name} takes no {value!r}"
    return None


def broken_promises(rows: list[dict[str, Any]], contract: Contract) -> list[str]:
    """Return what Pandera says of rows: one call for many, for it takes its time."""
    return [
        f"{breach.column.name} breaks {breach.promise}: {rows[breach.rows[0]]}"
        for breach in validate(raw_frame(rows, contract), features_only(contract))
    ]


def raw_frame(rows: list[dict[str, Any]], contract: Contract) -> pd.DataFrame:
    """Return rows as the table that training would have read."""
    return pd.DataFrame(
        {
            column.name: pd.Series(
                [_raw(row.get(column.name), column) for row in rows], dtype=object
            )
            for column in contract.features
        }
    )


def _raw(value: Any, column: Column) -> Any:
    """Read a number that stands for a moment as training reads a whole column of them."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return (
        as_timestamp(pd.Series([float(value)]))[0]
        if number and column.type == "timestamp"
        else value
    )


def features_only(contract: Contract) -> Contract:
    """Return the contract without what a request need not have."""
    return contract.model_copy(update={"columns": contract.features})


def different_inputs(asked: dict[str, Any], rows: list[Any], contract: Contract) -> str | None:
    """Say where a model got something else than training would have made of the rows."""
    expected = model_frame(raw_frame(rows, contract), contract)
    for column in contract.features:
        found, wanted = asked[column.name], expected[column.name].to_numpy()
        if found.dtype == object:
            same = found.tolist() == [None if _blank(v) else v for v in wanted.tolist()]
        elif found.dtype.kind == "M":
            same = np.array_equal(
                found.astype("int64"), wanted.astype("datetime64[us]").astype("int64")
            )
        else:
            same = np.array_equal(found, wanted, equal_nan=True)
        if not same:
            pairs = zip(found.tolist(), wanted.tolist(), rows, strict=True)
            at = next((one for one in pairs if one[0] != one[1] and one[1] == one[1]), None)
            return f"{column.name}: the model got, training would have read, of: {at}"
    return None


def _blank(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _typed(value: Any, column: Column) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if column.type in {"number", "integer"}:
        return number and math.isfinite(value) and abs(value) <= SINGLE
    if column.type == "boolean":
        return isinstance(value, bool) or (number and value in {0, 1})
    if column.type == "timestamp":
        return number or isinstance(value, str)
    return isinstance(value, str)
