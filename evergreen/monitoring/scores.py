"""Sums of normal scores from which pairwise correlations follow; parts add up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
Scores = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class ScoreSums:
    """Sums over the rows where both of two columns are present; each P x P.

    ``rows[i, j]`` counts them, ``first[i, j]`` sums the scores of i over them, ``square[i, j]``
    their squares, ``product[i, j]`` the products of i and j.
    """

    rows: FloatArray
    first: FloatArray
    square: FloatArray
    product: FloatArray

    @classmethod
    def empty(cls, columns: int) -> ScoreSums:
        """Return the sums over no rows."""
        zero = np.zeros((columns, columns))
        return cls(zero, zero, zero, zero)

    @classmethod
    def of(cls, scores: Scores, present: Mask | None) -> ScoreSums:
        """Sum a batch (n x P); scores are 0 where ``present`` is false; None: all are."""
        squares = scores * scores
        product = _float64(scores.T @ scores)
        if present is None:
            shape = product.shape
            ones = np.ones((1, shape[1]))
            return cls(
                np.full(shape, float(len(scores))),
                scores.sum(axis=0, dtype=np.float64)[:, None] * ones,
                squares.sum(axis=0, dtype=np.float64)[:, None] * ones,
                product,
            )
        mask = present.astype(np.float32)
        return cls(
            _float64(mask.T @ mask), _float64(scores.T @ mask), _float64(squares.T @ mask), product
        )

    def merge(self, other: ScoreSums) -> ScoreSums:
        """Return the sums over both parts."""
        return ScoreSums(
            self.rows + other.rows,
            self.first + other.first,
            self.square + other.square,
            self.product + other.product,
        )

    def correlations(self) -> FloatArray:
        """Return pairwise Pearson correlations, NaN where a column does not vary."""
        with np.errstate(divide="ignore", invalid="ignore"):
            mean = self.first / self.rows
            variance = self.square / self.rows - mean**2
            covariance = self.product / self.rows - mean * mean.T
            varies = (variance > 1e-6) & (variance.T > 1e-6) & (self.rows > 2)
            found = covariance / np.sqrt(np.maximum(variance * variance.T, 1e-12))
        return np.where(varies, np.clip(found, -1, 1), np.nan)


def fisher_spread(scores: Scores, present: Mask | None, correlations: FloatArray) -> FloatArray:
    """Return n var(atanh r) of every pair, from fourth moments; at least 1, its normal value.

    Steiger and Hakstian (1982), "The asymptotic distribution of elements of a correlation matrix",
    British Journal of Mathematical and Statistical Psychology 35.
    """
    n = np.full(scores.shape[1], len(scores)) if present is None else present.sum(axis=0)
    n = np.maximum(n, 1)
    mean = scores.sum(axis=0, dtype=np.float64) / n
    z = scores - mean.astype(np.float32)
    if present is not None:
        z[~present] = 0
    deviation = np.sqrt((z.astype(np.float64) ** 2).sum(axis=0) / n)
    z /= np.where(deviation > 0, deviation, 1).astype(np.float32)
    pairs = np.float64(len(scores)) if present is None else _pairs(present)
    squares = z * z
    m22 = _float64(squares.T @ squares) / pairs
    m31 = _float64((squares * z).T @ z) / pairs
    m40 = ((squares.astype(np.float64) ** 2).sum(axis=0) / n)[:, None]
    r = np.nan_to_num(correlations)
    variance = m22 + r**2 / 4 * (m40 + m40.T + 2 * m22) - r * (m31 + m31.T)
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = variance / (1 - np.clip(np.abs(r), 0, 0.99) ** 2) ** 2
    return np.clip(np.nan_to_num(spread, nan=1.0), 1.0, 100.0)


def _pairs(present: Mask) -> FloatArray:
    mask = present.astype(np.float32)
    return np.maximum(_float64(mask.T @ mask), 1)


def _float64(matrix: npt.NDArray[Any]) -> FloatArray:
    return matrix.astype(np.float64)
