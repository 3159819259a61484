"""What a reference is made of beyond plain distributions, from pieces of its table.

Each piece is looked at twice: sums come first, and what is measured by them second. Whatever is
counted adds up exactly, sums within rounding; so it matters little who looks at which piece.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from evergreen.monitoring.encoding import ColumnEncoder, EncodedColumn, ScoreTable
from evergreen.monitoring.grid import CodeArray
from evergreen.monitoring.reading import HashArray, mixed
from evergreen.monitoring.reference import ColumnReference
from evergreen.monitoring.sample import RowSample
from evergreen.monitoring.scores import MomentSums, ScoreSums
from evergreen.monitoring.window import reconstruction_errors

if TYPE_CHECKING:
    import pyarrow as pa

FloatArray = npt.NDArray[np.float64]
Scores = npt.NDArray[np.float32]

EXPLAINED = 0.65  # share of the variance that the principal components keep
MIN_ERRORS = 50  # rows without which the reconstruction error has no reference


@dataclass(frozen=True, eq=False)
class FirstLook:
    """Sums over a piece; ``fit`` over every other row of the table, the first one included."""

    rows: int
    sample: RowSample
    sums: ScoreSums
    fit: ScoreSums

    def merge(self, other: FirstLook) -> FirstLook:
        """Return what both pieces give together."""
        return FirstLook(
            self.rows + other.rows,
            self.sample.merge(other.sample),
            self.sums.merge(other.sums),
            self.fit.merge(other.fit),
        )


@dataclass(frozen=True, eq=False)
class Axes:
    """What second looks go by; each has P numbers, ``components`` P x k, if there are rows enough.

    ``centre`` and ``scale`` are float32, as they are stored.
    """

    mean: FloatArray
    deviation: FloatArray
    centre: Scores
    scale: Scores
    components: Scores | None

    @classmethod
    def of(cls, first: FirstLook) -> Axes:
        """Find them by the first looks at all pieces."""
        sums = first.sums
        with np.errstate(divide="ignore", invalid="ignore"):
            own = np.diag(sums.rows)
            mean = np.nan_to_num(np.diag(sums.first) / own)
            variance = np.nan_to_num(np.diag(sums.square) / own) - mean**2
        scale = np.where(variance > 1e-6, np.sqrt(np.maximum(variance, 1e-6)), 1.0)
        return cls(
            mean=mean,
            deviation=np.sqrt(np.maximum(variance, 0.0)),
            centre=mean.astype(np.float32),
            scale=scale.astype(np.float32),
            components=_components(first),
        )


@dataclass(frozen=True, eq=False)
class SecondLook:
    """Fourth moments of a piece, and the reconstruction errors of the rows not in ``fit``."""

    moments: MomentSums
    errors: FloatArray


class Pieces:
    """Codes pieces of a table by the references of its columns, and looks at them."""

    def __init__(self, references: Sequence[ColumnReference]) -> None:
        self._encoders = [ColumnEncoder(reference) for reference in references]
        self._varied = [
            place
            for place, encoder in enumerate(self._encoders)
            if encoder.grid is not None and len(encoder.grid.points) > 1
        ]
        self._scores = ScoreTable([self._encoders[place] for place in self._varied])

    @property
    def varied(self) -> tuple[str, ...]:
        """The number columns that vary."""
        return tuple(self._encoders[place].reference.name for place in self._varied)

    def piece(self, table: Mapping[str, pa.Array], start: int = 0) -> Piece:
        """Code rows; ``start`` is the place of the first one in the whole table."""
        rows = len(next(iter(table.values()))) if table else 0
        encoded = (each.encode(table[each.reference.name]) for each in self._encoders)
        return self.coded(*coded_rows(encoded, rows), start)

    def coded(self, hashes: HashArray, codes: Sequence[CodeArray], start: int = 0) -> Piece:
        """Return rows that are coded already."""
        return Piece(start, hashes, codes, self._scores, tuple(self._varied))


def coded_rows(
    columns: Iterable[EncodedColumn], rows: int
) -> tuple[HashArray, Sequence[CodeArray]]:
    """Return the hashes of so many rows, and their codes by columns."""
    hashes = np.zeros(rows, dtype=np.uint64)
    codes = []
    for column in columns:
        codes.append(column.codes)
        hashes = mixed(hashes, column.bits)
    return hashes, codes


@dataclass(frozen=True, eq=False)
class Piece:
    """Coded rows of a table, all columns of them."""

    start: int
    hashes: HashArray
    codes: Sequence[CodeArray]
    table: ScoreTable
    varied: tuple[int, ...]

    @cached_property
    def _scored(self) -> tuple[Scores, npt.NDArray[np.bool_] | None]:
        return self.table.scores([self.codes[place] for place in self.varied])

    def _half(self, rest: int) -> tuple[Scores, npt.NDArray[np.bool_] | None]:
        """Return every other row: of an even place in the table, or (1) of an odd one."""
        scores, present = self._scored
        rows = slice((self.start + rest) % 2, None, 2)
        return scores[rows], None if present is None else present[rows]

    def first(self) -> FirstLook:
        """Return the sums."""
        empty = ScoreSums.empty(len(self.varied))
        return FirstLook(
            rows=len(self.hashes),
            sample=RowSample.of(self.hashes, list(self.codes), None),
            sums=ScoreSums.of(*self._scored) if self.varied else empty,
            fit=ScoreSums.of(*self._half(0)) if self.varied else empty,
        )

    def second(self, axes: Axes) -> SecondLook:
        """Return what is measured by the sums of all pieces."""
        errors = np.zeros(0)
        if axes.components is not None:
            rest = self._half(1)
            errors = reconstruction_errors(*rest, axes.centre, axes.scale, axes.components)
        return SecondLook(MomentSums.of(*self._scored, axes.mean, axes.deviation), errors)


def _components(first: FirstLook) -> Scores | None:
    """Return the leading principal components of the rows of ``fit``."""
    if first.rows < 2 * MIN_ERRORS:
        return None
    matrix = np.nan_to_num(first.fit.correlations())
    values, vectors = np.linalg.eigh(matrix)
    order = np.argsort(values)[::-1]
    share = np.cumsum(np.maximum(values[order], 0)) / max(np.maximum(values, 0).sum(), 1e-12)
    kept = min(int(np.searchsorted(share, EXPLAINED)) + 1, len(order) - 1)
    return vectors[:, order[:kept]].astype(np.float32)
