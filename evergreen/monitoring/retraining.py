"""The table of a retraining: labelled rows of the prediction log, beside the original table or not.

The newest quarter of the logged rows is set aside: the gate compares challenger and champion on
what is true today. Rows of the original table that a training holds out stay out here as well, so
that a later training can still judge by them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd

from evergreen.config import UseCase
from evergreen.data.conform import conform
from evergreen.data.contract import Column, Contract
from evergreen.data.hashes import Repeats, row_hashes
from evergreen.data.splits import Method, Split, repeats_are_natural, split_holdout
from evergreen.errors import InputError, RefusedError
from evergreen.monitoring.settings import RetrainConfig
from evergreen.monitoring.settings import Selection as Which
from evergreen.values import Value

if TYPE_CHECKING:
    from evergreen.serving.prediction_history import Window

HOLDOUT_SHARE: Final = 0.25  # of the logged rows, as `benchmarks/drift_stream.py` measures it
FEWEST_HELD: Final = 50  # a bootstrap of fewer rows is no interval to trust


class Selection(Value):
    """Which rows a retraining takes. The table's last ``holdout_rows`` rows are its holdout."""

    which: Which
    recent_rows: int  # of the log, to train on
    history_rows: int  # of the original table
    holdout_rows: int
    boundary: str  # ISO 8601, UTC: every logged row to train on is older
    removed: int = 0  # rows with the features of a holdout row, which would give it away
    reason: str  # one sentence with the numbers

    def split(self, rows: int, contract: Contract) -> Split:
        """Return the positions of both sides in a table of so many rows.

        Its method is time where the table has a timestamp that can be checked: a log's moments
        are no column.
        """
        first = rows - self.holdout_rows
        timed = any(column.role == "timestamp" for column in contract.columns)
        boundary = self.boundary if timed else None
        method: Method = "time" if timed else "random"
        return Split(np.arange(first), np.arange(first, rows), method, boundary)


def require_same_question(contract: Contract, use_case: UseCase) -> None:
    """Make sure that the champion still answers what the use case asks.

    Raises
    ------
    InputError
        If task or target differ.
    """
    asked, answered = (use_case.task, use_case.data.target), (contract.task, contract.target)
    if asked != answered:
        raise InputError(
            f"The champion of {use_case.name!r} answers another question ({answered[0]} of "
            f"{answered[1]!r}) than the use case asks ({asked[0]} of {asked[1]!r}). Train first: "
            "python run.py --pipeline train"
        )


def logged_table(window: Window, contract: Contract) -> pd.DataFrame:
    """Return the labelled rows of a window, conformed, the oldest first.

    The index is the moment of each prediction (datetime64[us], UTC without a zone); a column with
    the role timestamp holds it as well. Groups are unknown. Rows whose label is none of the
    contract's are left out.

    Raises
    ------
    InputError
        If the log holds a feature dropped or hashed: nothing can be learnt from it then.
    """
    if window.redacted:
        raise InputError(
            f"The prediction log keeps {window.redacted[0]!r} hidden (serving.log), so no model "
            "can be trained on it. Retrain from the source instead: python run.py --pipeline train"
        )
    moments = pd.DatetimeIndex(window.times)
    columns = dict(window.inputs)
    columns[contract.target] = window.actual
    for column in contract.columns:
        if column.role == "timestamp":
            columns[column.name] = window.times
    table = conform(pd.DataFrame(columns, index=moments), contract)
    return table[table[contract.target].notna().to_numpy()]


def select_rows(
    logged: pd.DataFrame,
    history: pd.DataFrame | None,
    contract: Contract,
    use_case: UseCase,
    *,
    changed: bool,
) -> tuple[pd.DataFrame, Selection]:
    """Make the table of a retraining: rows to train on, then the holdout of the newest ones.

    Parameters
    ----------
    logged
        As `logged_table` returns it.
    history
        The original table as read; None where the selection does without it.
    changed
        Whether a change of what is right was found, which makes older rows teach what is wrong.

    Raises
    ------
    RefusedError
        If there are too few labelled rows, or all came at one moment.
    """
    config = use_case.monitoring.retrain
    which = resolved(config, changed=changed)
    start = _boundary(logged, config)
    moments = logged.index.to_numpy()
    recent, held = logged[moments < start], logged[moments >= start]
    parts = [recent]
    if which != "recent" and history is not None:
        parts.insert(0, _kept_history(history, contract, use_case, which))
    training = pd.concat(parts, ignore_index=True)
    training, removed = _without_copies(training, held, contract)
    history_rows = sum(map(len, parts)) - len(recent)
    table = pd.concat([training, held], ignore_index=True)
    boundary = pd.Timestamp(start).isoformat()
    return table, Selection(
        which=which,
        recent_rows=len(recent),
        history_rows=history_rows,
        holdout_rows=len(held),
        boundary=boundary,
        removed=removed,
        reason=_reason(which, len(recent), history_rows, len(held), removed, boundary),
    )


def resolved(config: RetrainConfig, *, changed: bool) -> Which:
    """Return what ``auto`` stands for."""
    if config.rows != "auto":
        return config.rows
    return "recent" if changed else "recent_and_history"


def widened(contract: Contract, table: pd.DataFrame) -> Contract:
    """Return the champion's contract with what the new rows show beside it.

    Types, roles and what the use case declares stay: callers of the API depend on them. Recorded
    ranges and categories grow, never shrink.
    """
    columns = tuple(_widened(column, table[column.name]) for column in contract.columns)
    return contract.model_copy(update={"columns": columns})


def _boundary(logged: pd.DataFrame, config: RetrainConfig) -> np.datetime64:
    """Return the first moment of the holdout; rows of one moment stay together."""
    wanted = min(config.recheck_rows, round(HOLDOUT_SHARE * len(logged)))
    if wanted < FEWEST_HELD:
        raise RefusedError(
            f"There are {len(logged)} labelled rows in the prediction log, too few to retrain on: "
            f"a quarter of them is held out, and it takes {FEWEST_HELD} to compare two models. "
            "Send more labels (POST /feedback), or train anew: python run.py --pipeline train"
        )
    moments = logged.index.to_numpy()
    start = moments[-wanted]
    if start == moments[0]:
        raise RefusedError(
            f"All {len(logged)} labelled rows came at one moment ({pd.Timestamp(start)} UTC), so "
            "none can be held out as newer than the rest."
        )
    return start


def _kept_history(
    history: pd.DataFrame, contract: Contract, use_case: UseCase, which: Which
) -> pd.DataFrame:
    """Return the rows of the original table's training side, all of them or a weighted draw.

    A row's weight is the probability with which it stays (Poisson sampling): expected sums are
    those of weighted rows, for every estimator, fold and metric alike. It depends on the row's
    content alone.
    """
    table = conform(history, contract)
    table = table[table[contract.target].notna()]
    table = table.iloc[split_holdout(table, contract, use_case.split).train]
    if which != "weighted":
        return table
    # Another salt than that of the split, or the draw would go by what decided the sides.
    salt = pd.util.hash_array(np.array([f"draw {use_case.training.seed}"], dtype=object))
    copies = table.groupby(row_hashes(table, contract)).cumcount().to_numpy()
    keys = pd.util.hash_array(row_hashes(table, contract) + salt + copies.astype(np.uint64))
    chance = keys / np.float64(2**64)
    return table[chance < use_case.monitoring.retrain.history_weight]


def _without_copies(
    training: pd.DataFrame, held: pd.DataFrame, contract: Contract
) -> tuple[pd.DataFrame, int]:
    """Leave out training rows with the features of a holdout row, unless repeats are natural."""
    hashes, kept = row_hashes(training, contract), row_hashes(held, contract)
    if repeats_are_natural(Repeats.of(np.concatenate([hashes, kept]))):
        return training, 0
    shared = np.isin(hashes, kept)
    return training[~shared], int(shared.sum())


def _widened(column: Column, values: pd.Series) -> Column:
    present = values.dropna()
    facts: dict[str, object] = {}
    if "nullable" not in column.declared:
        facts["nullable"] = column.nullable or len(present) < len(values)
    if column.type in ("number", "integer") and len(present):
        for key, found, pick in (
            ("minimum", float(present.min()), min),
            ("maximum", float(present.max()), max),
        ):
            known = getattr(column, key)
            if key not in column.declared and known is not None:
                facts[key] = pick(known, found)
    known_levels = column.categories is not None and "categories" not in column.declared
    if column.type == "category" and column.role != "target" and known_levels:
        seen = {*map(str, column.categories or ()), *map(str, present.unique())}
        facts["categories"] = tuple(sorted(seen))
    return column.model_copy(update=facts)


def _reason(which: Which, recent: int, history: int, held: int, removed: int, boundary: str) -> str:
    beside = {
        "recent": "",
        "recent_and_history": f" and {history} of the original table",
        "weighted": f" and a weighted draw of {history} of the original table",
    }[str(which)]
    copies = f"; {removed} with the features of a held-out row were left out" if removed else ""
    return (
        f"{recent} labelled rows of the log{beside} to train on{copies}; the newest {held} "
        f"(since {boundary} UTC) are held out"
    )
