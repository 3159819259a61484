"""The training rows, cut into folds, with the features of each fold computed once.

Features do not depend on an estimator's parameters, so all trials of all candidates that want the
same features share them. The result is that of fitting the whole pipeline anew each time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from evergreen.config import FeaturesConfig, SplitConfig
from evergreen.data.conform import model_frame, target_values
from evergreen.data.contract import Contract
from evergreen.data.dataset import Dataset
from evergreen.data.splits import make_folds, split_holdout
from evergreen.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

FloatArray = npt.NDArray[np.float64]
Positions = npt.NDArray[np.int64]

STOP_SHARE = 0.2  # of a fold's fit rows, on which early stopping looks
KEPT_BYTES = 1 << 30  # of computed features that a process keeps for the next trial


@dataclass(frozen=True)
class FoldData:
    """One fold: features and target of its fit rows, and of its validation rows.

    ``stop`` marks the fit rows that early stopping looks at and does not fit on; None where it
    cannot be done (too few rows). Validation rows are never among them.
    """

    X_fit: FloatArray
    y_fit: npt.NDArray[Any]
    stop: npt.NDArray[np.bool_] | None
    X_validate: FloatArray
    y_validate: npt.NDArray[Any]


class Folds:
    """The folds of one training table.

    Parameters
    ----------
    frame
        Conformed training rows, each with a target.
    """

    def __init__(
        self,
        frame: pd.DataFrame,
        contract: Contract,
        *,
        features: FeaturesConfig,
        split: SplitConfig,
        seed: int,
    ) -> None:
        self.contract = contract
        self.features = features
        self.split = split
        self.seed = seed
        self._frame = frame
        self._X = model_frame(frame, contract)
        self._y = target_values(frame, contract)
        self._positions = make_folds(frame, contract, split)
        self._stops: dict[int, npt.NDArray[np.bool_] | None] = {}
        self._kept: dict[tuple[int, bool], tuple[FloatArray, FloatArray]] = {}

    @classmethod
    def read(
        cls,
        train: Dataset,
        contract: Contract,
        *,
        features: FeaturesConfig,
        split: SplitConfig,
        seed: int,
    ) -> Folds:
        """Read a table of training rows and cut it.

        Raises
        ------
        InputError
            If there are too few rows for so many folds, or the file cannot be read.
        """
        needed = [column.name for column in contract.columns if column.role != "ignored"]
        frame = train.read(needed)
        return cls(frame, contract, features=features, split=split, seed=seed)

    def __len__(self) -> int:
        return len(self._positions)

    @property
    def values(self) -> int:
        """How many values the features are made of."""
        return int(self._X.size)

    def fold(self, number: int, *, scale: bool, stops: bool) -> FoldData:
        """Return one fold; ``scale`` and ``stops`` say what the estimator wants."""
        fit, validate = self._positions[number]
        X_fit, X_validate = self._features(number, scale)
        stop = self._stop(number) if stops else None
        return FoldData(X_fit, self._y[fit], stop, X_validate, self._y[validate])

    def _features(self, number: int, scale: bool) -> tuple[FloatArray, FloatArray]:
        from evergreen.features import build_features

        key = (number, scale)
        if key not in self._kept:
            fit, validate = self._positions[number]
            transform = build_features(self.contract, self.features, scale=scale, seed=self.seed)
            X_fit = transform.fit_transform(self._X.iloc[fit], self._y[fit])
            made = (X_fit, transform.transform(self._X.iloc[validate]))
            size = sum(part.nbytes for pair in (*self._kept.values(), made) for part in pair)
            if size > KEPT_BYTES:
                return made
            self._kept[key] = made
        return self._kept[key]

    def _stop(self, number: int) -> npt.NDArray[np.bool_] | None:
        if number not in self._stops:
            rows = self._frame.iloc[self._positions[number][0]]
            # Another seed than the holdout's: by its hash order these rows were all left over.
            seed = (self.split.seed + 1 + number) % 2**32
            config = self.split.model_copy(update={"holdout": STOP_SHARE, "seed": seed})
            self._stops[number] = stop_rows(rows, self.contract, config)
        return self._stops[number]


def stop_rows(
    frame: pd.DataFrame, contract: Contract, config: SplitConfig
) -> npt.NDArray[np.bool_] | None:
    """Mark the rows to look at for early stopping; the use case's kind of split decides.

    Rows of a class that would be left without a row to fit on stay among the fit rows. None if
    no row can be spared.
    """
    try:
        held = split_holdout(frame, contract, config).holdout
    except InputError:  # too few rows, groups or moments: then every round is used
        return None
    stop = np.zeros(len(frame), dtype=bool)
    stop[held] = True
    if contract.task == "classification":
        y = target_values(frame, contract)
        stop &= np.isin(y, np.unique(y[~stop]))
    return stop if stop.any() else None
