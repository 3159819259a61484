"""Numbers in order, counted or sorted: every figure is the one that NumPy finds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evergreen.data import hashes
from evergreen.data.ordered import Ordered

SHARES = [0.0, 0.1, 0.25, 0.5, 0.75, 1.0]
decimals = st.tuples(st.integers(-(10**6), 10**6), st.integers(0, 8)).map(
    lambda pair: pair[0] / 10.0 ** pair[1]
)
whole = st.integers(-(2**60), 2**60).map(float)
floats = st.floats(-1e150, 1e150)
near = st.integers(0, 50).map(lambda place: 1e15 + place)


@given(st.sampled_from([decimals, whole, floats, near]).flatmap(lambda n: st.lists(n, min_size=1)))
def test_all_figures_are_those_of_numpy(numbers):
    values = np.array(numbers)
    before = values.copy()

    ordered = Ordered.of(values)

    np.testing.assert_array_equal(values, before)
    assert len(ordered) == len(values)
    assert ordered.at(list(range(len(values)))).tolist() == np.sort(values).tolist()
    assert ordered.distinct == len(np.unique(values))
    assert ordered.median() == np.median(values)
    for share in SHARES:
        assert ordered.quantile(share) == np.quantile(values, share)
    bounds = np.concatenate([values, values + 0.5, [-np.inf, np.inf]])
    assert ordered.below(bounds).tolist() == [(values < bound).sum() for bound in bounds]
    assert ordered.up_to(bounds).tolist() == [(values <= bound).sum() for bound in bounds]


@given(st.lists(decimals, min_size=2, unique=True), st.integers(1, 40))
def test_a_histogram_is_that_of_numpy(numbers, bins):
    values = np.array(numbers * 3)
    counts, edges = np.histogram(values, bins=bins)
    assert Ordered.of(values).histogram(edges).tolist() == counts.tolist()


@pytest.mark.parametrize(
    ("values", "counted"),
    [
        (np.arange(1000.0) - 500, True),
        ((np.arange(1000.0) - 300) / 1000, True),
        (np.array([19.99, 5.49, -0.0, 0.0]), True),
        (np.array([1e300, 1e300]), True),
        (np.array([0.0, 1 / 3]), False),  # no decimal
        (np.array([0.5, np.nextafter(0.5, 1)]), False),  # one bit beside the grid
        (np.array([0.0, 1e9]), False),  # more places than is worth it
        (np.array([-1e308, 1e308]), False),
    ],
)
def test_numbers_on_a_decimal_grid_are_counted_and_others_sorted(values, counted):
    ordered = Ordered.of(values)
    assert (ordered.ends is not None) is counted
    assert ordered.distinct == len(np.unique(values))


def test_parts_make_no_difference(monkeypatch):
    monkeypatch.setattr(hashes, "PART_ROWS", 7)
    for values in (np.tile([0.25, 3.0, -1.5], 30), np.tile(np.sqrt(np.arange(11.0)), 3)):
        ordered = Ordered.of(values)
        assert ordered.distinct == len(np.unique(values))
        assert ordered.median() == np.median(values)


def test_a_late_number_beside_the_grid_is_noticed(monkeypatch):
    monkeypatch.setattr(hashes, "PART_ROWS", 7)
    ordered = Ordered.of(np.array([1.0] * 50 + [1 / 3]))
    assert ordered.ends is None
    assert ordered.distinct == 2


def test_no_numbers_have_no_figures():
    nothing = Ordered.of(np.array([]))
    assert (len(nothing), nothing.distinct) == (0, 0)
    assert nothing.within(1)


def test_bounds_look_at_both_ends():
    assert Ordered.of(np.array([-3.0, 2.0])).within(3.5)
    assert not Ordered.of(np.array([-3.0, 2.0])).within(3.0)
    assert not Ordered.of(np.array([1 / 3, 5.0])).within(4.0)
