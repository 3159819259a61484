"""Logistic regression on features that lie on disk: the model of scikit-learn's estimator.

The same penalized likelihood is maximized, by the same optimizer (L-BFGS-B: Zhu et al., 1997),
whose loss and gradient are summed over pieces: each look at them is one way through the file. It
begins where the same search on some of the rows has ended, and measures steps by the curvature
there (a preconditioner: Nocedal and Wright, Numerical Optimization, 2006, section 5.1), so that
few ways are left: five to ten instead of fifty and more.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.linalg import solve_triangular
from scipy.optimize import minimize
from scipy.special import expit, log_softmax, softmax

from evergreen.training.feature_file import FeatureFile

START_VALUES: Final = 4_000_000  # of the rows that the search begins on
SCALE_VALUES: Final = 16_000_000  # of a preconditioner at most
JITTER: Final = 1e-6  # of the mean curvature
PIECE_BYTES: Final = 4 << 20  # of features whose loss is computed at once

FloatArray = npt.NDArray[np.float64]
Codes = npt.NDArray[np.integer[Any]]
Labels: TypeAlias = "npt.NDArray[Any] | pd.Categorical[Any]"
Batches = Callable[[], Iterable[tuple[npt.NDArray[np.floating[Any]], Codes]]]

logger = logging.getLogger(__name__)


def learn_logistic(estimator: Any, features: FeatureFile, target: Labels) -> None:
    """Fit `LogisticRegression` on features on disk and all rows' labels.

    Any of its penalties will do. The optimum does not depend on ``solver``, with one exception:
    ``liblinear`` penalizes the intercept, and so it is done here. ``tol`` and ``max_iter`` are
    those of the optimizer.
    """
    codes, labels = pd.factorize(target, sort=True)
    labels = np.asarray(labels)
    codes = codes.astype(np.min_scalar_type(len(labels)))
    problem = _problem(estimator, np.bincount(codes), features.width)

    def everything() -> Iterable[tuple[npt.NDArray[np.floating[Any]], Codes]]:
        return ((data, codes[rows]) for rows, data in features.pieces(PIECE_BYTES))

    start, scale = _start(problem, features, codes)
    found, iterations = problem.solve(everything, start, scale)

    estimator.classes_ = labels
    estimator.n_features_in_ = features.width
    estimator.coef_ = np.ascontiguousarray(found[:, :-1])
    estimator.intercept_ = found[:, -1] * problem.constant
    estimator.n_iter_ = np.array([iterations], dtype=np.int32)


@dataclass(frozen=True)
class _Problem:
    """Mean loss and penalty of a matrix of coefficients: classes (two: one row) × features + 1.

    The last column belongs to a feature that is ``constant``; 0: there is no intercept.
    """

    shape: tuple[int, int]
    weights: FloatArray  # of the classes
    absolute: FloatArray  # strength of the penalties, for each column
    squared: FloatArray
    constant: float
    tolerance: float
    iterations: int

    def solve(
        self, batches: Batches, start: FloatArray, scale: FloatArray | None = None
    ) -> tuple[FloatArray, int]:
        """Return the best coefficients for these rows, and the iterations that it took.

        ``scale``: what `scale_at` gives, for rows much like these.
        """
        if scale is not None and not self.absolute.any():
            return self._solve_scaled(batches, start, scale)

        def loss(given: FloatArray) -> tuple[float, FloatArray]:
            value, slope = self._loss(batches, given.reshape(self.shape))
            return value, slope.ravel()

        def loss_of_parts(given: FloatArray) -> tuple[float, FloatArray]:
            above, below = given.reshape(2, -1)
            value, slope = loss(above - below)
            strength = np.broadcast_to(self.absolute, self.shape).ravel()
            value += float(strength @ (above + below))
            return value, np.concatenate([strength + slope, strength - slope])

        # Absolute values have no gradient at 0. As differences of two numbers that are not
        # negative, coefficients have: the optimizer takes bounds.
        parted = bool(self.absolute.any())
        flat = start.ravel()
        done = self._minimize(
            loss_of_parts if parted else loss,
            np.concatenate([flat.clip(0), (-flat).clip(0)]) if parted else flat,
            bounds=[(0, None)] * (2 * flat.size) if parted else None,
        )
        best = np.subtract(*done.x.reshape(2, -1)) if parted else done.x
        return best.reshape(self.shape), int(done.nit)

    def _solve_scaled(
        self, batches: Batches, start: FloatArray, scale: FloatArray
    ) -> tuple[FloatArray, int]:
        """Search in coordinates in which the curvature is about the same in every direction."""

        def loss(scaled: FloatArray) -> tuple[float, FloatArray]:
            given = np.einsum("cij,cj->ci", scale, scaled.reshape(self.shape))
            value, slope = self._loss(batches, given)
            return value, np.einsum("cij,ci->cj", scale, slope).ravel()

        begin = np.stack([solve_triangular(*each) for each in zip(scale, start, strict=True)])
        done = self._minimize(loss, begin.ravel())
        return np.einsum("cij,cj->ci", scale, done.x.reshape(self.shape)), int(done.nit)

    def _minimize(self, loss: Any, start: FloatArray, bounds: Any = None) -> Any:
        done = minimize(
            loss,
            start,
            method="L-BFGS-B",
            jac=True,
            bounds=bounds,
            options={  # as scikit-learn has them
                "maxiter": self.iterations,
                "maxfun": 20 * self.iterations,
                "maxls": 50,
                "gtol": self.tolerance,
                "ftol": 64 * np.finfo(np.float64).eps,
            },
        )
        if done.nit >= self.iterations:
            logger.warning(
                "The logistic regression has not converged in %d iterations; raise max_iter",
                self.iterations,
            )
        return done

    def scale_at(self, given: FloatArray, features: FloatArray, codes: Codes) -> FloatArray:
        """Return coordinates in which the curvature is about 1 in every direction.

        For each row of ``given``, apart, the upper triangle U with U Uᵀ = H⁻¹, where H is the mean
        curvature of some rows' loss: classes × (features + 1)².
        """
        shares = _shares(features @ given[:, :-1].T + given[:, -1] * self.constant)
        weights = self.weights[codes]
        rows = np.column_stack([features, np.full(len(features), self.constant)])
        triangles = []
        for share in shares.T:
            curved = rows * (weights * share * (1 - share) / weights.sum())[:, None]
            curvature = rows.T @ curved + np.diag(self.squared)
            # What these rows do not tell (a level that none has) counts as nearly flat.
            flat = JITTER * curvature.trace() / len(curvature)
            root = np.linalg.cholesky(curvature + flat * np.eye(len(curvature)))
            triangles.append(np.linalg.inv(root).T)
        return np.stack(triangles)

    def _loss(self, batches: Batches, given: FloatArray) -> tuple[float, FloatArray]:
        """Return the mean loss with the squared penalty, and its gradient."""
        total, weight, slope = 0.0, 0.0, np.zeros(self.shape)
        for single, codes in batches():
            features = single.astype(np.float64)
            scores = features @ given[:, :-1].T + given[:, -1] * self.constant
            losses, slopes = _of_scores(scores, codes)
            weights = self.weights[codes]
            slopes *= weights[:, None]
            total += float(losses @ weights)
            weight += float(weights.sum())
            slope[:, :-1] += slopes.T @ features
            slope[:, -1] += slopes.sum(axis=0) * self.constant
        penalty = float((self.squared * given**2).sum()) / 2
        return total / weight + penalty, slope / weight + self.squared * given


def _problem(estimator: Any, counts: npt.NDArray[np.int64], width: int) -> _Problem:
    """Return what an estimator minimizes on so many rows of each class."""
    weights = np.ones(len(counts))
    if estimator.class_weight is not None:  # "balanced"
        weights = counts.sum() / (len(counts) * counts)
    share = {"l1": 1.0, "l2": 0.0}.get(estimator.penalty, estimator.l1_ratio or 0.0)
    # scikit-learn weighs the sum of all losses by C, here their mean is weighed by 1.
    strength = 1 / (estimator.C * float(weights @ counts)) if estimator.penalty is not None else 0.0
    of_intercept, constant = 0.0, 1.0
    if estimator.solver == "liblinear":
        of_intercept, constant = 1.0, float(estimator.intercept_scaling)
    penalized = strength * np.append(np.ones(width), of_intercept)
    return _Problem(
        shape=(1 if len(counts) == 2 else len(counts), width + 1),
        weights=weights,
        absolute=share * penalized,
        squared=(1 - share) * penalized,
        constant=constant if estimator.fit_intercept else 0.0,
        tolerance=estimator.tol,
        iterations=estimator.max_iter,
    )


def _start(
    problem: _Problem, features: FeatureFile, codes: Codes
) -> tuple[FloatArray, FloatArray | None]:
    """Return what is best for every so manieth row, and the scale there."""
    places, some = features.every(START_VALUES)
    best, _ = problem.solve(lambda: [(some, codes[places])], np.zeros(problem.shape))
    classes, width = problem.shape
    if classes * width**2 > SCALE_VALUES:
        return best, None
    return best, problem.scale_at(best, some.astype(np.float64), codes[places])


def _shares(scores: FloatArray) -> FloatArray:
    """Return the probabilities that rows × scores stand for, in the same shape."""
    return expit(scores) if scores.shape[1] == 1 else softmax(scores, axis=1)


def _of_scores(scores: FloatArray, codes: Codes) -> tuple[FloatArray, FloatArray]:
    """Return each row's loss, and its slope: rows × scores."""
    if scores.shape[1] == 1:
        score = scores[:, 0]
        return np.logaddexp(0, score) - codes * score, (expit(score) - codes)[:, None]
    shares = log_softmax(scores, axis=1)
    rows = np.arange(len(codes))
    losses = -shares[rows, codes]
    slopes = np.exp(shares)
    slopes[rows, codes] -= 1
    return losses, slopes
