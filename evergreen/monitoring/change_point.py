"""When the model became worse: one change point in a series of windows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from evergreen.monitoring.counts import LossSums


class ChangePoint(NamedTuple):
    """The first window after a change, by its position, and how sure that there is one."""

    position: int
    statistic: float  # twice the gain in log-likelihood
    before: float  # mean loss
    after: float


def change_point(losses: Sequence[LossSums]) -> ChangePoint | None:
    """Find where the mean loss rose, in windows ordered by time; None where it rose nowhere.

    The split that is likeliest when rows before and after have one mean each and a common
    variance (the binary segmentation step of Scott and Knott, 1974). It answers where, not
    whether: ask it once tests have said that the model became worse.
    """
    rows = np.array([part.rows for part in losses], dtype=np.float64)
    totals = np.array([part.total for part in losses])
    squares = np.array([part.squares for part in losses])
    if len(rows) < 2 or rows.sum() < 3:
        return None
    n, total = rows.sum(), totals.sum()
    before_rows, before = np.cumsum(rows)[:-1], np.cumsum(totals)[:-1]
    after_rows, after = n - before_rows, total - before
    usable = (before_rows > 0) & (after_rows > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        between = before**2 / before_rows + after**2 / after_rows - total**2 / n
        rose = after / after_rows > before / before_rows
    gain = np.where(usable & rose, between, 0.0)
    place = int(np.argmax(gain))
    if gain[place] <= 0:
        return None
    whole = max(float(squares.sum() - total**2 / n), 1e-300)
    left = max(whole - float(gain[place]), 1e-12 * whole)
    return ChangePoint(
        position=place + 1,
        statistic=float(n * np.log(whole / left)),
        before=float(before[place] / before_rows[place]),
        after=float(after[place] / after_rows[place]),
    )
