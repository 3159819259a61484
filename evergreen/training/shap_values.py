"""SHAP values: how much each feature moves each prediction away from the average one.

Lundberg & Lee 2017, A Unified Approach to Interpreting Model Predictions; for trees Lundberg et
al. 2020, From local explanations to global understanding with explainable AI for trees.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from evergreen.training.predictions import FloatArray

# Tree SHAP costs about (leaves × depth²) steps per row and tree; this many take some seconds.
_TREE_STEPS = 4_000_000_000
_FEWEST_ROWS = 10

_TREES = (
    DecisionTreeClassifier,
    DecisionTreeRegressor,
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)


class NoShapError(Exception):
    """There are no SHAP values for this model; the text says why."""


def shap_values(
    estimator: Any, features: FloatArray, background: FloatArray | None = None
) -> tuple[FloatArray, str]:
    """Return SHAP values of n rows × features × outputs, and the method in words.

    ``estimator`` is the last step of a model, ``features`` what the steps before it made. There
    is one output for a regression and for two classes, else one per class. Units: of the target
    for regressions (before a link function); log-odds for linear and boosted classifiers;
    probability for trees and forests. Large forests are explained on fewer rows, the first ones.
    Linear models are explained against the mean of ``background``, by default of ``features``.

    Raises
    ------
    NoShapError
        If the estimator is of no kind that is explained quickly, or too large.
    """
    if hasattr(estimator, "get_booster"):
        return _xgboost(estimator, features), "Tree SHAP by XGBoost"
    if hasattr(estimator, "booster_"):
        return _lightgbm(estimator, features), "Tree SHAP by LightGBM"
    if hasattr(estimator, "coef_"):
        reference = features if background is None else background
        return _linear(estimator, features, reference.mean(axis=0)), "exact linear SHAP"
    if isinstance(estimator, _TREES):
        return _trees(estimator, features)
    raise NoShapError(f"there is no quick method for {type(estimator).__name__}")


def _xgboost(estimator: Any, features: FloatArray) -> FloatArray:
    from xgboost import DMatrix

    rounds = estimator.best_iteration + 1 if estimator.early_stopping_rounds else 0
    values = np.asarray(
        estimator.get_booster().predict(
            DMatrix(features), pred_contribs=True, iteration_range=(0, rounds)
        ),
        dtype=np.float64,
    )
    if values.ndim == 2:
        return values[:, :-1, None]
    return np.moveaxis(values[:, :, :-1], 1, 2)


def _lightgbm(estimator: Any, features: FloatArray) -> FloatArray:
    values = np.asarray(estimator.booster_.predict(features, pred_contrib=True), dtype=np.float64)
    outputs = values.reshape(len(features), -1, features.shape[1] + 1)
    return np.moveaxis(outputs[:, :, :-1], 1, 2)


def _linear(estimator: Any, features: FloatArray, mean: FloatArray) -> FloatArray:
    """Coefficient times distance from the mean: exact for features taken as independent."""
    coefficients = np.atleast_2d(np.asarray(estimator.coef_, dtype=np.float64))
    if coefficients.shape[1] != features.shape[1]:
        raise NoShapError(f"{type(estimator).__name__} has no coefficient for each feature")
    return (features - mean)[:, :, None] * coefficients.T[None, :, :]


def _trees(estimator: Any, features: FloatArray) -> tuple[FloatArray, str]:
    trees = [estimator] if hasattr(estimator, "tree_") else list(estimator.estimators_)
    steps = sum(tree.tree_.n_leaves * max(1, tree.tree_.max_depth) ** 2 for tree in trees)
    rows = min(len(features), _TREE_STEPS // max(1, steps))
    if rows < min(_FEWEST_ROWS, len(features)):
        raise NoShapError(
            f"{type(estimator).__name__} is too large: {len(trees)} trees with "
            f"{sum(tree.tree_.n_leaves for tree in trees)} leaves would take minutes"
        )
    from shap import TreeExplainer  # takes seconds to import

    explainer = TreeExplainer(estimator, feature_perturbation="tree_path_dependent")
    values = np.asarray(explainer.shap_values(features[:rows], check_additivity=False))
    if values.ndim == 2:
        return values[:, :, None], f"Tree SHAP on {rows} rows"
    # Two classes mirror each other: one output says it all.
    return (values[:, :, 1:] if values.shape[2] == 2 else values), f"Tree SHAP on {rows} rows"
