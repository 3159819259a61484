"""Fitting the first half of a model on a table that comes in pieces, over all of its rows.

What comes out is what fitting on the whole table gives: medians and levels to the last bit, means
and variances but for rounding. Rows are put into blocks of a fixed size first, so that the result
does not depend on the pieces at all.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline

from evergreen.data.threads import in_threads
from evergreen.features.medians import FloatArray, MedianSearch, Seen

BLOCK_VALUES: Final = 1_000_000  # of a block
FIRST_ROWS: Final = 1_000
LEVELS: Final = 100_000  # of a category that are counted; of one with more, the sample tells

Frames = Callable[[], Iterator[pd.DataFrame]]

logger = logging.getLogger(__name__)


def fit_from_stream(
    features: Pipeline,
    frames: Frames,
    rows: int,
    *,
    sample: pd.DataFrame,
    target: npt.NDArray[Any],
) -> None:
    """Fit what `build_features` made on all rows of a table.

    Goes through the table once, and once more where numbers are scaled. In memory are a block, the
    levels of categories and some hundredths of the numbers (see `evergreen.features.medians`). A
    category of more than 100,000 levels, and the choice of features, are fitted on the sample.

    Parameters
    ----------
    features
        Unfitted.
    frames
        Gives the pieces of the table anew, each as `model_frame` makes it.
    rows
        Of the table.
    sample, target
        Some rows of the table, drawn evenly, and their targets.
    """
    derive, columns = features.named_steps["derive"], features.named_steps["columns"]
    derived = derive.fit_transform(sample)
    columns.fit(derived.iloc[:FIRST_ROWS])  # makes the branches, which are fitted anew

    def blocks() -> Iterator[pd.DataFrame]:
        return in_blocks(map(derive.transform, frames()), derived.shape[1])

    branches = [_Branch(*each[1:]) for each in columns.transformers_ if each[0] != "remainder"]
    _fit_fillers_and_encoders(branches, blocks, rows, derived)
    _fit_scalers(branches, blocks)
    say_widths(columns)
    if "select" in features.named_steps:
        features.named_steps["select"].fit(columns.transform(derived), target)


def in_blocks(frames: Iterable[pd.DataFrame], columns: int) -> Iterator[pd.DataFrame]:
    """Yield the rows of all frames in frames of a size that depends on their columns alone."""
    rows = int(np.clip(BLOCK_VALUES // max(1, columns), 256, 65_536))
    held: list[pd.DataFrame] = []
    missing = rows
    for frame in frames:
        start = 0
        while len(frame) - start >= missing:
            yield pd.concat([*held, frame.iloc[start : start + missing]])
            start += missing
            held, missing = [], rows
        if start < len(frame):
            held.append(frame.iloc[start:])
            missing -= len(frame) - start
    if held:
        yield pd.concat(held)


@dataclass(frozen=True)
class _Branch:
    """One branch of the column transformer, and the columns that it takes."""

    steps: Pipeline
    columns: list[str]

    @property
    def imputer(self) -> SimpleImputer:
        return self.steps.named_steps["impute"]

    @property
    def encodes(self) -> bool:
        return "encode" in self.steps.named_steps

    def numbers(self, frame: pd.DataFrame) -> FloatArray:
        """Return the branch's numbers before they are filled: rows × columns, or × date parts."""
        parts = self.steps.named_steps.get("parts")
        taken = frame[self.columns]
        return taken.to_numpy(np.float64) if parts is None else parts.transform(taken)


def _fit_fillers_and_encoders(
    branches: list[_Branch], blocks: Frames, rows: int, sample: pd.DataFrame
) -> None:
    numbers = [(each, _Numbers(each, sample, rows)) for each in branches if not each.encodes]
    levels = [(each, _Levels(each.columns)) for each in branches if each.encodes]

    def looked_at(block: pd.DataFrame) -> tuple[pd.DataFrame, list[_Look]]:
        return block, [found.look(branch.numbers(block)) for branch, found in numbers]

    for block, looks in in_threads(looked_at, blocks()):
        for (_, found), look in zip(numbers, looks, strict=True):
            found.take(look)
        for _, counted in levels:
            counted.add(block)
    for branch, found in numbers:
        fills = found.fills(partial(_numbers_of, branch, blocks))
        _fit_imputer(branch, fills, found.known < rows)
    for branch, counted in levels:
        _fit_encoder(branch, counted.of_all(sample, rows), rows)


def _numbers_of(branch: _Branch, blocks: Frames) -> Iterator[FloatArray]:
    return map(branch.numbers, blocks())


class _Look(NamedTuple):
    """What is to be seen of some rows of a branch's numbers."""

    known: npt.NDArray[np.int64]
    sums: FloatArray
    seen: Mapping[int, Seen]


class _Numbers:
    """What fills the gaps of a branch's numbers, and which have any."""

    def __init__(self, branch: _Branch, sample: pd.DataFrame, rows: int) -> None:
        numbers = branch.numbers(sample)
        self._strategy = branch.imputer.strategy
        self._search = MedianSearch(numbers, rows)
        self._sums = np.zeros(numbers.shape[1])
        self.known = np.zeros(numbers.shape[1], dtype=np.int64)

    def look(self, block: FloatArray) -> _Look:
        sums, seen = np.zeros(block.shape[1]), {}
        if self._strategy == "median":
            seen = self._search.look(block)
        elif self._strategy == "mean":
            sums = np.nansum(block, axis=0)
        return _Look(np.count_nonzero(~np.isnan(block), axis=0), sums, seen)

    def take(self, look: _Look) -> None:
        self.known += look.known
        self._sums += look.sums
        self._search.take(look.seen)

    def fills(self, blocks: Callable[[], Iterable[FloatArray]]) -> FloatArray:
        """Return a value for each column; NaN where it has none."""
        if self._strategy == "median":
            return self._search.medians(blocks)
        if self._strategy == "mean":
            return np.divide(
                self._sums, self.known, np.full_like(self._sums, np.nan), where=self.known > 0
            )
        return np.where(self.known > 0, 0.0, np.nan)  # a constant, which the imputer knows


class _Levels:
    """How often each level of the categories occurs; None is a missing value."""

    def __init__(self, columns: list[str]) -> None:
        self._counts: dict[str, Counter[str | None] | None] = {name: Counter() for name in columns}

    def add(self, block: pd.DataFrame) -> None:
        for name, counts in self._counts.items():
            if counts is None:
                continue
            counts.update(_counted(block[name]))
            if len(counts) > LEVELS:
                self._counts[name] = None

    def of_all(self, sample: pd.DataFrame, rows: int) -> list[Mapping[str | None, float]]:
        """Return for each column how many of so many rows have each level."""
        told: list[Mapping[str | None, float]] = []
        for name, counts in self._counts.items():
            if counts is None:
                logger.warning(
                    "Column %r has more than %d levels; those of %d rows drawn evenly are encoded",
                    *(name, LEVELS, len(sample)),
                )
                share = rows / len(sample)
                drawn = _counted(sample[name])
                told.append({level: count * share for level, count in drawn.items()})
            else:
                told.append(counts)
        return told


def _counted(values: pd.Series[Any]) -> Counter[str | None]:
    codes, levels = pd.factorize(values)
    counts = Counter(dict(zip(levels, np.bincount(codes[codes >= 0]).tolist(), strict=True)))
    if missing := int(np.count_nonzero(codes < 0)):
        counts[None] = missing
    return counts


def _fit_imputer(branch: _Branch, fills: npt.NDArray[Any], gaps: npt.NDArray[np.bool_]) -> None:
    """Fit an imputer on two rows that have the statistics of all: the fills, and where gaps are."""
    empty: Any = None if branch.encodes else np.nan
    table: Any = np.stack([fills, np.where(gaps, empty, fills)])
    if "parts" not in branch.steps.named_steps:
        table = pd.DataFrame(table, columns=branch.columns, dtype=table.dtype)
    branch.imputer.fit(table)


def _fit_encoder(branch: _Branch, counts: list[Mapping[str | None, float]], rows: int) -> None:
    """Fit imputer and encoder on each level once, and let them know how often each occurs."""
    fills = np.array([_most_frequent(of) for of in counts], dtype=object)
    _fit_imputer(branch, fills, np.array([None in of for of in counts]))
    filled = [
        _filled(of, fill) for of, fill in zip(counts, branch.imputer.statistics_, strict=True)
    ]
    longest = max(map(len, filled))
    table = np.empty((longest, len(filled)), dtype=object)
    for place, of in enumerate(filled):
        table[:, place] = [*of, *[next(iter(of))] * (longest - len(of))]
    encoder = branch.steps.named_steps["encode"]
    identify = encoder._fit_infrequent_category_mapping

    def identify_in_all(_: int, __: Any, missing: Any) -> None:
        known = zip(encoder.categories_, filled, strict=True)
        identify(rows, [np.array([of[level] for level in levels]) for levels, of in known], missing)

    # The encoders count levels in one place, and take no weights: there they are told the counts.
    encoder._fit_infrequent_category_mapping = identify_in_all
    try:
        encoder.fit(table)
    finally:
        del encoder._fit_infrequent_category_mapping


def _most_frequent(counts: Mapping[str | None, float]) -> str | None:
    """Return the level that occurs most often, of several the first by name."""
    known = {level: count for level, count in counts.items() if level is not None}
    most = max(known.values(), default=0)
    return min((level for level, count in known.items() if count == most), default=None)


def _filled(counts: Mapping[str | None, float], fill: Any) -> dict[Any, float]:
    filled = {level: count for level, count in counts.items() if level is not None}
    if missing := counts.get(None):
        filled[fill] = filled.get(fill, 0) + missing
    return filled


def _fit_scalers(branches: list[_Branch], blocks: Frames) -> None:
    """Let the scalers merge means and variances block by block (Chan et al., 1983)."""
    scaled = [each for each in branches if "scale" in each.steps.named_steps]
    for number, block in enumerate(blocks() if scaled else ()):
        for each in scaled:
            scaler = each.steps.named_steps["scale"]
            made = each.steps[:-1].transform(block[each.columns])
            (scaler.partial_fit if number else scaler.fit)(made)


def say_widths(columns: ColumnTransformer) -> None:
    """Put right which features come from which branch: its encoder may know more levels now."""
    start = 0
    for name, branch, names in columns.transformers_:
        if name != "remainder":
            width = len(branch.get_feature_names_out(names))
            columns.output_indices_[name] = slice(start, start + width)
            start += width
