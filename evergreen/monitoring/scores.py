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


@dataclass(frozen=True, eq=False)
class MomentSums:
    """Sums of products of standardized scores over the rows where both columns are present.

    ``m22`` and ``m31`` are P x P: of squares of both, and of the cube of one and the other;
    ``m40`` (P) sums fourth powers.
    """

    m22: FloatArray
    m31: FloatArray
    m40: FloatArray

    @classmethod
    def of(
        cls, scores: Scores, present: Mask | None, mean: FloatArray, deviation: FloatArray
    ) -> MomentSums:
        """Sum a batch (n x P), as `ScoreSums.of`, by mean and deviation of all batches."""
        z = scores - mean.astype(np.float32)
        if present is not None:
            z[~present] = 0
        z /= np.where(deviation > 0, deviation, 1).astype(np.float32)
        squares = z * z
        return cls(
            _float64(squares.T @ squares),
            _float64((squares * z).T @ z),
            np.array([column @ column for column in squares.T.astype(np.float64)]),
        )

    def merge(self, other: MomentSums) -> MomentSums:
        """Return the sums over both parts."""
        return MomentSums(self.m22 + other.m22, self.m31 + other.m31, self.m40 + other.m40)


def fisher_spread(moments: MomentSums, sums: ScoreSums) -> FloatArray:
    """Return n var(atanh r) of every pair, from fourth moments; at least 1, its normal value.

    Steiger and Hakstian (1982), "The asymptotic distribution of elements of a correlation matrix",
    British Journal of Mathematical and Statistical Psychology 35.
    """
    pairs = np.maximum(sums.rows, 1)
    m22, m31 = moments.m22 / pairs, moments.m31 / pairs
    m40 = (moments.m40 / np.diag(pairs))[:, None]
    r = np.nan_to_num(sums.correlations())
    variance = m22 + r**2 / 4 * (m40 + m40.T + 2 * m22) - r * (m31 + m31.T)
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = variance / (1 - np.clip(np.abs(r), 0, 0.99) ** 2) ** 2
    return np.clip(np.nan_to_num(spread, nan=1.0), 1.0, 100.0)


def _float64(matrix: npt.NDArray[Any]) -> FloatArray:
    return matrix.astype(np.float64)
