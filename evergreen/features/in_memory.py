"""The first half of a model on a table in memory: fitted branch by branch, applied on all cores.

What comes out is what the pipeline's own `fit_transform` gives, but the features of all rows are
made once, in the precision that they are wanted in, and no step copies the whole table.
"""

from __future__ import annotations

from typing import Any, Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.pipeline import Pipeline

from evergreen.data.threads import in_threads
from evergreen.features.streaming import FIRST_ROWS, say_widths

PIECE_VALUES: Final = 3_000_000  # of the features that a thread makes at once

Float: TypeAlias = np.float32 | np.float64


def fit_on_frame(features: Pipeline, frame: pd.DataFrame, target: npt.NDArray[Any]) -> None:
    """Fit what `build_features` made on all rows of a `model_frame`."""
    derive, columns = features.named_steps["derive"], features.named_steps["columns"]
    derived = derive.fit_transform(frame)
    columns.fit(derived.iloc[:FIRST_ROWS])  # makes the branches, which are fitted anew
    for name, branch, names in columns.transformers_:
        if name != "remainder":
            branch.fit(derived[names])
    say_widths(columns)
    if "select" in features.named_steps:
        features.named_steps["select"].fit(columns.transform(derived), target)


def features_of(
    features: Pipeline, frame: pd.DataFrame, dtype: type[Float], order: Literal["C", "F", "K"]
) -> npt.NDArray[Any]:
    """Return what fitted features make of a `model_frame`: rows × features.

    ``order`` is NumPy's: C row by row, F column by column, K as the pipeline lays them out.
    """
    step = max(1, PIECE_VALUES // len(features.get_feature_names_out()))
    first = features.transform(frame.iloc[:step])
    made = np.empty_like(first, dtype, order, shape=(len(frame), first.shape[1]))
    made[:step] = first

    def make(start: int) -> None:
        made[start : start + step] = features.transform(frame.iloc[start : start + step])

    for _ in in_threads(make, range(step, len(frame), step)):
        pass
    return made
