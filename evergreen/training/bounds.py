"""How many rows a look at a table takes.

Rows beyond are left out by an even draw. What is estimated from so many rows would hardly be
another figure if it came of all: a ROC AUC of a million rows is known within 0.0005.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import pandas as pd

from evergreen.config import TrainingConfig
from evergreen.data.contract import Contract
from evergreen.data.dataset import Dataset, draw_evenly
from evergreen.data.engine import Engine
from evergreen.training.target import read_target

SEARCH_ROWS: Final = 100_000
PREPROCESSING_ROWS: Final = 100_000  # that say where medians lie, and which features to choose
EVALUATION_ROWS: Final = 1_000_000
PROFILE_ROWS: Final = 1_000_000
REPORT_ROWS: Final = 200_000
CLASS_ROWS: Final = 50  # of each class that a search gets, where there are so many
VALUES: Final = 64_000_000  # of which a wide table gives fewer rows


def some_rows(dataset: Dataset, rows: int, seed: int) -> pd.DataFrame:
    """Return at most so many rows of a table, all of a smaller one.

    The same seed draws the same rows.
    """
    return dataset.read_some(bounded(rows, len(dataset.columns)), seed=seed)


def bounded(rows: int, columns: int) -> int:
    """Return how many of so many rows are taken of a table with so many columns."""
    return min(rows, VALUES // max(1, columns))


def search_rows(rows: int, engine: Engine, training: TrainingConfig) -> int:
    """Return on how many of ``rows`` training rows the candidates are searched, about."""
    limit = training.search_rows
    if limit is None:
        limit = SEARCH_ROWS if engine.external else rows
    return min(rows, limit)


def search_table(
    train: Dataset, contract: Contract, training: TrainingConfig, path: Path
) -> Dataset:
    """Return the rows that candidates are searched on, written to ``path`` if they are not all.

    Of a classification, every class keeps 50 rows, or all that it has.

    Raises
    ------
    UnreachableError
        If the file cannot be written.
    """
    rows = search_rows(train.rows, train.engine, training)
    if rows == train.rows:
        return train
    random = np.random.default_rng(training.seed)
    taken = draw_evenly(train.rows, rows, random)
    if contract.labels is not None:
        target = cast("pd.Categorical[Any]", read_target(train, contract))
        for code in range(len(target.categories)):
            of_class = np.flatnonzero(target.codes == code)
            if taken[of_class].sum() < CLASS_ROWS:
                taken[random.permutation(of_class)[:CLASS_ROWS]] = True
    frame = train.read_where(taken)
    return Dataset.write(frame, path, f"{train.source}, {len(frame)} rows", train.engine)
