"""What may happen to a stream of rows: each scenario draws a table from a table.

Rows are drawn with replacement from a conformed table (`evergreen.data.conform`), so that what a
scenario leaves alone stays as it was. Shifts are made by drawing some rows more often (exponential
tilting): a covariate shift then leaves P(target | features) as it was, a label shift
P(features | target) (the definitions of Moreno-Torres et al. 2012, Pattern Recognition 45(1)).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from evergreen.data.contract import Column, Contract
from evergreen.errors import InputError
from evergreen.simulation import Scenario

NEW_CATEGORY: Final = "never seen before"
TILT: Final = 1.5  # logarithm of how much likelier a row is, per standard deviation
TOUCHED: Final = 0.3  # share of rows with a new category, or a missing value
BLOCKS: Final = 20  # of a gradual shift, each shifted a little more

Draw = Callable[[pd.DataFrame, Contract, int, np.random.Generator], pd.DataFrame]


def simulate(
    table: pd.DataFrame, contract: Contract, scenario: Scenario, rows: int, seed: int
) -> pd.DataFrame:
    """Draw ``rows`` rows of a scenario from a conformed table; the target column holds the truth.

    The same arguments give the same rows.

    Raises
    ------
    InputError
        If the table has no column that the scenario could happen to, or no labelled row.
    """
    known = table[table[contract.target].notna()].reset_index(drop=True)
    if known.empty:
        raise InputError(f"No row of the table has a {contract.target!r}: nothing to simulate.")
    drawn = _DRAWS[scenario](known, contract, rows, np.random.default_rng(seed))
    return drawn.reset_index(drop=True)


def _none(
    table: pd.DataFrame, contract: Contract, rows: int, rng: np.random.Generator
) -> pd.DataFrame:
    return table.iloc[rng.integers(0, len(table), rows)]


def _covariate_shift(
    table: pd.DataFrame, contract: Contract, rows: int, rng: np.random.Generator
) -> pd.DataFrame:
    score = _standardized(table[_numeric(table, contract, "covariate_shift")])
    return table.iloc[_tilted(score, TILT, rows, rng)]


def _gradual_shift(
    table: pd.DataFrame, contract: Contract, rows: int, rng: np.random.Generator
) -> pd.DataFrame:
    score = _standardized(table[_numeric(table, contract, "gradual_shift")])
    tilts = np.linspace(0, TILT, BLOCKS)
    sizes = [len(block) for block in np.array_split(np.arange(rows), BLOCKS)]
    pairs = zip(tilts, sizes, strict=True)
    return table.iloc[np.concatenate([_tilted(score, t, n, rng) for t, n in pairs])]


def _new_category(
    table: pd.DataFrame, contract: Contract, rows: int, rng: np.random.Generator
) -> pd.DataFrame:
    texts = [c.name for c in contract.features if c.type == "category"]
    if not texts:
        raise InputError(f"new_category: {contract.use_case!r} has no column of categories.")
    drawn = _none(table, contract, rows, rng).copy()
    drawn.loc[_some(rows, rng), texts[0]] = NEW_CATEGORY
    return drawn


def _missingness(
    table: pd.DataFrame, contract: Contract, rows: int, rng: np.random.Generator
) -> pd.DataFrame:
    # Where the contract allows it, the API answers; elsewhere it refuses the rows.
    allowed = sorted(contract.features, key=lambda column: not column.nullable)
    drawn = _none(table, contract, rows, rng).copy()
    drawn.loc[_some(rows, rng), allowed[0].name] = None
    return drawn


def _stuck_sensor(
    table: pd.DataFrame, contract: Contract, rows: int, rng: np.random.Generator
) -> pd.DataFrame:
    name = _numeric(table, contract, "stuck_sensor")
    drawn = _none(table, contract, rows, rng).copy()
    drawn[name] = table[name].dropna().iloc[0]
    return drawn


def _label_shift(
    table: pd.DataFrame, contract: Contract, rows: int, rng: np.random.Generator
) -> pd.DataFrame:
    if contract.task == "regression":
        return table.iloc[_tilted(_standardized(table[contract.target]), TILT, rows, rng)]
    rarest = table[contract.target].value_counts().index[-1]
    score = (table[contract.target] == rarest).to_numpy(dtype=np.float64)
    return table.iloc[_tilted(score, TILT, rows, rng)]


def _concept_change(
    table: pd.DataFrame, contract: Contract, rows: int, rng: np.random.Generator
) -> pd.DataFrame:
    drawn = _none(table, contract, rows, rng).copy()
    target = drawn[contract.target]
    if contract.task == "regression":
        drawn[contract.target] = 2 * table[contract.target].mean() - target
        return drawn
    classes = sorted(table[contract.target].unique())
    turned = dict(zip(classes, [*classes[1:], classes[0]], strict=True))
    drawn[contract.target] = target.map(turned).astype(target.dtype)
    return drawn


_DRAWS: Final[Mapping[Scenario, Draw]] = {
    "none": _none,
    "covariate_shift": _covariate_shift,
    "gradual_shift": _gradual_shift,
    "new_category": _new_category,
    "missingness": _missingness,
    "stuck_sensor": _stuck_sensor,
    "label_shift": _label_shift,
    "concept_change": _concept_change,
}


def _numeric(table: pd.DataFrame, contract: Contract, scenario: Scenario) -> str:
    """Return the first feature that is a number and varies."""
    for column in contract.features:
        if column.type in ("number", "integer") and table[column.name].nunique() > 1:
            return column.name
    raise InputError(f"{scenario}: {contract.use_case!r} has no column of numbers that vary.")


def _standardized(values: pd.Series[Any]) -> npt.NDArray[np.float64]:
    numbers = values.to_numpy(dtype=np.float64)
    spread = np.nanstd(numbers) or 1.0
    return np.nan_to_num((numbers - np.nanmean(numbers)) / spread)


def _tilted(
    score: npt.NDArray[np.float64], tilt: float, rows: int, rng: np.random.Generator
) -> npt.NDArray[np.intp]:
    """Draw positions with probabilities in proportion to exp(tilt * score)."""
    weights = np.exp(tilt * (score - score.max()))
    return rng.choice(len(score), rows, p=weights / weights.sum())


def _some(rows: int, rng: np.random.Generator) -> npt.NDArray[np.bool_]:
    return rng.random(rows) < TOUCHED


def as_requests(drawn: pd.DataFrame, contract: Contract) -> list[dict[str, Any]]:
    """Return the features of every row as the API takes them."""
    columns = [
        [_plain(value, column) for value in drawn[column.name]] for column in contract.features
    ]
    names = [column.name for column in contract.features]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def as_labels(drawn: pd.DataFrame, contract: Contract) -> list[Any]:
    """Return the truth of every row as the API takes it."""
    values = drawn[contract.target]
    return [value.item() if isinstance(value, np.generic) else value for value in values]


def _plain(value: Any, column: Column) -> Any:
    if pd.isna(value):
        return None
    match column.type:
        case "boolean":
            return bool(value)
        case "integer":
            return int(value)
        case "number":
            return float(value)
        case "timestamp":
            moment = pd.Timestamp(value)
            return moment.strftime(column.format) if column.format else moment.isoformat()
    return str(value)
