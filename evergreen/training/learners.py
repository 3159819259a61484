"""The libraries whose estimators learn on a Dask cluster, each by its own Dask interface."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from evergreen.errors import UnreachableError

if TYPE_CHECKING:
    from distributed import Client, Future

    from evergreen.training.bins import BinSample

STEP_SECONDS: Final = 300  # that XGBoost's workers wait for each other, at most

Labels = npt.NDArray[Any]


@dataclass(frozen=True)
class SharedRows:
    """Rows x features, labels and weights, whose parts lie with the workers.

    All are Dask arrays, but the features are a Dask frame where a learner takes them by columns.
    ``sample`` has what is to be seen of them, where that is enough to find the bins.
    """

    data: Any
    label: Any
    weight: Any | None
    sample: BinSample | None


@dataclass(frozen=True)
class Learner:
    """How an estimator is fitted by workers.

    ``part``: how the names of the tasks begin that learn, one on each worker. ``learn`` returns
    what they learned, ``adopt`` makes the estimator that. One ``by_columns`` wants frames.
    ``sample``, of the numbers of rows and features, says which rows tell the bins; None: all.
    """

    part: str
    learn: Callable[[Client, SharedRows], Any]
    adopt: Callable[[Any], None]
    by_columns: bool = False
    sample: Callable[[int, int], BinSample | None] = lambda rows, features: None


def learner_of(estimator: Any, target: pd.Categorical[Any] | None) -> Learner:
    """Return how an unfitted estimator of XGBoost or LightGBM is fitted.

    ``target`` has all rows' labels, with those that occur as categories; None of a regression.
    """
    if hasattr(estimator, "get_booster"):
        return _xgboost(estimator, target)
    return _lightgbm(estimator, None if target is None else np.asarray(target.categories))


def _xgboost(estimator: Any, target: pd.Categorical[Any] | None) -> Learner:
    from evergreen.training.bins import bin_sample
    from evergreen.training.xgboost_adapter import adopt_booster, parameters_for

    labels = None if target is None else np.asarray(target.categories)
    weight = None if target is None else estimator.row_weights(target)
    params = parameters_for(estimator, None if labels is None else len(labels))
    rounds = estimator.get_num_boosting_rounds()

    def learn(client: Client, rows: SharedRows) -> Any:
        from xgboost import dask as xgboost_dask
        from xgboost.collective import Config

        from evergreen.training.dask_matrix import DaskMatrixInBins

        matrix = DaskMatrixInBins(
            client,
            rows.data,
            rows.label,
            weight=rows.weight,
            max_bin=params.get("max_bin"),
            bins=None if rows.sample is None else rows.sample.shared(estimator),
        )
        limits = Config(timeout=STEP_SECONDS, tracker_timeout=STEP_SECONDS)
        learned = xgboost_dask.train(
            client, params, matrix, rounds, verbose_eval=False, coll_cfg=limits
        )
        booster = learned["booster"]
        booster.feature_names = booster.feature_types = None  # of arrays, there are none
        return booster

    def adopt(booster: Any) -> None:
        adopt_booster(estimator, booster, params["objective"], labels)

    def sample(rows: int, features: int) -> BinSample | None:
        return bin_sample(estimator, rows, features, weight)

    # It files rows into bins a fifth faster by columns, which it takes of frames alone.
    return Learner("fn-", learn, adopt, by_columns=True, sample=sample)


def _lightgbm(estimator: Any, labels: Labels | None) -> Learner:
    from evergreen.training.lightgbm_adapter import adopt_learned, parameters_for

    params = parameters_for(estimator, None if labels is None else len(labels))

    def learn(client: Client, rows: SharedRows) -> Any:
        import lightgbm
        from lightgbm.dask import DaskLGBMRegressor

        lightgbm.register_logger(logging.getLogger("lightgbm"))  # else it prints
        try:
            with client.as_current():  # it does not pass its client on everywhere
                return DaskLGBMRegressor(client=_Ordered(client), **params).fit(
                    rows.data, rows.label, sample_weight=rows.weight
                )
        except lightgbm.basic.LightGBMError as error:
            raise UnreachableError(
                f"LightGBM's Dask workers could not learn together: {error}. Each must reach the "
                "others at any port. See that nothing is between them, and run again"
            ) from error

    def adopt(learned: Any) -> None:
        adopt_learned(estimator, learned, labels)

    return Learner("_train_part-", learn, adopt)


class _Ordered:
    """A client that says in order where data is: LightGBM takes rows and workers in that order.

    Dask's own answers in any order, and so each fit with ``subsample`` would be another.
    """

    def __init__(self, client: Client) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def who_has(self, futures: Sequence[Future]) -> dict[Any, Any]:
        found = self._client.who_has(futures)
        return {future.key: found[future.key] for future in futures}


def label_weights(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """Return the weight of each label's rows, by how often it occurs.

    As scikit-learn's `compute_class_weight` with ``balanced``.
    """
    return (counts.sum() / (len(counts) * counts)).astype(np.float32)
