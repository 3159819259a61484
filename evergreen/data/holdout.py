"""The holdout of a table at rest, gone through by row groups.

The rule is that of `evergreen.data.splits`, and so is the result: what it goes by (target, moment,
group, and a hash per row) is read, some 50 bytes for each row; the table itself is not.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from evergreen.data.conform import as_classes, conform
from evergreen.data.contract import Contract
from evergreen.data.dataset import Dataset
from evergreen.data.dataset_writer import contract_layout, writing
from evergreen.data.hashes import Hashes, conformed_hashes, row_hashes
from evergreen.data.passes import Passes, over_all_rows
from evergreen.data.splits import SplitRows
from evergreen.data.threads import in_threads

_ROLES = ("target", "timestamp", "group")


def rows_to_split(raw: Dataset, contract: Contract, way: Passes | None = None) -> SplitRows:
    """Return the rows of a raw table that have a target, as `split_rows` takes them.

    The frame's index holds their places in the table. ``way`` is who hashes the rows, while the
    result is in use.
    """
    way = way or Passes()
    known = tuple(column for column in contract.columns if column.role in _ROLES)
    few = contract.model_copy(
        update={
            "columns": tuple(
                column for column in known if column.role != "target" or contract.labels is None
            )
        }
    )
    names = [column.name for column in known if column.name in raw.columns]

    def conformed(number: int) -> pd.DataFrame:
        rows = raw.read_row_group(number, names)
        frame = conform(rows, few)
        if contract.labels is not None:  # in a byte or two, where objects take eight
            frame[contract.target] = as_classes(rows[contract.target], contract)
        return frame

    frame = pd.concat([*in_threads(conformed, range(len(raw.row_groups())))], ignore_index=True)
    present = frame[contract.target].notna().to_numpy()
    every = bool(present.all())

    def hashed(of: Callable[[pd.DataFrame], Hashes]) -> Hashes:
        hashes = over_all_rows(way, of, raw)
        return hashes if every else hashes[present]

    return SplitRows(
        frame if every else frame[present],
        lambda: hashed(partial(row_hashes, contract=contract)),
        lambda: hashed(partial(conformed_hashes, contract=contract)),
    )


def write_sides(
    raw: Dataset,
    contract: Contract,
    training: NDArray[np.int64],
    holdout: NDArray[np.int64],
    paths: tuple[Path, Path],
) -> tuple[Dataset, Dataset]:
    """Write both sides of a split, conformed; the sides are places of rows in the raw table.

    Raises
    ------
    UnreachableError
        If a file cannot be written.
    """
    side = np.zeros(raw.rows, dtype=np.int8)
    side[training], side[holdout] = 1, 2
    groups = raw.row_groups()
    first_rows = np.cumsum([0, *groups])

    def divided(number: int) -> list[pd.DataFrame]:
        rows = conform(raw.read_row_group(number), contract)
        of = side[first_rows[number] : first_rows[number + 1]]
        return [rows.take(np.flatnonzero(of == each)) for each in (1, 2)]

    layout = contract_layout(contract)
    with (
        writing(paths[0], layout, f"{raw.source} (training)", raw.engine) as first,
        writing(paths[1], layout, f"{raw.source} (holdout)", raw.engine) as second,
        ThreadPoolExecutor(1) as pool,
    ):
        for rows, others in in_threads(divided, range(len(groups))):
            added = pool.submit(second.add, others)
            first.add(rows)
            added.result()
    return first.dataset, second.dataset
