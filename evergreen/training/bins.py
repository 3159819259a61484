"""The rows of a large table that say where XGBoost's bins lie.

XGBoost finds the borders of its bins by a sketch of all rows, which takes as long as filing the
rows into them, and an error is part of it anyway (Chen & Guestrin 2016, appendix A). Here some rows
drawn evenly are sketched, as LightGBM does by default (``bin_construct_sample_cnt``), and two more
rows that hold each feature's least and greatest value. Without these, a value beyond the drawn ones
would be learned with its neighbours and predicted apart from them, and a feature whose drawn rows
are all gaps would have no bins at all.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from itertools import pairwise
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from evergreen.data.dataset import draw_evenly
from evergreen.training.bounds import VALUES

BIN_ROWS: Final = 200_000

Matrix = npt.NDArray[np.float32]
Weights = npt.NDArray[np.floating[Any]]


class Look(NamedTuple):
    """What is to be seen of some rows: those that are drawn, each feature's least and greatest."""

    drawn: Matrix
    least: npt.NDArray[np.float32]
    greatest: npt.NDArray[np.float32]

    @classmethod
    def at(cls, features: Matrix | pd.DataFrame, places: npt.NDArray[np.int64]) -> Look:
        """Look at rows × features, of which those at ``places`` are drawn."""
        rows = np.asarray(features)
        return cls(rows[places], np.fmin.reduce(rows, axis=0), np.fmax.reduce(rows, axis=0))


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
        first, last = self._seen, self._seen + len(features)
        self.add(first, last, Look.at(features, self.places_in(first, last)))
        self._seen = last

    def places_in(self, first: int, last: int) -> npt.NDArray[np.int64]:
        """Return where among these rows of the table the drawn ones are."""
        start, stop = np.searchsorted(self.places, [first, last])
        return self.places[start:stop] - first

    def add(self, first: int, last: int, look: Look) -> None:
        """Take what somebody saw of these rows of the table, in any order."""
        start, stop = np.searchsorted(self.places, [first, last])
        self._rows[start:stop] = look.drawn
        np.fmin(self._rows[-2], look.least, out=self._rows[-2])
        np.fmax(self._rows[-1], look.greatest, out=self._rows[-1])

    def matrix(self, estimator: Any) -> Any:
        """Return the rows in bins, which a matrix of all rows takes over as its ``ref``.

        They are given up here, so it can be asked for once.
        """
        rows = pd.DataFrame(self._rows, copy=False)
        del self._rows
        weight = self.weight
        if weight is not None:
            weight = np.append(weight, [weight.min()] * 2)
        return _in_bins(rows, weight, _settings(estimator))

    def shared(self, estimator: Any) -> SharedBins:
        """Return what `matrix` does, for other processes."""
        least, greatest = self._rows[-2:].copy()
        # Of each feature a bound below all values, where its bins begin, and a bound above.
        starts, borders = self.matrix(estimator).get_quantile_cut()
        inner = [borders[start + 1 : stop - 1] for start, stop in pairwise(starts.astype(int))]
        few: Matrix = np.full((max(map(len, inner)) + 2, len(least)), np.nan, np.float32)
        for feature, cuts in enumerate(inner):
            few[:2, feature] = least[feature], greatest[feature]
            few[2 : 2 + len(cuts), feature] = cuts
        return SharedBins(few, _settings(estimator))


class SharedBins:
    """Bins as processes hand them to each other: the few rows whose bins they are.

    XGBoost asks a matrix that it takes bins from for its ``handle`` alone. While it learns with
    others, the bins of a matrix are found together with them; in another thread they are not.
    """

    def __init__(self, rows: Matrix, settings: dict[str, Any]) -> None:
        self._given = rows, settings

    def __reduce__(self) -> tuple[Any, ...]:
        return SharedBins, self._given

    @cached_property
    def matrix(self) -> Any:
        """The rows in bins."""
        rows, settings = self._given
        with ThreadPoolExecutor(1) as alone:
            return alone.submit(_in_bins, pd.DataFrame(rows), None, settings).result()

    @property
    def handle(self) -> Any:
        """XGBoost's own of `matrix`."""
        return self.matrix.handle


def _settings(estimator: Any) -> dict[str, Any]:
    names = {"missing": "missing", "max_bin": "max_bin", "n_jobs": "nthread"}
    return {name: getattr(estimator, ours) for ours, name in names.items()}


def _in_bins(rows: pd.DataFrame, weight: Weights | None, settings: dict[str, Any]) -> Any:
    from xgboost import QuantileDMatrix

    return QuantileDMatrix(rows, weight=weight, **settings)


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
