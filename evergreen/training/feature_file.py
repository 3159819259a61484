"""What preprocessing makes of a table that does not fit into memory: in pieces, and on disk."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from sklearn.pipeline import Pipeline

from evergreen.data import dataset as datasets
from evergreen.data.conform import model_frame
from evergreen.data.contract import Contract
from evergreen.data.dataset import Dataset, keeping

FILE_BYTES: Final = 64 << 20  # of features that are read at once

Matrix = npt.NDArray[np.float32]
Onlooker = Callable[[Matrix], None]


def feature_pieces(
    train: Dataset, contract: Contract, transform: Pipeline
) -> Iterator[npt.NDArray[np.float64]]:
    """Yield the features of all rows, in order, as rows × features of some 64 MB at most.

    Raises
    ------
    InputError, UnreachableError
        As reading the file does.
    """
    width = len(transform.get_feature_names_out())
    step = max(1, datasets.PIECE_VALUES // width)
    for piece in train.pieces([column.name for column in contract.features]):
        inputs = model_frame(piece, contract)
        # A category may become many features: a piece of the table could be far too many of them.
        for start in range(0, len(inputs), step):
            yield np.asarray(transform.transform(inputs.iloc[start : start + step]))


@dataclass(frozen=True)
class FeatureFile:
    """Rows × features in single precision, row by row in one file."""

    path: Path
    rows: int
    width: int

    @classmethod
    def write(
        cls,
        train: Dataset,
        contract: Contract,
        transform: Pipeline,
        path: Path,
        onlooker: Onlooker | None = None,
    ) -> FeatureFile:
        """Write the features of all rows to ``path``, and show them to ``onlooker``, in order.

        Raises
        ------
        InputError
            If the table cannot be read.
        UnreachableError
            If the file cannot be written (full disk).
        """
        with keeping(path), path.open("wb") as file:
            for made in feature_pieces(train, contract, transform):
                data: Matrix = made.astype(np.float32)
                data.tofile(file)
                if onlooker is not None:
                    onlooker(data)
        return cls(path, train.rows, made.shape[1])

    def pieces(self, size: int | None = None) -> Iterator[tuple[slice, Matrix]]:
        """Yield the features in pieces of about so many bytes, and which rows they are of."""
        step = max(1, (size or FILE_BYTES) // (4 * self.width))
        for start in range(0, self.rows, step):
            rows = slice(start, min(start + step, self.rows))
            count, offset = (rows.stop - start) * self.width, 4 * start * self.width
            # Read, not mapped: pages of a mapped file would count as this process's memory.
            data: Matrix = np.fromfile(self.path, np.float32, count, offset=offset)
            yield rows, data.reshape(-1, self.width)

    def every(self, values: int) -> tuple[npt.NDArray[np.int64], Matrix]:
        """Return every so manieth row, of about so many values in all, and their places."""
        step = math.ceil(self.rows * self.width / values)
        taken = [
            (
                np.arange(-rows.start % step, len(data), step) + rows.start,
                data[-rows.start % step :: step],
            )
            for rows, data in self.pieces()
        ]
        places, parts = zip(*taken, strict=True)
        return np.concatenate(places), np.concatenate(parts)

    def mapped(self) -> Any:
        """Return all of it as an array that lies on disk."""
        return np.memmap(self.path, dtype=np.float32, mode="r", shape=(self.rows, self.width))
