"""The target of all training rows, and the baseline, which learns from nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

from evergreen.data.conform import as_classes, target_values
from evergreen.data.contract import Contract
from evergreen.data.dataset import Dataset
from evergreen.data.threads import in_threads

Target: TypeAlias = "npt.NDArray[np.float64] | pd.Categorical[Any]"


def read_target(train: Dataset, contract: Contract) -> Target:
    """Return the target of all rows; of a classification it takes a byte per row.

    Raises
    ------
    InputError
        If the file cannot be read, or a row has no target.
    """
    read = _numbers_of if contract.labels is None else classes_of
    groups = range(len(train.row_groups()))
    parts = [*in_threads(lambda number: read(train, number, contract), groups)]
    found = np.concatenate(parts)
    if contract.labels is None:
        return found
    target = pd.Categorical.from_codes(found, categories=_index_of(contract.labels))
    counts = sum(np.bincount(part, minlength=len(contract.labels)) for part in parts)
    return target if np.all(counts) else target.remove_unused_categories()  # which sorts all rows


def classes_of(table: Dataset, number: int, contract: Contract) -> npt.NDArray[Any]:
    """Return the place among the contract's labels of the class of each row of a row group.

    Raises
    ------
    InputError
        If the file cannot be read, or a row has no class.
    """
    values = table.read_row_group(number, [contract.target], as_stored=True)
    classes = as_classes(values[contract.target], contract)
    if (classes.codes < 0).any():
        target_values(values, contract)  # raises
    return classes.codes


def _numbers_of(table: Dataset, number: int, contract: Contract) -> npt.NDArray[Any]:
    return target_values(table.read_row_group(number, [contract.target]), contract)


def class_codes(
    values: npt.NDArray[Any], classes: Sequence[Any] | npt.NDArray[Any] | pd.Index[Any]
) -> npt.NDArray[np.signedinteger[Any]]:
    """Return each value's place among the classes, -1 where it is none, in as few bytes as hold it.

    ``values`` are those of `target_values`.
    """
    known = _index_of(classes)
    codes = known.get_indexer(pd.Index(values, dtype=known.dtype))
    return codes.astype(np.min_scalar_type(-len(known)))


def _index_of(classes: Sequence[Any] | npt.NDArray[Any] | pd.Index[Any]) -> pd.Index[Any]:
    """Return an index of classes; texts as objects, or each row's is cast to another text."""
    return pd.Index(classes, dtype=object if isinstance(classes[0], str) else None)


def learn_target(estimator: Any, target: Target) -> None:
    """Fit an estimator that learns from the target alone."""
    if isinstance(target, pd.Categorical):
        # It only counts the labels, and would sort a text for each row to do so.
        labels, counts = np.asarray(target.categories), np.bincount(target.codes)
        estimator.fit(np.zeros((len(labels), 1)), labels, sample_weight=counts)
    else:
        estimator.fit(np.zeros((len(target), 1)), target)
