"""The holdout of a table that is gone through piece by piece.

The rule is that of `evergreen.data.splits`, and so is the result: what it goes by (target, moment,
group, and a hash per row) is read, some 50 bytes for each row; the table itself is not.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from evergreen.data.conform import conform
from evergreen.data.contract import Contract
from evergreen.data.dataset import Dataset
from evergreen.data.dataset_writer import contract_layout, writing
from evergreen.data.hashes import Hashes, conformed_hashes, row_hashes
from evergreen.data.passes import Passes, over_all_rows
from evergreen.data.splits import SplitRows

_ROLES = ("target", "timestamp", "group")


def rows_to_split(raw: Dataset, contract: Contract, way: Passes | None = None) -> SplitRows:
    """Return the rows of a raw table that have a target, as `split_rows` takes them.

    The frame's index holds their places in the table. ``way`` is who hashes the rows, while the
    result is in use.
    """
    way = way or Passes()
    known = tuple(column for column in contract.columns if column.role in _ROLES)
    few = contract.model_copy(update={"columns": known})
    names = [column.name for column in known if column.name in raw.columns]
    frame = pd.concat([conform(piece, few) for piece in raw.pieces(names)])
    present = frame[contract.target].notna().to_numpy()
    every = bool(present.all())

    def hashed(of: Callable[[pd.DataFrame], Hashes]) -> Hashes:
        hashes = over_all_rows(way, of, raw)
        return hashes if every else hashes[present]

    @cache
    def features() -> Hashes:
        return hashed(partial(row_hashes, contract=contract))

    def whole() -> Hashes:
        return hashed(partial(conformed_hashes, contract=contract))

    return SplitRows(frame if every else frame[present], features, whole)


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
    layout = contract_layout(contract)
    with (
        writing(paths[0], layout, f"{raw.source} (training)", raw.engine) as first,
        writing(paths[1], layout, f"{raw.source} (holdout)", raw.engine) as second,
    ):
        for piece in raw.pieces():
            rows, of = conform(piece, contract), side[piece.index]
            first.add(rows[of == 1])
            second.add(rows[of == 2])
    return first.dataset, second.dataset
