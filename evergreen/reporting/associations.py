"""How strongly columns go together, measured so that odd distributions do not mislead.

All measures lie between 0 (unrelated) and 1 (one determines the other); Spearman's correlation
also has a sign.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from evergreen.data.contract import Column, Contract
from evergreen.data.statistics import as_numbers, as_plain_numbers, is_numeric

SPEARMAN = "Spearman correlation"
RATIO = "rank correlation ratio"
CRAMER = "Cramér’s V"


@dataclass(frozen=True)
class Association:
    """A column and the target: the measure's name and its value, None where not measurable."""

    column: str
    measure: str
    value: float | None


def target_associations(frame: pd.DataFrame, contract: Contract) -> list[Association]:
    """Return each feature's association with the target, strongest first.

    Numbers with numbers: Spearman's rank correlation. Categories with categories: Cramér's V.
    A number with a category: the correlation ratio of the number's ranks.
    """
    regression = contract.task == "regression"
    found = [_with_target(frame, contract, column, regression) for column in contract.features]
    return sorted(found, key=lambda each: -abs(each.value) if each.value is not None else 1)


def _with_target(
    frame: pd.DataFrame, contract: Contract, column: Column, regression: bool
) -> Association:
    target, name = frame[contract.target], column.name
    if is_numeric(column):
        values = as_numbers(frame[name], column)
        if regression:
            return Association(name, SPEARMAN, spearman(values, as_plain_numbers(target)))
        return Association(name, RATIO, correlation_ratio(target, values))
    if regression:
        return Association(name, RATIO, correlation_ratio(frame[name], as_plain_numbers(target)))
    return Association(name, CRAMER, cramers_v(frame[name], target))


def spearman(one: pd.Series, other: pd.Series) -> float | None:
    """Return Spearman's rank correlation of the rows where both are present."""
    both = one.notna() & other.notna()
    if both.sum() < 3 or one[both].nunique() < 2 or other[both].nunique() < 2:
        return None
    ranks = one[both].rank().to_numpy(), other[both].rank().to_numpy()
    return float(np.corrcoef(*ranks)[0, 1])


def spearman_matrix(frame: pd.DataFrame) -> npt.NDArray[np.float64]:
    """Return Spearman's correlations of all pairs; NaN where not measurable."""
    return frame.corr(method="spearman", min_periods=3).to_numpy()


def correlation_ratio(groups: pd.Series, numbers: pd.Series) -> float | None:
    """Return the correlation ratio η of a number's ranks within groups (Fisher 1925, on ranks).

    Its square is the share of the ranks' variance that lies between the groups.
    """
    both = groups.notna() & numbers.notna()
    if both.sum() < 3:
        return None
    codes, _ = pd.factorize(groups[both].astype(str))
    ranks = numbers[both].rank().to_numpy(dtype="float64")
    total = float(((ranks - ranks.mean()) ** 2).sum())
    sizes = np.bincount(codes)
    if total == 0 or len(sizes) < 2:
        return None
    means = np.bincount(codes, weights=ranks) / sizes
    between = float((sizes * (means - ranks.mean()) ** 2).sum())
    return float(np.sqrt(min(between / total, 1.0)))


def cramers_v(one: pd.Series, other: pd.Series) -> float | None:
    """Return Cramér's V with the bias correction of Bergsma (2013)."""
    both = one.notna() & other.notna()
    rows, left = pd.factorize(one[both].astype(str))
    columns, right = pd.factorize(other[both].astype(str))
    total = len(rows)
    if total < 3 or len(left) < 2 or len(right) < 2:
        return None
    if len(left) * len(right) > 10_000_000:  # a table that large says nothing
        return None
    table = np.bincount(rows * len(right) + columns, minlength=len(left) * len(right)).reshape(
        len(left), len(right)
    )
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / total
    phi = float(((table - expected) ** 2 / expected).sum()) / total
    height, width = table.shape
    phi = max(phi - (height - 1) * (width - 1) / (total - 1), 0.0)
    height_corrected = height - (height - 1) ** 2 / (total - 1)
    width_corrected = width - (width - 1) ** 2 / (total - 1)
    smaller = min(height_corrected, width_corrected) - 1
    return float(np.sqrt(min(phi / smaller, 1.0))) if smaller > 0 else None


def cramers_matrix(frame: pd.DataFrame, columns: Sequence[str]) -> npt.NDArray[np.float64]:
    """Return Cramér's V of all pairs; NaN where not measurable."""
    matrix = np.full((len(columns), len(columns)), np.nan)
    for i, one in enumerate(columns):
        matrix[i, i] = 1.0
        for j in range(i):
            value = cramers_v(frame[one], frame[columns[j]])
            matrix[i, j] = matrix[j, i] = np.nan if value is None else value
    return matrix
