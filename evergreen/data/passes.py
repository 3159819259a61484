"""Who goes through a table at rest: this process, or others for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TypeVar

import numpy as np
import pandas as pd

from evergreen.data.dataset import Dataset
from evergreen.data.hashes import Hashes
from evergreen.data.threads import in_threads

Item = TypeVar("Item")
Made = TypeVar("Made")


class Passes:
    """Goes through a table in this process."""

    def over_rows(self, function: Callable[[pd.DataFrame], Made], table: Dataset) -> Iterator[Made]:
        """Yield what a function makes of each row group, in order; each core takes one."""
        numbers = range(len(table.row_groups()))
        return in_threads(lambda number: function(table.read_row_group(number)), numbers)

    def each(
        self, function: Callable[[Dataset, Item], Made], table: Dataset, items: Sequence[Item]
    ) -> Iterator[Made]:
        """Yield what a function makes of the table and each item, in order.

        Each core takes one, but for a table that exceeds the memory: its columns come one by one.
        """
        each = map if table.engine.exceeds_memory else in_threads
        return iter(each(partial(function, table), items))


def over_all_rows(
    way: Passes, function: Callable[[pd.DataFrame], Hashes], table: Dataset
) -> Hashes:
    """Return what a function makes of each row, 64 bits of it, in order."""
    made = np.empty(table.rows, dtype=np.uint64)
    start = 0
    for part in way.over_rows(function, table):
        made[start : start + len(part)] = part
        start += len(part)
    return made
