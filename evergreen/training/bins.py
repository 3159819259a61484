"""The rows of a large table that say where XGBoost's bins lie.

XGBoost finds the borders of its bins by a sketch of all rows, which takes as long as filing the
rows into them, and an error is part of it anyway (Chen & Guestrin 2016, appendix A). Here some rows
drawn evenly are sketched, as LightGBM does by default (``bin_construct_sample_cnt``), and two more
rows that hold each feature's least and greatest value. Without these, a value beyond the drawn ones
would be learned with its neighbours and predicted apart from them, and a feature whose drawn rows
are all gaps would have no bins at all.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from evergreen.data.dataset import draw_evenly
from evergreen.training.bounds import VALUES

BIN_ROWS: Final = 200_000

Matrix = npt.NDArray[np.float32]
Weights = npt.NDArray[np.floating[Any]]


class BinSample:
    """Rows drawn evenly by a seed, with each feature's extremes among all rows.

    Rows of different ``weight`` are drawn by priority sampling (Duffield, Lund & Thorup 2007): a
    heavy row is likelier to be there, or sure to, so that few rows that weigh much are not lost.
    """

    def __init__(self, rows: int, features: int, weight: Weights | None, seed: int) -> None:
        self.places, self.weight = _drawn(rows, weight, seed)
        shape = (len(self.places) + 2, features)
        self._rows: Matrix = np.full(shape, np.nan, np.float32, "F")  # the extremes last
        self._seen = 0

    def take(self, features: Matrix) -> None:
        """Take what is drawn of the next rows × features of the table."""
        first, last = np.searchsorted(self.places, [self._seen, self._seen + len(features)])
        self._rows[first:last] = features[self.places[first:last] - self._seen]
        for extreme, row in ((np.fmin, self._rows[-2]), (np.fmax, self._rows[-1])):
            extreme(row, extreme.reduce(features, axis=0), out=row)
        self._seen += len(features)

    def matrix(self, estimator: Any) -> Any:
        """Return the rows in bins, which a matrix of all rows takes over as its ``ref``.

        They are given up here, so it can be asked for once.
        """
        from xgboost import QuantileDMatrix

        rows = pd.DataFrame(self._rows, copy=False)
        del self._rows
        weight = self.weight
        if weight is not None:
            weight = np.append(weight, [weight.min()] * 2)
        return QuantileDMatrix(
            rows,
            weight=weight,
            missing=estimator.missing,
            max_bin=estimator.max_bin,
            nthread=estimator.n_jobs,
        )


def bin_sample(
    estimator: Any, rows: int, features: int, weight: Weights | None
) -> BinSample | None:
    """Return what is to be shown the features of a table whose bins some rows are enough for.

    None: the bins are found in all rows, because there are few of them, or so many features that
    even a sample would be large. The estimator's ``random_state`` is the seed.
    """
    if rows <= BIN_ROWS or BIN_ROWS * features > VALUES:
        return None
    return BinSample(rows, features, weight, estimator.random_state)


def _drawn(
    rows: int, weight: Weights | None, seed: int
) -> tuple[npt.NDArray[np.int64], Weights | None]:
    """Return the places of the drawn rows, in order, and what each counts for."""
    random = np.random.default_rng(seed)
    if weight is None:
        return np.flatnonzero(draw_evenly(rows, BIN_ROWS, random)), None
    priority = weight / (1 - random.random(rows))
    bound = np.partition(priority, -BIN_ROWS - 1)[-BIN_ROWS - 1]
    places = np.flatnonzero(priority > bound)
    return places, np.maximum(weight[places], bound)
