"""What may happen to a stream of rows: each scenario draws a table from a table.

Rows are drawn with replacement from a conformed table (`evergreen.data.conform`), and their numbers
moved a little: the smoothed bootstrap (Silverman and Young 1987, Biometrika 74(3)), so that a small
table makes a stream without copies. What a scenario leaves alone stays as it was. Shifts are made
by drawing some rows more often (exponential tilting): a covariate shift then leaves
P(target | features) as it was, a label shift P(features | target) (the definitions of
Moreno-Torres et al. 2012, Pattern Recognition 45(1)).
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
WIDTHS: Final = (0.1, 0.15, 0.2, 0.3)  # of the smoothing, in differences to another row
COPIES: Final = 0.1  # share of rows that may repeat another; where more do, the next width is taken
COMMON: Final = 0.25  # a column of which one value takes this share is no continuous one
MOST_DECIMALS: Final = 9
ENOUGH: Final = 20  # rows of the table for each one drawn, of which few come twice
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


def _drawn(
    table: pd.DataFrame,
    contract: Contract,
    places: npt.NDArray[np.intp],
    rng: np.random.Generator,
) -> pd.DataFrame:
    """Return the rows at ``places``, each moved a little along its difference to another row.

    Sums and ratios that hold in the table go on holding, about: all columns of a row move together,
    and towards a row of the same class. Means and variances within a class stay (the shrinkage of
    Silverman and Young), as do decimals, ranges, whole numbers and columns with a very common
    value; so does every row of a table that is large enough to make few copies.
    """
    drawn = table.iloc[places].copy()
    names = _continuous(table, contract)
    if not names or len(table) >= ENOUGH * len(places):
        return drawn
    before = table[names].to_numpy(dtype=np.float64)
    partners, centres = _alike(table, contract, before, places, rng)
    towards = np.nan_to_num(before[partners] - before[places])
    steps = rng.standard_normal((len(places), 1))
    for width in WIDTHS:
        moved = before[places] + width * steps * towards
        moved = centres + (moved - centres) / np.sqrt(1 + 2 * width**2)
        moved = np.clip(moved, np.nanmin(before, axis=0), np.nanmax(before, axis=0))
        for place, name in enumerate(names):
            drawn[name] = np.round(moved[:, place], _decimals(before[:, place]))
        if drawn.duplicated().mean() <= COPIES:
            break
    return drawn


def _alike(
    table: pd.DataFrame,
    contract: Contract,
    values: npt.NDArray[np.float64],
    places: npt.NDArray[np.intp],
    rng: np.random.Generator,
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float64]]:
    """Choose another row of the same class for each place (of a regression: any).

    Return their positions, and the means of the classes (places x columns).
    """
    classes = [np.arange(len(table))]
    if contract.labels is not None:
        groups = table.groupby(contract.target, sort=True).indices
        classes = [np.asarray(rows) for rows in groups.values()]
    partners, centres = places.copy(), np.empty((len(places), values.shape[1]))
    for rows in classes:
        mine = np.isin(places, rows)
        partners[mine] = rng.choice(rows, int(mine.sum()))
        centres[mine] = np.nanmean(values[rows], axis=0)
    return partners, centres


def _decimals(values: npt.NDArray[np.float64]) -> int:
    """Return how many decimals the values were written with, at most `MOST_DECIMALS`."""
    known = values[np.isfinite(values)]
    for decimals in range(MOST_DECIMALS):
        if np.allclose(known, np.round(known, decimals), rtol=0, atol=1e-9):
            return decimals
    return MOST_DECIMALS


def _continuous(table: pd.DataFrame, contract: Contract) -> list[str]:
    """Return the columns of numbers that rarely repeat, the target of a regression with them."""
    columns = [*contract.features, contract.column(contract.target)]
    return [
        column.name
        for column in columns
        if column.type == "number"
        and not (column.name == contract.target and contract.labels is not None)
        and table[column.name].notna().any()
        and table[column.name].value_counts(normalize=True).iloc[0] < COMMON
    ]


def _none(
    table: pd.DataFrame, contract: Contract, rows: int, rng: np.random.Generator
) -> pd.DataFrame:
    return _drawn(table, contract, rng.integers(0, len(table), rows), rng)


def _covariate_shift(
    table: pd.DataFrame, contract: Contract, rows: int, rng: np.random.Generator
) -> pd.DataFrame:
    score = _standardized(table[_numeric(table, contract, "covariate_shift")])
    return _drawn(table, contract, _tilted(score, TILT, rows, rng), rng)


def _gradual_shift(
    table: pd.DataFrame, contract: Contract, rows: int, rng: np.random.Generator
) -> pd.DataFrame:
    score = _standardized(table[_numeric(table, contract, "gradual_shift")])
    tilts = np.linspace(0, TILT, BLOCKS)
    sizes = [len(block) for block in np.array_split(np.arange(rows), BLOCKS)]
    pairs = zip(tilts, sizes, strict=True)
    places = np.concatenate([_tilted(score, t, n, rng) for t, n in pairs])
    return _drawn(table, contract, places, rng)


def _new_category(
    table: pd.DataFrame, contract: Contract, rows: int, rng: np.random.Generator
) -> pd.DataFrame:
    texts = [c.name for c in contract.features if c.type == "category"]
    if not texts:
        raise InputError(f"new_category: {contract.use_case!r} has no column of categories.")
    drawn = _none(table, contract, rows, rng)
    drawn.loc[_some(rows, rng), texts[0]] = NEW_CATEGORY
    return drawn


def _missingness(
    table: pd.DataFrame, contract: Contract, rows: int, rng: np.random.Generator
) -> pd.DataFrame:
    # Where the contract allows it, the API answers; elsewhere it refuses the rows.
    allowed = sorted(contract.features, key=lambda column: not column.nullable)
    drawn = _none(table, contract, rows, rng)
    drawn.loc[_some(rows, rng), allowed[0].name] = None
    return drawn


def _stuck_sensor(
    table: pd.DataFrame, contract: Contract, rows: int, rng: np.random.Generator
) -> pd.DataFrame:
    name = _numeric(table, contract, "stuck_sensor")
    drawn = _none(table, contract, rows, rng)
    drawn[name] = table[name].dropna().iloc[0]
    return drawn


def _label_shift(
    table: pd.DataFrame, contract: Contract, rows: int, rng: np.random.Generator
) -> pd.DataFrame:
    if contract.task == "regression":
        score = _standardized(table[contract.target])
        return _drawn(table, contract, _tilted(score, TILT, rows, rng), rng)
    rarest = table[contract.target].value_counts().index[-1]
    score = (table[contract.target] == rarest).to_numpy(dtype=np.float64)
    return _drawn(table, contract, _tilted(score, TILT, rows, rng), rng)


def _concept_change(
    table: pd.DataFrame, contract: Contract, rows: int, rng: np.random.Generator
) -> pd.DataFrame:
    drawn = _none(table, contract, rows, rng)
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
