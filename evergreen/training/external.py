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
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.dummy import DummyClassifier, DummyRegressor
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


def fit_by_pieces(
    train: Dataset,
    contract: Contract,
    transform: Pipeline,
    estimator: Any,
    training: TrainingConfig,
) -> Pipeline:
    """Fit both halves of a model on all training rows, of which a piece is in memory at a time.

    ``estimator`` is XGBoost's, which learns from disk or on Dask as the table's engine says,
    LightGBM's with Dask, or the baseline's, which looks at the target alone.

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
    baseline = isinstance(estimator, DummyClassifier | DummyRegressor)
    if train.engine.name == "dask" and not baseline:
        learn_on_dask(estimator, train, contract, transform, training.dask)
    else:
        target = target_values(train.read([contract.target]), contract)
        if baseline:
            estimator.fit(np.zeros((len(target), 1)), target)
        else:
            _learn_from_disk(estimator, train, contract, transform, target)
    return Pipeline([("features", transform), ("estimator", estimator)])


def _learn_from_disk(
    estimator: Any, train: Dataset, contract: Contract, transform: Pipeline, target: Any
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
