"""Groups of rows that are measured apart: a model can be good on average and bad for some."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from evergreen.data.contract import Contract
from evergreen.training.predictions import IntArray

MOST_LEVELS = 20
OTHER = "(other)"
MISSING = "(missing)"


@dataclass(frozen=True)
class Slice:
    """Some rows (positions) and what they have in common: a value or a range of one column."""

    column: str
    value: str
    rows: IntArray


def slices_of(frame: pd.DataFrame, contract: Contract, column: str, bins: int) -> list[Slice]:
    """Divide a conformed frame's rows by one column of its contract.

    Categories, labels and booleans: one slice per level, the rarest beyond 20 together. Numbers:
    quantile bins (lower bound included, upper one excluded, except in the last), or one slice per
    value where there are no more values than bins. Dates: years, or months within one year.
    Missing values have a slice of their own.
    """
    values = frame[column].reset_index(drop=True)
    kind = contract.column(column).type
    if column == contract.target and contract.labels is not None:
        kind = "category"
    if kind == "boolean":
        named = _text(values, lambda value: "true" if value else "false")
    elif kind == "timestamp":
        named = _periods(values)
    elif kind in {"number", "integer"}:
        named = _ranges(values.astype("float64"), bins)
    else:
        named = _text(values, str)
        common = set(named[values.notna()].value_counts().index[:MOST_LEVELS])
        named = named.where(named.isin(common) | values.isna(), OTHER)
    positions = pd.Series(np.arange(len(named))).groupby(named.to_numpy(), sort=False)
    groups = {str(value): rows.to_numpy(np.int64) for value, rows in positions}
    order = [*(value for value in _order(named, values) if value in groups)]
    return [Slice(column, value, groups[value]) for value in order]


def _text(values: pd.Series[Any], name: Any) -> pd.Series[Any]:
    return values.map(lambda value: MISSING if pd.isna(value) else name(value)).astype(object)


def _periods(values: pd.Series[Any]) -> pd.Series[Any]:
    pattern = "%Y" if values.dt.year.nunique() > 1 else "%Y-%m"
    return values.dt.strftime(pattern).astype(object).where(values.notna(), MISSING)


def _ranges(values: pd.Series[Any], bins: int) -> pd.Series[Any]:
    distinct = np.unique(values.dropna())
    if len(distinct) <= bins:
        return _text(values, lambda value: f"{value:.15g}")
    edges = np.unique(np.quantile(values.dropna(), np.linspace(0, 1, bins + 1)))
    names = _range_names(edges)
    position = np.searchsorted(edges[1:-1], values.fillna(edges[0]), side="right")
    return pd.Series(np.array(names, dtype=object)[position]).where(values.notna(), MISSING)


def _range_names(edges: np.ndarray[Any, Any]) -> list[str]:
    """Write the edges with as few digits as tell them apart."""
    digits = next(
        (d for d in range(3, 17) if len({f"{edge:.{d}g}" for edge in edges}) == len(edges)), 17
    )
    texts = [f"{edge:.{digits}g}" for edge in edges]
    return [f"{low} to {high}" for low, high in pairwise(texts)]


def _order(named: pd.Series[Any], values: pd.Series[Any]) -> list[str]:
    """Order slices by their smallest value, as numbers and dates do; the pooled ones go last."""
    smallest = values.groupby(named.to_numpy()).min().dropna()
    regular = [str(value) for value in smallest.sort_values().index if value != OTHER]
    return [*regular, OTHER, MISSING]
