"""Fitting one estimator on computed features, and scoring it on a fold."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.pipeline import Pipeline

from evergreen.data.conform import model_frame, target_values
from evergreen.data.contract import Contract
from evergreen.data.dataset import Dataset
from evergreen.training.candidates import Candidate
from evergreen.training.folds import FloatArray, FoldData
from evergreen.training.metrics import Metric, score
from evergreen.training.predictions import Predictions


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
    train: Dataset, contract: Contract, transform: Pipeline, estimator: Any
) -> Pipeline:
    """Fit both halves of a model on all training rows.

    It is what `Pipeline.fit` does, but the table is given up once its features are made, and
    XGBoost gets them in single precision, as it would make them itself.

    Raises
    ------
    InputError
        If the file cannot be read.
    """
    target = target_values(train.read([contract.target]), contract)
    names = [column.name for column in contract.features]
    features = transform.fit_transform(model_frame(train.read(names), contract), target)
    if hasattr(estimator, "get_booster"):
        features = features.astype(np.float32)
    estimator.fit(features, target)
    return Pipeline([("features", transform), ("estimator", estimator)])


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
