"""Fitting a candidate on a table that does not fit into memory.

The preprocessing is fitted on rows drawn evenly, and applied piece by piece: its output, in single
precision as XGBoost takes it anyway, is written to disk once. XGBoost reads it from there, cuts it
into bins, and keeps the bins on disk as well (its external memory, Chen & Guestrin 2016, section
4.3). What stays in memory is a few numbers per row: target, gradient, prediction.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.pipeline import Pipeline

from evergreen.config import TrainingConfig
from evergreen.data.conform import model_frame, target_values
from evergreen.data.contract import Contract
from evergreen.data.dataset import Dataset
from evergreen.paths import Home
from evergreen.training.bounds import PREPROCESSING_ROWS, SELECTION_ROWS, some_rows
from evergreen.training.on_dask import learn_on_dask

FILE_BYTES = 64 << 20  # of features that XGBoost is given at once

Matrix = npt.NDArray[np.float32]
Target: TypeAlias = "npt.NDArray[np.float64] | pd.Categorical[Any]"


def fit_by_pieces(
    train: Dataset,
    contract: Contract,
    transform: Pipeline,
    estimator: Any,
    training: TrainingConfig,
) -> Pipeline:
    """Fit both halves of a model on all training rows, of which a piece is in memory at a time.

    ``estimator`` is XGBoost's, which learns from disk or on Dask as the table's engine says, or one
    that looks at the target alone.

    Raises
    ------
    InputError
        If the file cannot be read, or the Dask cluster does not suit.
    UnreachableError
        If the disk is full, or the Dask cluster does not answer.
    """
    rows = PREPROCESSING_ROWS
    if "select" in transform.named_steps:
        rows = SELECTION_ROWS
    sample = some_rows(train, rows, training.seed)
    transform.fit(model_frame(sample, contract), target_values(sample, contract))
    del sample
    if hasattr(estimator, "get_booster") and train.engine.name == "dask":
        learn_on_dask(estimator, train, contract, transform, training.dask)
    else:
        target = _read_target(train, contract)
        if hasattr(estimator, "get_booster"):
            _learn_from_disk(estimator, train, contract, transform, target)
        elif isinstance(target, pd.Categorical):
            # It only counts the labels, and would sort a text for each row to do so.
            labels, counts = np.asarray(target.categories), np.bincount(target.codes)
            estimator.fit(np.zeros((len(labels), 1)), labels, sample_weight=counts)
        else:
            estimator.fit(np.zeros((len(target), 1)), target)
    return Pipeline([("features", transform), ("estimator", estimator)])


def _read_target(train: Dataset, contract: Contract) -> Target:
    """Return the target of all rows; of a classification it takes a byte per row."""
    pieces = (target_values(piece, contract) for piece in train.pieces([contract.target]))
    if contract.labels is None:
        return np.concatenate(list(pieces))
    classes: pd.Index[Any] = pd.Index(contract.labels)
    codes = [pd.Categorical(values, categories=classes).codes for values in pieces]
    found: pd.Categorical[Any] = pd.Categorical.from_codes(
        np.concatenate(codes), categories=classes
    )
    return found.remove_unused_categories()


def _learn_from_disk(
    estimator: Any, train: Dataset, contract: Contract, transform: Pipeline, target: Target
) -> None:
    scratch = Home.locate().scratch
    scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=scratch, prefix="features-") as folder:
        features = _write_features(train, contract, transform, Path(folder) / "features.bin")
        with _from_disk(estimator, features, Path(folder)):
            estimator.fit(features, target)


def _write_features(train: Dataset, contract: Contract, transform: Pipeline, path: Path) -> Any:
    """Write rows × features to a file, row by row; return it as an array that lies on disk."""
    width = 0
    names = [column.name for column in contract.features]
    with path.open("wb") as file:
        for piece in train.pieces(names):
            made = np.asarray(transform.transform(model_frame(piece, contract)), dtype=np.float32)
            width = made.shape[1]
            made.tofile(file)
    return np.memmap(path, dtype=np.float32, mode="r", shape=(train.rows, width))


@contextmanager
def _from_disk(estimator: Any, features: Any, folder: Path) -> Iterator[None]:
    """Let an estimator's ``fit`` read its features from the file instead of holding them.

    XGBoost's estimators make their matrix in one place, which its own Dask estimators replace in
    the same way; all else of ``fit`` stays what it is.
    """

    def matrix(ref: Any, *, label: Any = None, weight: Any = None, **_: Any) -> Any:
        from xgboost import ExtMemQuantileDMatrix

        return ExtMemQuantileDMatrix(
            _pieces_of(Path(features.filename), features.shape, label, weight, folder),
            missing=estimator.missing,
            max_bin=estimator.max_bin,
            nthread=estimator.n_jobs,
        )

    estimator._create_dmatrix = matrix
    try:
        yield
    finally:
        del estimator._create_dmatrix


def _pieces_of(path: Path, shape: tuple[int, int], label: Any, weight: Any, folder: Path) -> Any:
    """Return what hands XGBoost the features, piece by piece, as often as it asks."""
    from xgboost import DataIter

    rows, width = shape
    step = max(1, FILE_BYTES // (4 * width))

    class Pieces(DataIter):
        def __init__(self) -> None:
            self.start = 0
            super().__init__(cache_prefix=str(folder / "bins"))

        def reset(self) -> None:
            self.start = 0

        def next(self, input_data: Any) -> bool:
            if self.start >= rows:
                return False
            part = slice(self.start, min(self.start + step, rows))
            count, offset = (part.stop - part.start) * width, 4 * part.start * width
            # Read, not mapped: pages of a mapped file would count as this process's memory.
            data: Matrix = np.fromfile(path, np.float32, count, offset=offset)
            input_data(
                data=data.reshape(-1, width),
                label=label[part],
                weight=None if weight is None else weight[part],
            )
            self.start = part.stop
            return True

    return Pieces()
