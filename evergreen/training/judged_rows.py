"""What a final evaluation looks at where the holdout stays on disk: each model's predictions.

At most a million rows are drawn evenly, the same ones whoever scores them: this process, or, a row
group at a time, the workers of a Dask cluster.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from evergreen.config import EvaluationConfig
from evergreen.dask.settings import DaskConfig
from evergreen.dask.tables import goes_to_workers, passes_of
from evergreen.data.contract import Contract
from evergreen.data.dataset import Dataset, draw_evenly
from evergreen.data.passes import Passes
from evergreen.promotion.serialization import load_model, save_model
from evergreen.scratch import working_folder
from evergreen.training.bounds import EVALUATION_ROWS, bounded, some_rows
from evergreen.training.explanation import explained_rows
from evergreen.training.parallel import threads_for
from evergreen.training.predictions import Predictions, group_codes, joined, predict

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Arm:
    """A fitted pipeline, and the contract that it was trained under, where that is another one."""

    model: Any
    contract: Contract | None = None


@dataclass(frozen=True, eq=False)
class JudgedRows:
    """The rows of an evaluation, in the table's order.

    ``frame`` holds the columns that slices are made of, ``explained`` whole rows for
    `evergreen.training.explanation.explain`.
    """

    frame: pd.DataFrame
    predictions: Mapping[str, Predictions]
    explained: pd.DataFrame


def rows_to_judge(
    holdout: Dataset,
    contract: Contract,
    arms: Mapping[str, Arm],
    config: EvaluationConfig,
    dask: DaskConfig,
    seed: int,
) -> JudgedRows:
    """Let each model predict a million rows of a conformed table at most, drawn evenly.

    A cluster that `goes_to_workers` does it by `judge_by_groups`.

    Raises
    ------
    RefusedError
        If a model gives a missing or infinite prediction for any row.
    InputError, UnreachableError
        If the table cannot be read, or as `evergreen.dask.cluster.connected` does.
    """
    if goes_to_workers(holdout, dask):
        with passes_of(holdout, dask) as way:
            return judge_by_groups(holdout, contract, arms, config, seed, way)
    frame = some_rows(holdout, EVALUATION_ROWS, seed)
    threads = threads_for(1, frame.size)
    said = {
        name: predict(arm.model, frame, contract, model_contract=arm.contract, threads=threads)
        for name, arm in arms.items()
    }
    return JudgedRows(frame, said, frame)


def judge_by_groups(
    holdout: Dataset,
    contract: Contract,
    arms: Mapping[str, Arm],
    config: EvaluationConfig,
    seed: int,
    way: Passes,
) -> JudgedRows:
    """Let each model predict the same rows of a conformed table, a row group at a time.

    ``way`` is who goes through the table.

    Raises
    ------
    RefusedError
        If a model gives a missing or infinite prediction for any row.
    InputError, UnreachableError
        If the table cannot be read, a model cannot be written, or as ``way`` does.
    """
    count = min(holdout.rows, bounded(EVALUATION_ROWS, len(holdout.columns)))
    taken = np.ones(holdout.rows, dtype=bool)
    if count < holdout.rows:
        taken = draw_evenly(holdout.rows, count, np.random.default_rng(seed))
    places = np.flatnonzero(taken)[explained_rows(count, config, seed)]
    with working_folder("arms-") as folder:
        score = partial(_score_group, contract, _written(arms, folder))
        scored = list(way.each(score, holdout, _shares(holdout, taken, places)))
    columns = {contract.target, *config.slices}
    columns |= {column.name for column in contract.columns if column.role == "group"}
    names = [name for name in holdout.columns if name in columns]
    frame = holdout.read_where(taken, names).reset_index(drop=True)
    groups = group_codes(frame, contract)
    return JudgedRows(
        frame=frame,
        predictions={name: joined([part.said[name] for part in scored], groups) for name in arms},
        explained=_concatenated([part.explained for part in scored]).loc[places],
    )


@dataclass(frozen=True)
class _Share:
    """The rows of one row group that are looked at (a mask), and those that are explained."""

    number: int
    start: int  # the row group's first row in the table
    taken: npt.NDArray[np.bool_]
    explained: npt.NDArray[np.int64]


@dataclass(frozen=True)
class _Scored:
    """What the models said of a row group's rows; the index of ``explained`` is its places."""

    said: Mapping[str, Predictions]
    explained: pd.DataFrame


@dataclass(frozen=True)
class _Written:
    """Where a model lies, and its own contract."""

    path: Path
    contract: Contract | None = field(repr=False)


def _written(arms: Mapping[str, Arm], folder: Path) -> dict[str, _Written]:
    """Write each model once, instead of sending it along with every row group."""
    found = {}
    for name, arm in arms.items():
        save_model(arm.model, folder / f"{name}.skops")
        found[name] = _Written(folder / f"{name}.skops", arm.contract)
    return found


def _shares(
    holdout: Dataset, taken: npt.NDArray[np.bool_], places: npt.NDArray[np.int64]
) -> list[_Share]:
    shares, start = [], 0
    for number, rows in enumerate(holdout.row_groups()):
        own = places[(places >= start) & (places < start + rows)] - start
        shares.append(_Share(number, start, taken[start : start + rows], own))
        start += rows
    return [share for share in shares if share.taken.any()]


def _score_group(
    contract: Contract, arms: Mapping[str, _Written], holdout: Dataset, share: _Share
) -> _Scored:
    rows = holdout.read_row_group(share.number)[share.taken]
    said = {
        # Groups are told apart over all rows, by who joins the parts.
        name: replace(
            predict(_model(arm.path), rows, contract, model_contract=arm.contract), groups=None
        )
        for name, arm in arms.items()
    }
    explained = rows.loc[share.explained]
    return _Scored(said, explained.set_axis(explained.index + share.start, axis=0))


@lru_cache(maxsize=4)
def _model(path: Path) -> Any:
    """Return a model, which a worker loads but once."""
    return load_model(path)


def _concatenated(frames: list[pd.DataFrame]) -> pd.DataFrame:
    import pandas as pd

    return pd.concat([frame for frame in frames if len(frame)])
