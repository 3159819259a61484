"""The reference profile of rows that others look at, by columns and by row groups.

Plain distributions need all values of one column, all else the rows: each row group is looked at
twice (see `evergreen.monitoring.looks`). What is counted, sorted or drawn is that of
`evergreen.monitoring.profile.make_profile` on the same rows; sums agree within rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial, reduce
from typing import TYPE_CHECKING

import numpy as np

from evergreen.data.contract import Contract
from evergreen.data.dataset import Dataset
from evergreen.data.engine import IN_MEMORY
from evergreen.data.passes import Passes
from evergreen.errors import InputError
from evergreen.monitoring.comparison import (
    column_reference,
    comparison_of_looks,
    has_structure,
)
from evergreen.monitoring.looks import Axes, FirstLook, Piece, Pieces, SecondLook
from evergreen.monitoring.profile import (
    ColumnProfile,
    Profile,
    as_arrow,
    assemble_profile,
    moment_column,
    profile_column,
)
from evergreen.monitoring.reference import ColumnReference
from evergreen.monitoring.window import libraries
from evergreen.scratch import working_folder

if TYPE_CHECKING:
    import pandas as pd

    from evergreen.training.predictions import Predictions


def profile_by_groups(
    frame: pd.DataFrame, contract: Contract, predictions: Predictions, way: Passes
) -> Profile:
    """Profile the features of a conformed frame, and predictions, as `make_profile` does.

    ``way`` is who looks at the rows. They are written for it: going through the table that they
    were drawn from, once for the columns and twice for the rows, would take several times as long.

    Raises
    ------
    InputError
        If there is no row, or no prediction.
    UnreachableError
        If the rows cannot be written, or as ``way`` does.
    """
    if frame.empty or not len(predictions):
        raise InputError("There are no rows to make a reference profile of.")
    names = [column.name for column in contract.features]
    with working_folder("profile-") as folder:
        table = Dataset.write(frame[names], folder / "rows.parquet", engine=IN_MEMORY)
        looked = list(way.each(partial(_column, contract), table, names))
        columns = tuple(profile for profile, _ in looked)
        references = tuple(reference for _, reference in looked)

        look = _Look(contract, references)
        starts = np.cumsum([0, *table.row_groups()]).tolist()
        groups = list(enumerate(starts[:-1]))
        first = reduce(FirstLook.merge, way.each(look.first, table, groups))
        seconds: list[SecondLook] = []
        if has_structure(references):
            seconds = list(way.each(partial(look.second, Axes.of(first)), table, groups))
    comparison = comparison_of_looks(references, first, seconds, predictions)
    moments = frame[name] if (name := moment_column(contract)) in frame.columns else None
    return assemble_profile(contract, moments, columns, comparison, predictions)


@dataclass(frozen=True)
class _Look:
    """What a worker needs to look at a row group, given by its number and its first row."""

    contract: Contract
    references: Sequence[ColumnReference]

    def first(self, table: Dataset, group: tuple[int, int]) -> FirstLook:
        with libraries().limit(limits=1, user_api="blas"):  # more would wait for each other
            return self._piece(table, *group).first()

    def second(self, axes: Axes, table: Dataset, group: tuple[int, int]) -> SecondLook:
        with libraries().limit(limits=1, user_api="blas"):
            return self._piece(table, *group).second(axes)

    def _piece(self, table: Dataset, number: int, start: int) -> Piece:
        frame = table.read_row_group(number)
        return Pieces(self.references).piece(as_arrow(frame, self.contract), start)


def _column(contract: Contract, table: Dataset, name: str) -> tuple[ColumnProfile, ColumnReference]:
    """Return the plain profile of a column, and what later ones are compared with."""
    frame = table.read([name])
    few = contract.model_copy(update={"columns": (contract.column(name),)})
    profile = profile_column(frame[name], contract.column(name))
    return profile, column_reference(as_arrow(frame, few)[name], profile)
