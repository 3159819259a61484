"""XGBoost's classifier on labels of any type. Import it where it is used: XGBoost is heavy."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.utils.class_weight import compute_sample_weight
from xgboost import XGBClassifier

Labels = npt.NDArray[Any]


class LabelledXGBClassifier(XGBClassifier):
    """`xgboost.XGBClassifier` that takes and gives the original labels, and weighs classes.

    XGBoost itself wants the classes 0 … k-1. ``class_weight="balanced"`` weighs each row by the
    inverse of its class's frequency, as scikit-learn's classifiers do.
    """

    labels_: Labels

    def __init__(self, *, class_weight: Literal["balanced"] | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.class_weight = class_weight

    @property
    def classes_(self) -> Labels:
        """The labels, in the order of ``predict_proba``; while XGBoost fits, their codes."""
        labels: Labels | None = getattr(self, "labels_", None)
        return np.arange(self.n_classes_) if labels is None else labels

    def fit(
        self, X: Any, y: Labels | pd.Categorical, *, eval_set: Any = None, **kwargs: Any
    ) -> Any:
        """Fit on labels; the labels of an ``eval_set`` must be among them.

        A `pandas.Categorical`, with the labels that occur as ascending categories, takes the least
        memory.
        """
        if hasattr(self, "labels_"):
            del self.labels_
        if isinstance(y, pd.Categorical):
            codes, labels = y.codes, np.asarray(y.categories)
        else:  # not by `np.unique`, which sorts all rows' texts
            codes, labels = pd.factorize(np.asarray(y), sort=True)
        if kwargs.get("sample_weight") is None:
            kwargs["sample_weight"] = self.row_weights(codes)
        if eval_set is not None:
            eval_set = [(rows, np.searchsorted(labels, truth)) for rows, truth in eval_set]
        super().fit(X, codes, eval_set=eval_set, **kwargs)
        self.labels_ = labels
        return self

    def row_weights(self, y: Labels | pd.Categorical) -> npt.NDArray[np.float64] | None:
        """Return what ``fit`` lets each row of these labels count for; None: one row is one."""
        if self.class_weight is None:
            return None
        codes = y.codes if isinstance(y, pd.Categorical) else y
        weights: npt.NDArray[np.float64] = compute_sample_weight(self.class_weight, codes)
        return weights

    def predict(self, X: Any, **kwargs: Any) -> Labels:
        """Return the most probable label of each row."""
        codes = super().predict(X, **kwargs)
        return self.labels_[np.asarray(codes, dtype=np.int64)]

    def get_xgb_params(self) -> dict[str, Any]:
        """Return XGBoost's own parameters."""
        params: dict[str, Any] = super().get_xgb_params()
        params.pop("class_weight", None)
        return params


def parameters_for(estimator: Any, classes: int | None) -> dict[str, Any]:
    """Return the parameters with which `xgboost.train` does what the estimator's ``fit`` does.

    ``classes`` is their number, None for a regression. Threads are left to who trains.
    """
    params: dict[str, Any] = estimator.get_xgb_params()
    params.pop("n_jobs", None)
    if classes is not None and classes > 2:
        params["objective"], params["num_class"] = "multi:softprob", classes
    return params


def adopt_booster(estimator: Any, booster: Any, objective: str, labels: Labels | None) -> None:
    """Make an estimator what its ``fit`` would have made it, had it learned this booster."""
    estimator._Booster = booster
    estimator.objective = objective
    if labels is not None:
        estimator.n_classes_ = len(labels)
        estimator.labels_ = labels
