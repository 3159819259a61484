"""The part of a reference profile that a window is compared with, beyond plain distributions.

Values only; `evergreen.monitoring.comparison` makes them from a table, `window` counts by them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from evergreen.errors import InputError
from evergreen.monitoring.grid import Grid
from evergreen.monitoring.packed import Packed
from evergreen.values import Value

if TYPE_CHECKING:
    from evergreen.monitoring.profile import Profile

LossMetric = Literal["brier", "error_rate", "absolute_error"]


class GridReference(Value):
    """A number's grid (see `evergreen.monitoring.grid`) with the reference's rows per bin."""

    points: Packed  # g ascending, distinct values; float64
    counts: Packed  # 2 g + 1; int64

    @classmethod
    def of(cls, grid: Grid) -> GridReference:
        """Store a grid that has counts."""
        return cls(points=Packed.of(grid.points), counts=Packed.of(grid.counts))

    def grid(self) -> Grid:
        """Return the grid, ready to find bins."""
        return Grid(self.points.array(), self.counts.array())


class ColumnReference(Value):
    """One feature column. Numbers and moments have a ``grid``, categories have ``levels``."""

    name: str
    kind: Literal["number", "timestamp", "category"]
    rows: int
    missing: int
    mean: float = 0.0
    deviation: float = 0.0  # 0: constant
    grid: GridReference | None = None
    levels: tuple[str, ...] = ()
    level_rows: tuple[int, ...] = ()
    other_rows: int = 0  # rows of levels beyond those kept
    singletons: int = 0  # levels seen exactly once: what Good-Turing goes by


class Structure(Value):
    """How number columns hang together, after replacing values by bounded normal scores.

    ``correlations`` is P x P (NaN where a column is constant), ``rows`` counts the rows where both
    are present, and ``spread`` is n times the variance of a Fisher-transformed correlation,
    estimated from fourth moments without assuming a normal distribution (Steiger and Hakstian,
    1982). ``components`` (P x k) are the leading principal components of one half of the rows, and
    ``errors`` the distribution of the other half's distance from them: it is honest, since that
    half had no say in them.
    """

    columns: tuple[str, ...]
    correlations: Packed
    rows: Packed
    spread: Packed
    centre: Packed  # P, mean score
    scale: Packed  # P, deviation of the score
    components: Packed | None = None
    errors: GridReference | None = None


class Sample(Value):
    """Distinct rows drawn evenly (those of least hash), as bins and level positions."""

    codes: Packed  # rows x columns, uint16
    copies: Packed  # rows; how often each occurs in the table


class PredictionReference(Value):
    """What the model says about rows that it was not fitted on."""

    rows: int
    labels: tuple[str, ...] = ()
    label_rows: tuple[int, ...] = ()
    probabilities: Mapping[str, GridReference] = {}
    values: GridReference | None = None


class LossReference(Value):
    """The champion's loss per row on its holdout.

    ``brier``: sum over labels of squared errors of the probabilities (0 to 2); ``error_rate``: 0
    or 1, for models without probabilities; ``absolute_error``: in units of the target.
    """

    metric: LossMetric
    rows: int
    mean: float
    deviation: float
    skewness: float = 0.0


class Calibration(Value):
    """How often the predicted label was right, by how sure the model was of it.

    ``edges`` part the greatest probability into ``len(edges) + 1`` bins.
    """

    edges: tuple[float, ...]
    rows: tuple[int, ...]
    right: tuple[int, ...]


class Comparison(Value):
    """All that a window is compared with. ``key`` tells which windows were counted by it."""

    key: str
    rows: int
    columns: tuple[ColumnReference, ...]
    structure: Structure | None  # None: fewer than two number columns vary
    sample: Sample
    duplicates: float  # share of the rows that repeat another one
    predictions: PredictionReference
    loss: LossReference | None = None
    calibration: Calibration | None = None


def comparison_of(profile: Profile) -> Comparison:
    """Return what a window is compared with.

    Raises
    ------
    InputError
        If the profile was written by a version that did not store it.
    """
    if profile.comparison is None:
        raise InputError(
            f"The reference profile of {profile.use_case!r} has format {profile.format}: it lacks "
            "what drift is judged by. Train again, so that the champion's bundle has it."
        )
    return profile.comparison


def level_counts(column: ColumnReference) -> npt.NDArray[np.int64]:
    """Return the rows of each kept level."""
    return np.array(column.level_rows, dtype=np.int64)
