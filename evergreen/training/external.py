"""Fitting a candidate on a table that does not fit into memory.

The preprocessing is fitted piece by piece, on all rows. Least squares take its output as it comes.
XGBoost and the logistic regression go through it several times: in single precision, as XGBoost
takes it anyway, it is written to disk once. XGBoost cuts it into bins, and keeps the bins on disk
as well (its external memory, Chen & Guestrin 2016, section 4.3). What stays in memory is a few
numbers per row: target, gradient, prediction.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.pipeline import Pipeline

from evergreen.config import TrainingConfig
from evergreen.data.conform import model_frame, target_values
from evergreen.data.contract import Contract
from evergreen.data.dataset import Dataset
from evergreen.data.threads import in_threads
from evergreen.features import is_fitted
from evergreen.features.streaming import fit_from_stream
from evergreen.scratch import working_folder
from evergreen.training.bins import BinSample, bin_sample
from evergreen.training.bounds import PREPROCESSING_ROWS, some_rows
from evergreen.training.candidates import Candidate, fitted_on_dask
from evergreen.training.feature_file import FeatureFile, Onlooker, feature_pieces
from evergreen.training.least_squares import learn_least_squares
from evergreen.training.logistic import learn_logistic
from evergreen.training.on_dask import await_learning, learn_on_dask
from evergreen.training.target import Target, learn_target, read_target


def fit_by_pieces(
    train: Dataset,
    contract: Contract,
    transform: Pipeline,
    candidate: Candidate,
    estimator: Any,
    training: TrainingConfig,
) -> Pipeline:
    """Fit both halves of a model on all training rows, of which a piece is in memory at a time.

    ``estimator`` is one of a candidate that learns from disk, or on Dask where the table's engine
    says so. A ``transform`` that is fitted already stays as it is.

    Raises
    ------
    InputError
        If the file cannot be read, or the Dask cluster does not suit.
    UnreachableError
        If the disk is full, or the Dask cluster does not answer.
    """
    on_dask = fitted_on_dask(candidate.name, train.engine)
    if on_dask:
        await_learning(training.dask)
    if not is_fitted(transform):
        _fit_transform(train, contract, transform, training.seed)
    if on_dask:
        learn_on_dask(estimator, train, contract, transform, training.dask)
    else:
        target = read_target(train, contract)
        if candidate.from_disk == "target":
            learn_target(estimator, target)
        elif candidate.from_disk == "least_squares":
            made = feature_pieces(train, contract, transform)
            learn_least_squares(estimator, _with_target(made, np.asarray(target)))
        elif candidate.from_disk == "logistic":
            with _written(train, contract, transform) as features:
                learn_logistic(estimator, features, target)
        else:
            _learn_trees(estimator, train, contract, transform, target)
    return Pipeline([("features", transform), ("estimator", estimator)])


def _fit_transform(train: Dataset, contract: Contract, transform: Pipeline, seed: int) -> None:
    sample = some_rows(train, PREPROCESSING_ROWS, seed)
    inputs, target = model_frame(sample, contract), target_values(sample, contract)
    if len(sample) == train.rows:
        transform.fit(inputs, target)
        return
    names = [column.name for column in contract.features]

    def frame(number: int) -> pd.DataFrame:
        return model_frame(train.read_row_group(number, names), contract)

    def frames() -> Iterator[pd.DataFrame]:
        return in_threads(frame, range(len(train.row_groups())))

    fit_from_stream(transform, frames, train.rows, sample=inputs, target=target)


def _with_target(
    pieces: Iterator[npt.NDArray[np.float64]], target: npt.NDArray[Any]
) -> Iterator[tuple[npt.NDArray[np.float64], npt.NDArray[Any]]]:
    start = 0
    for piece in pieces:
        yield piece, target[start : start + len(piece)]
        start += len(piece)


@contextmanager
def _written(
    train: Dataset, contract: Contract, transform: Pipeline, onlooker: Onlooker | None = None
) -> Iterator[FeatureFile]:
    """Yield the features of all rows, in a file that is deleted afterwards."""
    with working_folder("features-") as folder:
        path = folder / "features.bin"
        yield FeatureFile.write(train, contract, transform, path, onlooker)


def _learn_trees(
    estimator: Any, train: Dataset, contract: Contract, transform: Pipeline, target: Target
) -> None:
    weight = estimator.row_weights(target) if isinstance(target, pd.Categorical) else None
    width = len(transform.get_feature_names_out())
    sample = bin_sample(estimator, train.rows, width, weight)
    onlooker = None if sample is None else sample.take
    with (
        _written(train, contract, transform, onlooker) as features,
        _from_disk(estimator, features, sample),
    ):
        estimator.fit(features.mapped(), target, sample_weight=weight)


@contextmanager
def _from_disk(estimator: Any, features: FeatureFile, sample: BinSample | None) -> Iterator[None]:
    """Let an estimator's ``fit`` read its features from the file instead of holding them.

    XGBoost's estimators make their matrix in one place, which its own Dask estimators replace in
    the same way; all else of ``fit`` stays what it is.
    """

    def matrix(ref: Any, *, label: Any = None, weight: Any = None, **_: Any) -> Any:
        from xgboost import ExtMemQuantileDMatrix

        return ExtMemQuantileDMatrix(
            _pieces_of(features, label, weight),
            missing=estimator.missing,
            max_bin=estimator.max_bin,
            nthread=estimator.n_jobs,
            ref=None if sample is None else sample.matrix(estimator),
        )

    estimator._create_dmatrix = matrix
    try:
        yield
    finally:
        del estimator._create_dmatrix


def _pieces_of(features: FeatureFile, label: Any, weight: Any) -> Any:
    """Return what hands XGBoost the features, piece by piece, as often as it asks."""
    from xgboost import DataIter

    class Pieces(DataIter):
        def __init__(self) -> None:
            self.left = features.pieces()
            super().__init__(cache_prefix=str(features.path.with_name("bins")))

        def reset(self) -> None:
            self.left = features.pieces()

        def next(self, input_data: Any) -> bool:
            for rows, data in self.left:
                weights = None if weight is None else weight[rows]
                input_data(data=data, label=label[rows], weight=weights)
                return True
            return False

    return Pieces()
