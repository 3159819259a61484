"""Fitting one estimator on computed features, and scoring it on a fold."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.pipeline import Pipeline

from evergreen.data.conform import model_frame
from evergreen.data.contract import Contract
from evergreen.data.dataset import Dataset
from evergreen.features import is_fitted
from evergreen.features.in_memory import features_of, fit_on_frame
from evergreen.training.bins import bin_sample
from evergreen.training.candidates import Candidate
from evergreen.training.folds import FloatArray, FoldData
from evergreen.training.metrics import Metric, score
from evergreen.training.predictions import Predictions
from evergreen.training.target import learn_target, read_target


class UnmeasurableError(ValueError):
    """The metric is not defined on a fold's predictions."""


@contextmanager
def steady(threads: int) -> Iterator[None]:
    """Fit quietly, with so many threads, and with the same result for any number of them.

    Linear algebra gets one thread: it rounds differently with several, and trees do not use it.
    """
    import warnings

    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    limits = {"blas": 1, "openmp": threads}
    with warnings.catch_warnings(), threadpool_limits(limits=limits):
        warnings.simplefilter("ignore")
        yield


def fit_in_memory(
    train: Dataset, contract: Contract, transform: Pipeline, candidate: Candidate, estimator: Any
) -> Pipeline:
    """Fit both halves of a model on all training rows.

    It is what `Pipeline.fit` does, but the table is given up once its features are made, and
    XGBoost gets them in single precision, as it would make them itself. A ``transform`` that is
    fitted already stays as it is.

    Raises
    ------
    InputError
        If the file cannot be read.
    """
    target = read_target(train, contract)
    if candidate.from_disk == "target":
        if not is_fitted(transform):
            fit_on_frame(transform, _inputs(train, contract), np.asarray(target))
        learn_target(estimator, target)
    else:
        frame = _inputs(train, contract)
        if not is_fitted(transform):
            fit_on_frame(transform, frame, np.asarray(target))
        if hasattr(estimator, "get_booster"):
            features = features_of(transform, frame, np.float32, "F")
            del frame
            with _by_columns(estimator):
                estimator.fit(features, target)
        else:
            features = features_of(transform, frame, np.float64, "K")
            del frame
            estimator.fit(features, np.asarray(target))
    return Pipeline([("features", transform), ("estimator", estimator)])


def _inputs(train: Dataset, contract: Contract) -> pd.DataFrame:
    return model_frame(train.read([column.name for column in contract.features]), contract)


@contextmanager
def _by_columns(estimator: Any) -> Iterator[None]:
    """Let an XGBoost estimator's ``fit`` take an array column by column, a fifth faster.

    It does so with a frame, whose names, which no array has, are kept out of the model. Of a large
    table, some rows say where the bins lie.
    """
    create = estimator._create_dmatrix

    def matrix(ref: Any, *, data: Any, weight: Any = None, **how: Any) -> Any:
        sample = bin_sample(estimator, len(data), data.shape[1], weight)
        if sample is not None:
            sample.take(data)
            ref = sample.matrix(estimator)
        made = create(ref, data=pd.DataFrame(data, copy=False), weight=weight, **how)
        made.feature_names = made.feature_types = None
        return made

    estimator._create_dmatrix = matrix
    try:
        yield
    finally:
        del estimator._create_dmatrix


def score_fold(
    candidate: Candidate,
    estimator: Any,
    fold: FoldData,
    contract: Contract,
    *,
    metric: Metric,
    patience: int,
) -> tuple[float, int | None]:
    """Fit on a fold's fit rows; return the score on its validation rows, and the best rounds.

    Raises
    ------
    UnmeasurableError
        If the metric is not defined on the validation rows.
    """
    rounds = None
    if candidate.stop is not None and fold.stop is not None:
        rounds = candidate.stop(estimator, fold.X_fit, fold.y_fit, fold.stop, patience)
    else:
        estimator.fit(fold.X_fit, fold.y_fit)
    predict_in_one_thread(candidate, estimator)
    value = score(metric, _predictions(estimator, fold.X_validate, fold.y_validate, contract))
    if value is None:
        raise UnmeasurableError(f"the metric {metric.name} cannot be measured on a fold")
    return value, rounds


def predict_in_one_thread(candidate: Candidate, estimator: Any) -> None:
    """Let a fitted estimator predict in one thread.

    A forest adds its trees' votes in the order in which its threads finish, so several give
    results that differ in the last digit; and for a few rows, one thread is much faster.
    """
    if candidate.threads:
        estimator.set_params(n_jobs=1)


def _predictions(
    estimator: Any, X: FloatArray, actual: npt.NDArray[Any], contract: Contract
) -> Predictions:
    predicted = np.asarray(estimator.predict(X)).reshape(-1)
    if contract.labels is None:
        return Predictions(actual=actual, predicted=predicted.astype(np.float64))
    probabilities = None
    if hasattr(estimator, "predict_proba"):
        columns = {label: column for column, label in enumerate(estimator.classes_.tolist())}
        given = np.asarray(estimator.predict_proba(X), dtype=np.float64)
        absent = np.zeros(len(X))  # a class without fit rows in this fold
        probabilities = np.column_stack(
            [given[:, columns[label]] if label in columns else absent for label in contract.labels]
        )
    return Predictions(
        actual=actual,
        predicted=predicted,
        probabilities=probabilities,
        labels=contract.labels,
        positive=contract.positive,
    )
