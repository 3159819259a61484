"""What training rows and holdout share, and should not."""

from __future__ import annotations

import numpy as np

from evergreen.data.hashes import occurring_in
from evergreen.data.quality.observation import (
    FIRST_ROWS,
    Observation,
    Observations,
    SplitTable,
    counted,
    percent,
    quoted,
    these_rows,
)
from evergreen.data.splits import group_values, repeats_are_natural


def shared_rows(table: SplitTable, limit: float) -> Observations:
    """Find groups on both sides, and too many holdout rows whose features occur in training.

    Where most rows repeat others (few distinct rows exist at all), repeats prove nothing.
    """
    yield from _shared_groups(table)
    hashes, repeats = table.rows.features, table.rows.repeats
    if repeats_are_natural(repeats):
        return
    train, holdout = table.split.train, table.split.holdout
    shared = occurring_in(hashes[holdout], repeats.hashes)
    if shared.any():  # by rows of training, or of the holdout alone
        train = train[occurring_in(hashes[train], repeats.hashes)]
        shared[shared] = occurring_in(hashes[holdout[shared]], hashes[train])
    share = float(shared.mean()) if len(shared) else 0.0
    if share > limit:
        count = int(shared.sum())
        rows = table.name_rows(holdout[np.flatnonzero(shared)[:FIRST_ROWS]])
        yield Observation(
            f"{counted(count, 'holdout row')} ({percent(share)}; {these_rows(rows, count)}) "
            f"{'has' if count == 1 else 'have'} the same features as training rows, so the "
            "holdout flatters the model. Remove copies from the table, name what repeats as "
            "data.group, or raise quality.shared_rows.limit.",
            count=count,
            share=share,
            rows=rows,
        )


def _shared_groups(table: SplitTable) -> Observations:
    groups = group_values(table.frame, table.contract)
    if groups is None:
        return
    train = set(groups.iloc[table.split.train].dropna().unique())
    held = groups.iloc[table.split.holdout]
    shared = held.isin(train).to_numpy()
    if not shared.any():
        return
    names = sorted(held[shared].unique())
    rows = table.name_rows(table.split.holdout[np.flatnonzero(shared)[:FIRST_ROWS]])
    yield Observation(
        f"{counted(len(names), 'group')} of {groups.name!r} {'is' if len(names) == 1 else 'are'} "
        f"in the training rows and in the holdout: {quoted(names, most=5)}. Set split.method to "
        "group, or to time.",
        columns=(str(groups.name),),
        count=len(names),
        share=float(shared.mean()),
        rows=rows,
    )
