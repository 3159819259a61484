"""Hashes of rows, and the share of them that becomes the holdout."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from evergreen.data import hashes
from evergreen.data.conform import conform
from tests.support.models import small_contract, small_table


def _plainly(keys, strata, share):
    """Return what `lowest_share` promises, key by key."""
    table = pd.DataFrame({"key": keys, "stratum": strata})
    held = set()
    units = []
    for key, rows in table.groupby("key"):
        counts = rows["stratum"].value_counts()
        units.append((min(counts[counts == counts.max()].index), key, len(rows)))
    for stratum in {unit[0] for unit in units}:
        own = [unit for unit in units if unit[0] == stratum]
        total, before = sum(unit[2] for unit in own), 0
        for place, (_, key, rows) in enumerate(own):
            within = before + rows / 2 <= max(1, round(share * total))
            if len(own) > 1 and (place == 0 or (within and place < len(own) - 1)):
                held.add(key)
            before += rows
    return np.array([key in held for key in keys], dtype=bool)


@pytest.mark.parametrize("share", [0.01, 0.2, 0.5, 0.99])
@pytest.mark.parametrize("classes", [1, 2, 5])
@pytest.mark.parametrize("distinct", [1, 2, 7, 60, 10**6])
@pytest.mark.parametrize("rows", [1, 2, 3, 11, 200])
def test_the_lowest_share_is_taken_of_every_stratum(rows, distinct, classes, share):
    random = np.random.default_rng(rows * distinct + classes)
    keys = random.integers(0, distinct, size=rows).astype(np.uint64)
    strata = random.integers(0, classes, size=rows)

    held = hashes.lowest_share(keys, strata, share)

    assert held.tolist() == _plainly(keys, strata, share).tolist()
    if classes == 1:
        assert hashes.lowest_share(keys, None, share).tolist() == held.tolist()


def test_nothing_is_held_of_no_rows():
    none = np.array([], dtype=np.uint64)

    assert hashes.lowest_share(none, None, 0.2).tolist() == []
    assert hashes.lowest_share(none, np.array([], dtype=np.int64), 0.2).tolist() == []
    assert hashes.count_distinct(none) == 0
    assert hashes.first_repeats(none, 5).tolist() == []
    assert hashes.occurring_in(none, none).tolist() == []


def test_parts_make_no_difference(monkeypatch):
    random = np.random.default_rng(0)
    keys = random.integers(0, 500, size=1_000).astype(np.uint64)
    others = random.integers(0, 500, size=300).astype(np.uint64)
    repeats = pd.Series(keys).duplicated().to_numpy()
    mixed = hashes.mixed(keys, 7)
    monkeypatch.setattr(hashes, "PART_ROWS", 7)

    assert hashes.count_distinct(keys) == len(set(keys.tolist()))
    assert hashes.first_repeats(keys, 5).tolist() == np.flatnonzero(repeats)[:5].tolist()
    assert hashes.first_repeats(keys, 10_000).tolist() == np.flatnonzero(repeats).tolist()
    assert hashes.occurring_in(keys, others.copy()).tolist() == np.isin(keys, others).tolist()
    assert (hashes.mixed(keys, 7) == mixed).all()
    assert hashes.occurring_in(keys, others[:0]).any() is np.False_


def test_row_hashes_are_those_of_pandas(monkeypatch):
    monkeypatch.setattr(hashes, "PART_ROWS", 7)
    contract = small_contract()
    table = conform(small_table(rows=500), contract)
    table.loc[::9, "crew"], table.loc[::10, "crew"] = 0.0, -0.0
    features = table[[column.name for column in contract.features]].copy()

    whole = pd.util.hash_pandas_object(table, index=False).to_numpy()
    assert (hashes.whole_hashes(table) == whole).all()
    assert (hashes.conformed_hashes(table, contract) == whole).all()
    numbers = features.select_dtypes("float64").columns
    features[numbers] += 0.0
    expected = pd.util.hash_pandas_object(features, index=False).to_numpy()
    assert (hashes.row_hashes(table, contract) == expected).all()


@pytest.mark.parametrize("distinct", [1, 30, 2_000, 10**6])
@pytest.mark.parametrize("rows", [0, 1, 2, 1_000])
def test_repeats_are_found_on_any_number_of_cores(monkeypatch, rows, distinct):
    keys = np.random.default_rng(rows).integers(0, distinct, size=rows).astype(np.uint64)
    values, counts = np.unique(keys, return_counts=True)
    monkeypatch.setattr(hashes, "PART_ROWS", 10)
    for cores in (1, 2, 3):
        monkeypatch.setattr(hashes, "cores", lambda cores=cores: cores)

        found = hashes.Repeats.of(keys)

        assert (found.rows, found.distinct) == (rows, len(values))
        assert found.hashes.tolist() == values[counts > 1].tolist()


def test_a_table_of_one_row_many_times_has_one_hash():
    table = pd.DataFrame({"a": [1.5] * 100_000, "b": ["x"] * 100_000})

    found = hashes.whole_hashes(table)

    assert hashes.count_distinct(found) == 1
    assert hashes.first_repeats(found, 3).tolist() == [1, 2, 3]
    assert not hashes.lowest_share(found, None, 0.2).any()
