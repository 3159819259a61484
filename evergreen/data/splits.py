"""The holdout, and the folds on the rest.

Rows are told apart by a hash of their content, never by their place in the table: the splits do
not depend on the order of the rows, and rows keep their side as the table grows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from evergreen.config import SplitConfig
from evergreen.data.casting import as_text, as_timestamp
from evergreen.data.conform import target_values
from evergreen.data.contract import Contract, Role
from evergreen.data.hashes import (
    Hashes,
    Repeats,
    conformed_hashes,
    lowest_share,
    mixed,
    parts_of,
    row_hashes,
)
from evergreen.data.threads import in_threads
from evergreen.errors import InputError

Method = Literal["random", "stratified", "group", "time"]
Positions = NDArray[np.int64]
Moments = NDArray[np.datetime64]

REPEATS_ARE_NATURAL = 0.5  # share of distinct feature rows below which repeats prove nothing
_MANY_GROUPS = 5_000  # beyond, classes even out by themselves, and balancing them is slow


@dataclass(frozen=True)
class Split:
    """Positions (0-based, ascending) of the rows to train on and of the rows kept for the end.

    ``boundary`` is the moment (ISO 8601, UTC) that a split by time is made at: every training
    row is older. None for the other methods.
    """

    train: Positions
    holdout: Positions
    method: Method
    boundary: str | None = None


@dataclass(frozen=True)
class SplitRows:
    """The rows to split: a few of their columns, and what tells them apart.

    ``frame`` holds conformed rows, each with a target; of its columns only target, timestamp and
    group are looked at; classes may be a categorical of the contract's labels. ``hash_features``
    returns `row_hashes` of all rows, ``whole`` a hash of each row's every value; both are asked
    only if they are needed.
    """

    frame: pd.DataFrame
    hash_features: Callable[[], Hashes]
    whole: Callable[[], Hashes]

    @classmethod
    def of(cls, frame: pd.DataFrame, contract: Contract) -> SplitRows:
        """Return the rows of a conformed frame."""

        def hashed(of: Callable[[pd.DataFrame], Hashes]) -> Hashes:
            parts = list(in_threads(lambda part: of(frame.iloc[part]), parts_of(len(frame))))
            return np.concatenate(parts) if parts else np.empty(0, dtype=np.uint64)

        return cls(
            frame,
            lambda: hashed(partial(row_hashes, contract=contract)),
            lambda: hashed(partial(conformed_hashes, contract=contract)),
        )

    @cached_property
    def features(self) -> Hashes:
        """One hash per row of its features."""
        return self.hash_features()

    @cached_property
    def repeats(self) -> Repeats:
        """Which of these hashes several rows have."""
        return Repeats.of(self.features)


def split_method(contract: Contract, config: SplitConfig) -> Method:
    """Return the method that ``auto`` stands for: by time, by group, stratified or random."""
    if config.method != "auto":
        return config.method
    if _column_with(contract, "timestamp") is not None:
        return "time"
    if _column_with(contract, "group") is not None:
        return "group"
    return "stratified" if contract.task == "classification" else "random"


def split_holdout(frame: pd.DataFrame, contract: Contract, config: SplitConfig) -> Split:
    """Set the holdout apart.

    random, stratified: the rows with the lowest seeded hash of their features (stratified:
    within each class); rows with the same features share a side. Where most rows are repeats
    (few distinct rows exist at all), each row counts by itself.
    group: the groups with the lowest hash; a row without a group is one by itself.
    time: the newest rows; equal moments share a side. Where a group is named as well, all of
    its rows count as its newest one, so that a group never spans both sides.

    Parameters
    ----------
    frame
        Conformed rows, each with a target.

    Raises
    ------
    InputError
        If a side would stay empty, or rows lack the timestamp of a split by time.
    """
    return split_rows(SplitRows.of(frame, contract), contract, config)


def split_rows(rows: SplitRows, contract: Contract, config: SplitConfig) -> Split:
    """Set the holdout apart; see `split_holdout`."""
    frame, method = rows.frame, split_method(contract, config)
    if len(frame) < 2:
        raise InputError(
            f"A table with {len(frame)} usable row(s) cannot be split into training rows and "
            "a holdout; it needs at least two, and sensibly many more."
        )
    if method == "time":
        return _split_by_time(frame, contract, config)
    repeated = None
    if method == "group":
        keys = _group_keys(rows, contract, config.seed)
    else:
        keys, repeated = _row_keys(rows, config.seed)
    strata = _classes(frame, contract) if method == "stratified" else None
    held = lowest_share(keys, strata, config.holdout, repeated)
    if not held.any():
        what = "group" if method == "group" else "distinct row"
        raise InputError(
            f"There is only one {what} (of each class), so no holdout can be set apart; "
            "get more data, or choose another split.method."
        )
    return Split(np.flatnonzero(~held), np.flatnonzero(held), method)


def make_folds(
    frame: pd.DataFrame, contract: Contract, config: SplitConfig
) -> list[tuple[Positions, Positions]]:
    """Return ``config.folds`` pairs of positions: the rows to fit on, the rows to validate on.

    Parameters
    ----------
    frame
        Conformed training rows, each with a target.

    Raises
    ------
    InputError
        If there are too few rows, groups, moments or rows of a class for so many folds.
    """
    method = split_method(contract, config)
    if config.folds > len(frame):
        raise InputError(
            f"split.folds is {config.folds}, but there are only {len(frame)} training rows; "
            f"set split.folds to {len(frame)} at most, or get more data."
        )
    if method == "time":
        return list(_time_folds(frame, contract, config))
    if contract.task == "classification":
        _require_class_rows(frame, contract, config.folds)
    # Rows in hash order are shuffled already, whatever order the table came in.
    keys, _ = _row_keys(SplitRows.of(frame, contract), config.seed)
    order = np.argsort(keys, kind="stable")
    shuffled = frame.iloc[order]
    return [
        (np.sort(order[fit]), np.sort(order[validate]))
        for fit, validate in _fold(shuffled, contract, config, method)
    ]


def repeats_are_natural(repeats: Repeats) -> bool:
    """Tell whether most rows repeat others, because few distinct rows exist at all."""
    return repeats.distinct < REPEATS_ARE_NATURAL * repeats.rows


def group_values(frame: pd.DataFrame, contract: Contract) -> pd.Series | None:
    """Return each row's group as text (missing None), or None where no column is one."""
    name = _column_with(contract, "group")
    return None if name is None else as_text(frame[name])


def _row_keys(rows: SplitRows, seed: int) -> tuple[Hashes, Hashes]:
    """Return a key for each row, and in ascending order those that several rows have."""
    if repeats_are_natural(rows.repeats):
        # Whole rows, each copy numbered: copies are alike, so it does not matter which is which.
        whole = rows.whole()
        occurrence = pd.Series(whole).groupby(whole).cumcount()
        keys = mixed(mixed(whole) + np.asarray(occurrence, dtype=np.uint64), seed)
        return keys, Repeats.of(keys).hashes
    # Mixing is one-to-one: what differs still differs.
    return mixed(rows.features, seed), np.sort(mixed(rows.repeats.hashes, seed))


def _group_keys(rows: SplitRows, contract: Contract, seed: int) -> Hashes:
    groups = _required_groups(rows.frame, contract)
    hashes = np.array(pd.util.hash_pandas_object(groups, index=False), dtype=np.uint64)
    alone = groups.isna().to_numpy()
    if alone.any():
        hashes[alone] = rows.features[alone]
    return mixed(hashes, seed)


def _split_by_time(frame: pd.DataFrame, contract: Contract, config: SplitConfig) -> Split:
    moments = _moments(frame, contract)
    ordered = np.sort(moments)
    cut = ordered[round((1 - config.holdout) * (len(ordered) - 1))]
    later = ordered[ordered > cut]
    starts = [cut, *later[:1]]  # the holdout begins with the moment at the cut, or after it
    wanted = config.holdout * len(ordered)
    start = min(
        (s for s in starts if ordered[0] < s),
        key=lambda s: abs(int((ordered >= s).sum()) - wanted),
        default=None,
    )
    if start is None:
        name = _column_with(contract, "timestamp")
        raise InputError(
            f"The rows cannot be split by time: all of them count as {ordered[0]} in {name!r}"
            f"{_spanning_groups(contract)}. Set split.method to another one than time."
        )
    held = moments >= start
    boundary = pd.Timestamp(start).isoformat()
    return Split(np.flatnonzero(~held), np.flatnonzero(held), "time", boundary)


def _time_folds(
    frame: pd.DataFrame, contract: Contract, config: SplitConfig
) -> Iterator[tuple[Positions, Positions]]:
    from sklearn.model_selection import TimeSeriesSplit

    moments = _moments(frame, contract)
    ordered = np.sort(moments)
    distinct = len(np.unique(ordered))
    starts: list[np.datetime64] = []
    if len(ordered) > config.folds:
        splitter = TimeSeriesSplit(n_splits=config.folds)
        starts = [ordered[validate[0]] for _, validate in splitter.split(ordered)]
    starts = [start for start in np.unique(starts) if start > ordered[0]]
    if len(starts) < config.folds:
        raise InputError(
            f"{config.folds} folds by time need more distinct moments, evenly spread, than the "
            f"{distinct} of the training rows{_spanning_groups(contract)}; lower split.folds, or "
            "set split.method to another one than time."
        )
    ends = [*starts[1:], None]
    for start, end in zip(starts, ends, strict=True):
        validate = moments >= start if end is None else (moments >= start) & (moments < end)
        fit = np.flatnonzero(moments < start)
        _require_two_classes(frame.iloc[fit], contract, start)
        yield fit, np.flatnonzero(validate)


def _fold(
    frame: pd.DataFrame, contract: Contract, config: SplitConfig, method: Method
) -> Iterator[tuple[Positions, Positions]]:
    from sklearn.model_selection import GroupKFold, KFold, StratifiedGroupKFold, StratifiedKFold

    rows = np.zeros(len(frame))
    if method == "random":
        return KFold(config.folds).split(rows)
    if method == "stratified":
        return StratifiedKFold(config.folds).split(rows, _classes(frame, contract))
    groups = _group_keys(SplitRows.of(frame, contract), contract, config.seed)
    count = len(np.unique(groups))
    if count < config.folds:
        name = _column_with(contract, "group")
        raise InputError(
            f"split.folds is {config.folds}, but the training rows have only {count} group(s) in "
            f"{name!r}; set split.folds to {max(count, 2)} at most, or get more groups."
        )
    if contract.task == "regression" or count > _MANY_GROUPS:
        return GroupKFold(config.folds).split(rows, groups=groups)
    return StratifiedGroupKFold(config.folds).split(rows, _classes(frame, contract), groups)


def _moments(frame: pd.DataFrame, contract: Contract) -> Moments:
    """Return each row's moment, or its group's newest one."""
    name = _column_with(contract, "timestamp")
    if name is None:
        raise InputError("A split by time needs data.timestamp; name the column there.")
    moments = as_timestamp(frame[name], contract.column(name).format)
    absent = int(moments.isna().sum())
    if absent:
        raise InputError(
            f"{absent} of {len(moments)} rows have no readable timestamp in {name!r}, so they "
            "cannot be split by time. Mend or leave out these rows, or set split.method to "
            "another one than time."
        )
    groups = group_values(frame, contract)
    if groups is not None:
        newest = moments.groupby(groups.to_numpy()).transform("max")
        moments = newest.fillna(moments)
    return moments.to_numpy()


def _spanning_groups(contract: Contract) -> str:
    name = _column_with(contract, "group")
    return "" if name is None else f" (each row counting as the newest one of its {name!r})"


def _classes(frame: pd.DataFrame, contract: Contract) -> Positions:
    """Return each row's class as its place among the contract's labels."""
    place = {label: index for index, label in enumerate(contract.labels or ())}
    codes, found = pd.factorize(frame[contract.target])
    if (codes < 0).any():
        target_values(frame, contract)  # which says how many rows have none
    return np.array([place[label] for label in found], dtype="int64")[codes]


def _require_class_rows(frame: pd.DataFrame, contract: Contract, folds: int) -> None:
    counts = np.bincount(_classes(frame, contract), minlength=len(contract.labels or ()))
    rare = int(np.where(counts > 0, counts, len(frame) + 1).argmin())
    if 0 < counts[rare] < folds:
        advice = f"set split.folds to {counts[rare]}, or " if counts[rare] > 1 else ""
        raise InputError(
            f"split.folds is {folds}, but the class {(contract.labels or ())[rare]!r} of "
            f"{contract.target!r} has only {counts[rare]} training row(s); {advice}get more rows "
            "of it, or merge it with another class."
        )


def _require_two_classes(frame: pd.DataFrame, contract: Contract, end: np.datetime64) -> None:
    if contract.task == "classification" and len(np.unique(_classes(frame, contract))) < 2:
        raise InputError(
            f"All training rows before {pd.Timestamp(end).isoformat()} are of one class of "
            f"{contract.target!r}, so a fold by time has nothing to learn there; lower "
            "split.folds, or set split.method to another one than time."
        )


def _required_groups(frame: pd.DataFrame, contract: Contract) -> pd.Series:
    groups = group_values(frame, contract)
    if groups is None:
        raise InputError("A split by group needs data.group; name the column there.")
    return groups


def _column_with(contract: Contract, role: Role) -> str | None:
    names = [column.name for column in contract.columns if column.role == role]
    return names[0] if names else None
