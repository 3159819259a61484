"""What the target shows: holes, a single value, rare classes."""

from __future__ import annotations

import numpy as np
import pandas as pd

from evergreen.config import SplitConfig
from evergreen.data.quality.observation import (
    Observation,
    Observations,
    Table,
    counted,
    first_rows,
    percent,
)
from evergreen.data.splits import split_method


def target_missing(table: Table, limit: float) -> Observations:
    """Find a greater share of rows without target than allowed."""
    count = table.missing(table.target)
    share = count / len(table.raw) if count else 0.0
    if share > limit:
        yield Observation(
            f"The target {table.target.name!r} is missing in {counted(count, 'row')} "
            f"({percent(share)}, more than {percent(limit)}). Mend the source, or raise "
            "quality.target_missing.limit: rows without target are left out of training.",
            columns=(table.target.name,),
            count=count,
            share=share,
            rows=first_rows(table.missing_in(table.target)),
        )


def target_constant(table: Table, limit: float) -> Observations:
    """Find a target with one value throughout."""
    found = table.statistics(table.target)
    if found.distinct == 1:
        value = table.conformed[table.target.name].dropna().iloc[0]
        yield Observation(
            f"The target {table.target.name!r} is {value!r} in every row, so there is nothing to "
            "predict. Check data.target and the source.",
            columns=(table.target.name,),
            count=found.present,
        )


def class_rows(table: Table, limit: float) -> Observations:
    """Find classes with fewer rows than the limit, or than the folds need beside the holdout."""
    needed = max(limit, _rows_for_folds(table))
    counts = _class_counts(table)
    for label, count in counts[counts < needed].items():
        yield Observation(
            f"The class {label!r} of {table.target.name!r} has only {counted(int(count), 'row')}; "
            f"a holdout of {table.use_case.split.holdout:.0%} and {table.use_case.split.folds} "
            f"folds on the rest need at least {needed:g}. Get more rows of it, merge it with "
            "another class, leave it out of the table"
            f"{', or lower split.folds' if count > limit else ''}.",
            columns=(table.target.name,),
            count=int(count),
            share=float(count / counts.sum()),
            rows=first_rows((table.conformed[table.target.name] == label).to_numpy()),
        )


def class_balance(table: Table, limit: float) -> Observations:
    """Find a rarest class with a smaller share than wanted."""
    counts = _class_counts(table)
    if len(counts) < 2:
        return
    label, count = counts.idxmin(), int(counts.min())
    share = float(count / counts.sum())
    if share < limit:
        yield Observation(
            f"The class {label!r} of {table.target.name!r} makes up only {percent(share)} of the "
            f"rows ({count:,}; less than {percent(limit)}), so accuracy says little. Judge by "
            "pr_auc or log_loss, and consider training.balance: true.",
            columns=(table.target.name,),
            count=count,
            share=share,
        )


def _class_counts(table: Table) -> pd.Series[int]:
    if table.contract.labels is None:
        return pd.Series(dtype="int64")
    levels = table.statistics(table.target).levels
    return pd.Series(dtype="int64") if levels is None else levels


def _rows_for_folds(table: Table) -> int:
    """Return how many rows of a class leave each fold one of them, once the holdout is gone."""
    config: SplitConfig = table.use_case.split
    if split_method(table.contract, config) == "time":
        return 1
    if config.folds > len(table.conformed):
        return 1  # no matter of classes: making the folds says what is wrong
    rows = np.arange(1, 10_000)
    left = rows - np.maximum(1, np.round(config.holdout * rows))
    enough = rows[left >= config.folds]
    return int(enough[0]) if len(enough) else config.folds
