"""Automatic choice of features, as a step of the pipeline: it sees training rows only."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator
from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor
from sklearn.feature_selection import (
    RFE,
    SelectorMixin,
    mutual_info_classif,
    mutual_info_regression,
)
from sklearn.utils.validation import check_is_fitted, validate_data

from evergreen.config import Task


class SelectFeatures(SelectorMixin, BaseEstimator):
    """Keep the ``max_features`` features that say most about the target.

    ``mutual_information`` judges each feature alone (Kraskov et al. 2004, Ross 2014); ``rfe``
    drops a fifth of them at a time, the least important in a forest (Guyon et al. 2002).
    """

    def __init__(
        self,
        method: Literal["mutual_information", "rfe"],
        max_features: int,
        task: Task,
        seed: int,
    ) -> None:
        self.method = method
        self.max_features = max_features
        self.task = task
        self.seed = seed

    def fit(self, X: npt.NDArray[np.float64], y: npt.NDArray[Any]) -> SelectFeatures:
        """Choose the features on n rows × features and n targets."""
        X = validate_data(self, X, dtype=np.float64)
        if X.shape[1] <= self.max_features:
            self.support_ = np.ones(X.shape[1], dtype=bool)
        elif self.method == "rfe":
            self.support_ = self._by_elimination(X, y)
        else:
            self.support_ = self._by_information(X, y)
        return self

    def _by_elimination(
        self, X: npt.NDArray[np.float64], y: npt.NDArray[Any]
    ) -> npt.NDArray[np.bool_]:
        kind = ExtraTreesClassifier if self.task == "classification" else ExtraTreesRegressor
        forest = kind(n_estimators=50, min_samples_leaf=2, random_state=self.seed)
        support: npt.NDArray[np.bool_] = (
            RFE(forest, n_features_to_select=self.max_features, step=0.2).fit(X, y).support_
        )
        return support

    def _by_information(
        self, X: npt.NDArray[np.float64], y: npt.NDArray[Any]
    ) -> npt.NDArray[np.bool_]:
        measure = mutual_info_classif if self.task == "classification" else mutual_info_regression
        information = measure(X, y, random_state=self.seed)
        best = np.argsort(-information, kind="stable")[: self.max_features]
        support = np.zeros(X.shape[1], dtype=bool)
        support[best] = True
        return support

    def _get_support_mask(self) -> npt.NDArray[np.bool_]:
        check_is_fitted(self, "support_")
        return self.support_
