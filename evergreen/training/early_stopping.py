"""Boosting until rows set aside say that further rounds do not help.

Each function fits the estimator on ``X[~stop]``, watches its own loss on ``X[stop]``, stops after
``patience`` rounds without improvement, and returns the best number of rounds. The estimator then
predicts with that many.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]


def stop_xgboost(estimator: Any, X: Rows, y: Rows, stop: Mask, patience: int) -> int:
    """Fit an XGBoost estimator with early stopping."""
    estimator.set_params(early_stopping_rounds=patience)
    estimator.fit(X[~stop], y[~stop], eval_set=[(X[stop], y[stop])], verbose=False)
    return int(estimator.best_iteration) + 1


def stop_lightgbm(estimator: Any, X: Rows, y: Rows, stop: Mask, patience: int) -> int:
    """Fit a LightGBM estimator with early stopping."""
    import lightgbm

    with warnings.catch_warnings():
        # Deprecated for eval_X and eval_y, but those do not get the labels encoded (4.7.0).
        warnings.simplefilter("ignore", lightgbm.basic.LGBMDeprecationWarning)
        estimator.fit(
            X[~stop],
            y[~stop],
            eval_set=[(X[stop], y[stop])],
            callbacks=[lightgbm.early_stopping(patience, verbose=False)],
        )
    return int(estimator.best_iteration_)
