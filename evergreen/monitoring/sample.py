"""An even sample of distinct rows that merges exactly: the k rows of least hash.

Bottom-k sketches (Cohen and Kaplan, 2007; Beyer et al., 2007): whatever the order and the parts,
the same rows are kept, and how often each occurs is counted exactly, since a row that is among the
least at the end was among them ever since it first came.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

SAMPLE_ROWS = 2000


@dataclass(frozen=True, eq=False)
class RowSample:
    """Up to 2,000 distinct rows: ascending hashes, copies of each, and codes (rows x columns)."""

    hashes: npt.NDArray[np.uint64]
    copies: npt.NDArray[np.int64]
    codes: npt.NDArray[np.uint16]

    @classmethod
    def empty(cls, columns: int) -> RowSample:
        """Return the sample of no rows."""
        return cls(np.empty(0, np.uint64), np.empty(0, np.int64), np.empty((0, columns), np.uint16))

    @classmethod
    def of(
        cls, hashes: npt.NDArray[np.uint64], codes: list[npt.NDArray[np.uint16]], below: int | None
    ) -> RowSample:
        """Sample a batch; rows whose hash is above ``below`` have no chance and are left out."""
        chosen = np.arange(len(hashes))
        if below is not None:
            chosen = np.flatnonzero(hashes <= np.uint64(below))
        elif len(hashes) > 4 * SAMPLE_ROWS:  # a rough bound first, so that little is sorted
            bound = np.partition(hashes, SAMPLE_ROWS)[SAMPLE_ROWS]
            rough = np.flatnonzero(hashes <= bound)
            if len(np.unique(hashes[rough])) >= SAMPLE_ROWS:
                chosen = rough
        kept, first, copies = np.unique(hashes[chosen], return_index=True, return_counts=True)
        rows = chosen[first[:SAMPLE_ROWS]]
        taken = [column[rows] for column in codes]
        table = np.stack(taken, axis=1) if taken else np.empty((len(rows), 0), np.uint16)
        return cls(kept[:SAMPLE_ROWS], copies[:SAMPLE_ROWS].astype(np.int64), table)

    @property
    def below(self) -> int | None:
        """The greatest hash kept, where the sample is full."""
        return int(self.hashes[-1]) if len(self.hashes) == SAMPLE_ROWS else None

    @property
    def duplicates(self) -> float:
        """The share of all rows that repeat another one; exact where all rows are kept."""
        return 1 - len(self.copies) / self.copies.sum() if len(self.copies) else 0.0

    def merge(self, other: RowSample) -> RowSample:
        """Return the sample of both parts together."""
        if not len(other.hashes):
            return self
        hashes = np.concatenate([self.hashes, other.hashes])
        kept, first, inverse = np.unique(hashes, return_index=True, return_inverse=True)
        copies = np.bincount(inverse, np.concatenate([self.copies, other.copies]))
        codes = np.concatenate([self.codes, other.codes])[first]
        end = SAMPLE_ROWS
        return RowSample(kept[:end], copies[:end].astype(np.int64), codes[:end])
