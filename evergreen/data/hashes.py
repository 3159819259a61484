"""Rows told apart by a hash of their content, in few bytes per row.

A table of 10^8 rows has 800 MB of hashes. What is computed of them is sorted or taken in parts, so
that it needs one copy more, where hash tables and inverse permutations need five.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from evergreen.data.conform import conform, model_frame
from evergreen.data.contract import Contract
from evergreen.data.threads import cores, in_threads

Hashes = NDArray[np.uint64]
Mask = NDArray[np.bool_]

PART_ROWS = 65_536  # gone through at once, so that what is made of them stays in the cache


def parts_of(rows: int) -> Iterator[slice]:
    """Yield slices that cover so many rows, in order."""
    for start in range(0, rows, PART_ROWS):
        yield slice(start, min(start + PART_ROWS, rows))


def row_hashes(frame: pd.DataFrame, contract: Contract) -> Hashes:
    """Return one 64-bit hash per row of its features' values; -0.0 counts as 0.0."""
    return _in_parts(model_frame(frame, contract), partial(_hashes, zeros_alike=True))


def whole_hashes(conformed: pd.DataFrame) -> Hashes:
    """Return one 64-bit hash per row of all its values."""
    return _in_parts(conformed, _hashes)


def conformed_hashes(frame: pd.DataFrame, contract: Contract) -> Hashes:
    """Return `whole_hashes` of what a contract makes of raw rows."""
    return whole_hashes(conform(frame, contract))


def mixed(hashes: Hashes, seed: int = 0) -> Hashes:
    """Scramble hashes by a seed (pandas mixes integers like SplitMix64)."""
    salt = pd.util.hash_array(np.array([seed], dtype=np.uint64))
    scrambled = np.empty(len(hashes), dtype=np.uint64)
    for part in parts_of(len(hashes)):
        scrambled[part] = pd.util.hash_array(hashes[part] + salt)
    return scrambled


@dataclass(frozen=True, eq=False)
class Repeats:
    """How many hashes differ among those of so many rows, and which occur more than once.

    ``hashes`` are these, each once, ascending.
    """

    rows: int
    distinct: int
    hashes: Hashes

    @classmethod
    def of(cls, hashes: Hashes) -> Repeats:
        """Find them by one sort."""
        ordered = _ordered(hashes)
        again = np.flatnonzero(ordered[1:] == ordered[:-1])
        return cls(len(hashes), len(hashes) - len(again), np.unique(ordered[again]))


def count_distinct(values: NDArray[np.generic]) -> int:
    """Return how many different values there are; none may be NaN."""
    ordered = _ordered(values)
    return len(ordered) - _count_repeats(ordered)


def first_repeats(hashes: Hashes, most: int) -> NDArray[np.int64]:
    """Return the positions of the first rows that repeat an earlier one, so many at most."""
    looked_at = PART_ROWS
    while True:
        repeats = pd.Series(hashes[:looked_at]).duplicated().to_numpy()
        found = np.flatnonzero(repeats)[:most]
        if len(found) == most or looked_at >= len(hashes):
            return found
        looked_at *= 4


def occurring_in(hashes: Hashes, others: Hashes) -> Mask:
    """Tell which hashes are among others; ``others`` is sorted in place."""
    others.sort()
    found = np.zeros(len(hashes), dtype=bool)
    if len(others):
        for part in parts_of(len(hashes)):
            places = np.searchsorted(others, hashes[part])
            found[part] = others[np.minimum(places, len(others) - 1)] == hashes[part]
    return found


def lowest_share(
    keys: Hashes, strata: NDArray[np.int64] | None, share: float, repeated: Hashes | None = None
) -> Mask:
    """Tell which rows have the lowest keys within their stratum, about ``share`` of its rows.

    Rows with equal keys are taken or left together; their stratum is the most frequent one among
    them, of equally frequent ones the first. A stratum with at least two keys gets rows on both
    sides. Strata are small whole numbers; ``repeated`` are the keys that occur more than once,
    where they are known.
    """
    if strata is None:
        return _below(keys, _bound(keys, share))
    strata = _agreed(keys, strata, Repeats.of(keys).hashes if repeated is None else repeated)
    held = np.zeros(len(keys), dtype=bool)
    for stratum in np.flatnonzero(np.bincount(strata)):
        own = strata == stratum
        its = keys[own]
        held[own] = _below(its, _bound(its, share))
    return held


def _bound(keys: Hashes, share: float) -> np.uint64 | None:
    """Return the greatest key to take; None where there are not two different ones.

    Keys are taken while half of their rows, with all rows before, are within the share; the first
    one always is, the last one never.
    """
    if not len(keys) or keys.min() == keys.max():
        return None
    wanted = max(1, round(share * len(keys)))
    place = min(wanted, len(keys) - 1)
    key = np.partition(keys, place)[place]
    before = keys < key
    start, end = int(before.sum()), int((keys <= key).sum())
    if start and (start + end > 2 * wanted or end == len(keys)):
        key = keys[before].max()
    return np.uint64(key)


def _below(keys: Hashes, bound: np.uint64 | None) -> Mask:
    return np.zeros(len(keys), dtype=bool) if bound is None else keys <= bound


def _agreed(keys: Hashes, strata: NDArray[np.int64], repeated: Hashes) -> NDArray[np.int64]:
    """Give rows with equal keys one stratum: the most frequent one, of equal ones the first."""
    if not len(repeated):
        return strata
    several = occurring_in(keys, repeated)
    units = np.searchsorted(repeated, keys[several])
    rows = pd.DataFrame({"unit": units, "stratum": strata[several]})
    frequent = (
        rows.value_counts(sort=False)
        .reset_index()
        .sort_values(["unit", "count", "stratum"], ascending=[True, False, True])
        .drop_duplicates("unit")
    )
    agreed = strata.copy()
    agreed[several] = frequent["stratum"].to_numpy()[units]
    return agreed


def _ordered(values: NDArray[np.generic]) -> NDArray[np.generic]:
    """Return the values sorted: split by rank first, so that every core sorts a share of them."""
    cuts = [len(values) * core // cores() for core in range(1, cores())]
    if len(values) <= PART_ROWS or not cuts:
        return np.sort(values)
    ordered = np.partition(values, cuts)
    for _ in in_threads(np.ndarray.sort, np.split(ordered, cuts)):
        pass
    return ordered


def _in_parts(frame: pd.DataFrame, of: Callable[[pd.DataFrame], Hashes]) -> Hashes:
    hashes = np.empty(len(frame), dtype=np.uint64)
    for part in parts_of(len(frame)):
        hashes[part] = of(frame.iloc[part])
    return hashes


def _hashes(frame: pd.DataFrame, *, zeros_alike: bool = False) -> Hashes:
    """Return what `pandas.util.hash_pandas_object` does.

    Of numbers, it is computed in two buffers that stay in the cache, where pandas takes new memory
    at each of its ten operations per column.
    """
    hashes = np.full(len(frame), 0x345678, dtype=np.uint64)
    bits, spare = np.empty((2, len(frame)), dtype=np.uint64)
    factor, columns = 1_000_003, len(frame.columns)
    for place, (_, values) in enumerate(frame.items()):
        if values.dtype == np.float64:
            np.add(values.to_numpy(), 0.0 if zeros_alike else -0.0, out=bits.view(np.float64))
            _mix(bits, spare)
            hashes ^= bits
        else:
            hashes ^= pd.util.hash_pandas_object(values, index=False).to_numpy()
        hashes *= np.uint64(factor)
        factor += 82_520 + 2 * (columns - place)
    hashes += np.uint64(97_531)
    return hashes


def _mix(bits: Hashes, spare: Hashes) -> None:
    """Scramble bits in place, like SplitMix64."""
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        np.right_shift(bits, shift, out=spare)
        bits ^= spare
        bits *= np.uint64(factor)
    np.right_shift(bits, 31, out=spare)
    bits ^= spare


def _count_repeats(ordered: NDArray[np.generic]) -> int:
    """Return how many of ascending values equal the one before."""
    return sum(
        int((ordered[part] == ordered[part.start - 1 : part.stop - 1]).sum())
        for part in (slice(each.start + 1, each.stop + 1) for each in parts_of(len(ordered) - 1))
    )
