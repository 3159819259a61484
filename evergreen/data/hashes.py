"""Rows told apart by a hash of their content, in few bytes per row.

A table of 10^8 rows has 800 MB of hashes. What is computed of them is sorted or taken in parts, so
that it needs one copy more, where hash tables and inverse permutations need five.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from evergreen.data.conform import conform, model_frame
from evergreen.data.contract import Contract

Hashes = NDArray[np.uint64]
Mask = NDArray[np.bool_]

PART_ROWS = 65_536  # gone through at once, so that what is made of them stays in the cache


def parts_of(rows: int) -> Iterator[slice]:
    """Yield slices that cover so many rows, in order."""
    for start in range(0, rows, PART_ROWS):
        yield slice(start, min(start + PART_ROWS, rows))


def row_hashes(frame: pd.DataFrame, contract: Contract) -> Hashes:
    """Return one 64-bit hash per row of its features' values."""
    return _in_parts(frame, lambda part: _feature_hashes(part, contract))


def whole_hashes(conformed: pd.DataFrame) -> Hashes:
    """Return one 64-bit hash per row of all its values."""
    return _in_parts(conformed, _hashes)


def conformed_hashes(frame: pd.DataFrame, contract: Contract) -> Hashes:
    """Return `whole_hashes` of what a contract makes of raw rows."""
    return _in_parts(frame, lambda part: _hashes(conform(part, contract)))


def mixed(hashes: Hashes, seed: int = 0) -> Hashes:
    """Scramble hashes by a seed (pandas mixes integers like SplitMix64)."""
    salt = pd.util.hash_array(np.array([seed], dtype=np.uint64))
    scrambled = np.empty(len(hashes), dtype=np.uint64)
    for part in parts_of(len(hashes)):
        scrambled[part] = pd.util.hash_array(hashes[part] + salt)
    return scrambled


def count_distinct(values: NDArray[np.generic]) -> int:
    """Return how many different values there are; none may be NaN."""
    ordered = np.sort(values)
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


def lowest_share(keys: Hashes, strata: NDArray[np.int64] | None, share: float) -> Mask:
    """Tell which rows have the lowest keys within their stratum, about ``share`` of its rows.

    Rows with equal keys are taken or left together; their stratum is the most frequent one among
    them, of equally frequent ones the first. A stratum with at least two keys gets rows on both
    sides.
    """
    if strata is None:
        return _below(keys, _bound(np.sort(keys), share))
    strata = _agreed(keys, strata)
    held = np.zeros(len(keys), dtype=bool)
    for stratum in np.unique(strata):
        own = strata == stratum
        ordered = keys[own]
        held[own] = _below(ordered, _bound(np.sort(ordered), share))
    return held


def _bound(ordered: Hashes, share: float) -> np.uint64 | None:
    """Return the greatest key to take of ascending ones; None where there are not two keys.

    Keys are taken while half of their rows, with all rows before, are within the share; the first
    one always is, the last one never.
    """
    if not len(ordered) or ordered[0] == ordered[-1]:
        return None
    wanted = max(1, round(share * len(ordered)))
    key = ordered[min(wanted, len(ordered) - 1)]
    start, end = (int(np.searchsorted(ordered, key, side)) for side in ("left", "right"))
    if start + end > 2 * wanted or end == len(ordered):
        key = ordered[max(start - 1, 0)]  # the one before
    return np.uint64(key)


def _below(keys: Hashes, bound: np.uint64 | None) -> Mask:
    return np.zeros(len(keys), dtype=bool) if bound is None else keys <= bound


def _agreed(keys: Hashes, strata: NDArray[np.int64]) -> NDArray[np.int64]:
    """Give rows with equal keys one stratum: the most frequent one, of equal ones the first."""
    ordered = np.sort(keys)
    repeated = np.unique(ordered[:-1][ordered[1:] == ordered[:-1]])
    del ordered
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


def _in_parts(frame: pd.DataFrame, of: Callable[[pd.DataFrame], Hashes]) -> Hashes:
    hashes = np.empty(len(frame), dtype=np.uint64)
    for part in parts_of(len(frame)):
        hashes[part] = of(frame.iloc[part])
    return hashes


def _feature_hashes(frame: pd.DataFrame, contract: Contract) -> Hashes:
    features = model_frame(frame, contract)
    numbers = features.select_dtypes("float64").columns
    features[numbers] = features[numbers] + 0.0  # -0.0 is 0.0
    return _hashes(features)


def _hashes(frame: pd.DataFrame) -> Hashes:
    return np.asarray(pd.util.hash_pandas_object(frame, index=False), dtype=np.uint64)


def _count_repeats(ordered: NDArray[np.generic]) -> int:
    """Return how many of ascending values equal the one before."""
    return sum(
        int((ordered[part] == ordered[part.start - 1 : part.stop - 1]).sum())
        for part in (slice(each.start + 1, each.stop + 1) for each in parts_of(len(ordered) - 1))
    )
