"""The reference profile of a table that stays on disk, by columns and by row groups.

Plain distributions need all values of one column, all else the rows: each row group is looked at
twice (see `evergreen.monitoring.looks`). What is counted, sorted or drawn is that of
`evergreen.monitoring.profile.make_profile` on the same rows; sums agree within rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial, reduce
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from evergreen.data.contract import Contract
from evergreen.data.dataset import Dataset, draw_evenly
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

if TYPE_CHECKING:
    import pandas as pd

    from evergreen.training.predictions import Predictions

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Drawn:
    """So many of a table's rows, which a seed draws as `Dataset.read_some` does."""

    of: int
    rows: int
    seed: int

    def mask(self) -> Mask:
        """Return which rows of the table they are."""
        return _mask(self)


def profile_by_groups(
    table: Dataset, contract: Contract, predictions: Predictions, rows: int, seed: int, way: Passes
) -> Profile:
    """Profile the features of a conformed table, and predictions, as `make_profile` does.

    Of a table of more than ``rows`` rows, so many are drawn evenly. ``way`` is who goes through
    the table; one column at a time is in memory there.

    Raises
    ------
    InputError
        If there is no row, or no prediction, or the file is damaged.
    UnreachableError
        If the file cannot be read, or as ``way`` does.
    """
    if not table.rows or not len(predictions):
        raise InputError("There are no rows to make a reference profile of.")
    drawn = Drawn(table.rows, min(rows, table.rows), seed)
    names = [column.name for column in contract.features]
    looked = list(way.each(partial(_column, contract, drawn), table, names))
    columns = tuple(profile for profile, _ in looked)
    references = tuple(reference for _, reference in looked)

    shares = _shares(table, drawn)
    look = _Look(contract, drawn, references)
    first = reduce(FirstLook.merge, way.each(look.first, table, shares))
    seconds: list[SecondLook] = []
    if has_structure(references):
        seconds = list(way.each(partial(look.second, Axes.of(first)), table, shares))
    comparison = comparison_of_looks(references, first, seconds, predictions)
    moments = None
    if (name := moment_column(contract)) in table.columns:
        moments = table.read([name])[name][drawn.mask()]
    return assemble_profile(contract, moments, columns, comparison, predictions)


@dataclass(frozen=True)
class _Share:
    """A row group: its first row in the table, and among the rows that were drawn."""

    number: int
    start: int
    place: int


@dataclass(frozen=True)
class _Look:
    """What a worker needs to look at a row group."""

    contract: Contract
    drawn: Drawn
    references: Sequence[ColumnReference]

    def first(self, table: Dataset, share: _Share) -> FirstLook:
        return self._piece(table, share).first()

    def second(self, axes: Axes, table: Dataset, share: _Share) -> SecondLook:
        return self._piece(table, share).second(axes)

    def _piece(self, table: Dataset, share: _Share) -> Piece:
        names = [column.name for column in self.contract.features]
        frame = table.read_row_group(share.number, names)
        frame = frame[self.drawn.mask()[share.start : share.start + len(frame)]]
        return Pieces(self.references).piece(as_arrow(frame, self.contract), share.place)


def _shares(table: Dataset, drawn: Drawn) -> list[_Share]:
    """Return the row groups that have rows of those drawn."""
    shares, start, place, mask = [], 0, 0, drawn.mask()
    for number, rows in enumerate(table.row_groups()):
        taken = int(mask[start : start + rows].sum())
        if taken:
            shares.append(_Share(number, start, place))
        start, place = start + rows, place + taken
    return shares


def _column(
    contract: Contract, drawn: Drawn, table: Dataset, name: str
) -> tuple[ColumnProfile, ColumnReference]:
    """Return the plain profile of a column, and what later ones are compared with."""
    frame: pd.DataFrame = table.read([name])[drawn.mask()]
    few = contract.model_copy(update={"columns": (contract.column(name),)})
    profile = profile_column(frame[name], contract.column(name))
    return profile, column_reference(as_arrow(frame, few)[name], profile)


@lru_cache(maxsize=1)
def _mask(drawn: Drawn) -> Mask:
    if drawn.rows >= drawn.of:
        return np.ones(drawn.of, dtype=bool)
    return draw_evenly(drawn.of, drawn.rows, np.random.default_rng(drawn.seed))
