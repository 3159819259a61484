"""Columns that know too much: one that predicts the target alone, one that numbers the rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from evergreen.data.contract import Column
from evergreen.data.quality.observation import (
    Observation,
    Observations,
    Table,
    counted,
    percent,
)
from evergreen.data.statistics import ColumnStatistics

SAMPLE_ROWS = 20_000
SCREEN_ROWS = 2_000  # a column that does badly on so many rows is not looked at further
SCREEN_SLACK = 0.3
MIN_ROWS = 50  # on fewer rows, a perfect guess may be chance
MIN_CLASS_ROWS = 10  # the same, for a class: rarer ones are left out

Values = NDArray[Any]


def leakage(table: Table, limit: float) -> Observations:
    """Find features that predict the target alone, with a skill of at least ``limit``.

    Skill is the share of a naive guess's error that a decision tree on this one column avoids on
    rows it has not seen (two halves, fitted on one, judged on the other). Classification counts
    wrong classes, and classes with fewer than 10 rows are left out; regression takes squared
    errors (so skill is R²), or the absolute rank correlation where that is greater. Nothing is
    said on fewer than 50 rows, or where no second class has 10.
    """
    rows, target = _usable_rows(table)
    if not len(rows):
        return
    classify = table.contract.labels is not None
    for column in table.columns("feature"):
        values = _as_numbers(table.conformed[column.name], column, rows)
        screen = slice(SCREEN_ROWS)
        if len(rows) > SCREEN_ROWS and (
            _skill(values[screen], target[screen], classify) < limit - SCREEN_SLACK
        ):
            continue
        skill = _skill(values, target, classify)
        if skill >= limit:
            yield Observation(
                f"Column {column.name!r} alone predicts the target {table.target.name!r} with a "
                f"skill of {_rounded_down(skill)} (1 is perfect) on rows held back, so it "
                "probably holds the answer. List it under data.ignore; if it is known before the "
                "target is, set quality.leakage: warning.",
                columns=(column.name,),
                count=len(rows),
                share=skill,
            )


def identifiers(table: Table, limit: float) -> Observations:
    """Find features that tell rows apart rather than describe them, and what was left out so.

    Such are text with nearly as many values as rows, and whole numbers that besides rise (or
    fall) from row to row or leave no gaps.
    """
    for column in table.columns("feature", "ignored"):
        if column.name in table.use_case.data.ignore:
            continue
        found = table.statistics(column)
        rows, distinct = found.present, found.distinct
        if rows < MIN_ROWS:
            continue
        if column.role == "ignored" and column.type != "identifier":
            continue
        numeric = column.type in {"number", "integer"}
        if numeric and not _numbers_the_rows(table.conformed[column.name], found):
            continue
        if column.role == "feature" and not numeric and column.type != "category":
            continue
        share = distinct / rows
        if column.role == "ignored":
            message = (
                f"Column {column.name!r} is left out as an identifier: {counted(distinct, 'value')}"
                f" in {rows:,} rows. List it under data.ignore to say so yourself, or set "
                "its type to category under contract to use it."
            )
        elif share >= limit:
            message = (
                f"Column {column.name!r} looks like an identifier: {counted(distinct, 'value')} in "
                f"{rows:,} rows ({percent(share)}). A model would learn rows by heart; "
                "list it under data.ignore."
            )
        else:
            continue
        yield Observation(message, columns=(column.name,), count=distinct, share=share)


def _numbers_the_rows(values: pd.Series, found: ColumnStatistics) -> bool:
    spread = found.spread
    if spread is None or not spread.whole:
        return False
    if spread.high - spread.low + 1 <= 1.1 * spread.present:  # no gaps
        return True
    present = values.dropna()
    return bool(present.is_monotonic_increasing or present.is_monotonic_decreasing)


def _usable_rows(table: Table) -> tuple[NDArray[np.int64], Values]:
    """Return positions of up to 20,000 rows in random order, and their target as numbers."""
    target = table.conformed[table.target.name]
    if table.contract.labels is None:
        usable = target.notna().to_numpy()
        rows = _thinned(usable, np.zeros(len(usable), dtype=np.int64))
        values = target.to_numpy(dtype="float64")
        values = values / max(np.abs(values[usable]).max(initial=0), 1e-300)  # squares stay finite
    else:
        values = table.levels(table.target).codes
        counts = np.bincount(values[values >= 0], minlength=int(values.max(initial=-1)) + 2)
        rows = _thinned((values >= 0) & (counts[values] >= MIN_CLASS_ROWS), values)
    rows = np.random.default_rng(0).permutation(rows)
    if table.contract.labels is not None:
        # Every class in turn, so that any first part of the rows holds the rare ones, too.
        rows = rows[np.argsort(_place_within(values[rows]), kind="stable")]
    rows = rows[:SAMPLE_ROWS]
    if len(rows) < MIN_ROWS or len(np.unique(values[rows])) < 2:
        return np.array([], dtype=np.int64), values
    return rows, values[rows]


def _thinned(usable: NDArray[np.bool_], classes: Values) -> NDArray[np.int64]:
    """Return the positions of usable rows, of each class at most about twice as many as count.

    Only those take part in what follows, whose time would grow faster than the table.
    """
    counts = np.bincount(classes[usable], minlength=int(classes.max(initial=-1)) + 2)
    # -1, no class, is the last place.
    chances = 2 * SAMPLE_ROWS / np.maximum(counts, 1)
    if (chances < 1).any():
        drawn = np.random.default_rng(1).random(len(usable))
        usable = usable & (drawn < chances[classes])
    return np.flatnonzero(usable)


def _as_numbers(values: pd.Series, column: Column, rows: NDArray[np.int64]) -> Values:
    """Return some rows as floats: categories by their order of appearance, moments in seconds."""
    if column.type in {"category", "identifier"}:
        numbers: Values = np.empty(len(rows))
        order = np.argsort(rows)
        numbers[order] = pd.factorize(values.iloc[rows[order]])[0]
        return numbers
    values = values.iloc[rows]
    if column.type == "timestamp":
        seconds = values.to_numpy().astype("datetime64[s]").astype("float64")
        return np.where(values.isna(), np.nan, seconds)
    return values.to_numpy(dtype="float64")


def _skill(values: Values, target: Values, classify: bool) -> float:
    if classify:
        return _tree_skill(values, target, classify)
    return max(_rank_correlation(values, target), _tree_skill(values, target, classify))


def _rank_correlation(values: Values, target: Values) -> float:
    """Return the absolute rank correlation on the rows that have a value (Spearman, 1904)."""
    known = ~np.isnan(values)
    if known.sum() < max(MIN_ROWS, len(values) / 10):
        return 0.0
    ranks = pd.DataFrame({"value": values[known], "target": target[known]}).rank().to_numpy().T
    if (ranks == ranks[:, :1]).all(axis=1).any():
        return 0.0
    return abs(float(np.corrcoef(ranks)[0, 1]))


def _tree_skill(values: Values, target: Values, classify: bool) -> float:
    """Return the share of a naive guess's error that a tree on one column avoids, cross-fitted."""
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    if np.isnan(values).all():
        return 0.0
    column = _scaled(values).reshape(-1, 1)
    guess: Values = np.empty(len(target))
    for fit, judge in _halves(target if classify else np.zeros(len(target))):
        tree = DecisionTreeClassifier() if classify else DecisionTreeRegressor()
        guess[judge] = (
            tree.set_params(random_state=0).fit(column[fit], target[fit]).predict(column[judge])
        )
    if classify:
        wrong = float((guess != target).mean())
        naive = 1 - np.bincount(target).max() / len(target)
    else:
        wrong = float(((guess - target) ** 2).mean())
        naive = float(target.var())
    return 1 - wrong / naive if naive > 0 else 0.0


def _scaled(values: Values) -> Values:
    """Map values to 0 … 1: trees see 32 bits, too few for large numbers that lie close."""
    values = values / max(np.nanmax(np.abs(values)), 1e-300)
    values = values - np.nanmin(values)
    return values / max(np.nanmax(values), 1e-300)


def _halves(classes: Values) -> list[tuple[Values, Values]]:
    """Return both ways to fit on one half of each class and judge on the other."""
    odd = _place_within(classes) % 2 == 1
    return [(odd, ~odd), (~odd, odd)]


def _place_within(classes: Values) -> Values:
    """Number the rows of each class: 0, 1, 2 …"""
    return pd.Series(classes).groupby(classes).cumcount().to_numpy()


def _rounded_down(skill: float) -> str:
    return f"{np.floor(skill * 10_000) / 10_000:.4g}"
