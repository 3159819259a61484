"""Least squares on rows that come in pieces, by scikit-learn's own estimators.

All rows are brought down to a triangle of as many rows as there are features, piece by piece: the
R of their QR decomposition, which has the same sums of squares for any coefficients (Demmel et
al., Communication-optimal parallel and sequential QR and LU factorizations, 2012). An estimator
that minimizes squares, penalized or not, finds the same coefficients there as on all rows. Unlike
sums of products, the triangle loses no digits where features nearly depend on each other.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]


def learn_least_squares(estimator: Any, pieces: Iterable[tuple[FloatArray, FloatArray]]) -> None:
    """Fit `LinearRegression` or `Ridge` on pieces of features and target, gone through once.

    In memory are a piece and its triangle, (features + 2)² numbers.
    """
    triangle = _triangle(pieces)
    if not estimator.fit_intercept:
        estimator.fit(triangle[:, 1:-1], triangle[:, -1])
        return
    # The first column is of ones: what is below its row is the triangle of the centred rows.
    means = triangle[0, 1:] / triangle[0, 0]
    estimator.set_params(fit_intercept=False)
    try:
        estimator.fit(triangle[1:, 1:-1], triangle[1:, -1])
    finally:
        estimator.set_params(fit_intercept=True)
    estimator.intercept_ = means[-1] - means[:-1] @ estimator.coef_


def _triangle(pieces: Iterable[tuple[FloatArray, FloatArray]]) -> FloatArray:
    """Return the R of the rows [1, features, target]."""
    triangle: list[FloatArray] = []
    for features, target in pieces:
        rows = np.column_stack([np.ones(len(features)), features, target])
        whole = np.concatenate([*triangle, rows])
        triangle = [np.asarray(np.linalg.qr(whole, mode="r"))]
    return triangle[0]
