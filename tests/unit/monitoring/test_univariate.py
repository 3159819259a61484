"""Tests on counts agree with those on values, and keep their level."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import stats

from evergreen.monitoring.false_discovery import adjusted, bonferroni
from evergreen.monitoring.grid import MISSING, Grid, quantiles
from evergreen.monitoring.univariate import (
    ks_test,
    level_test,
    new_level_test,
    psi,
    rank_test,
    share_test,
    total_variation,
)

FLOATS = st.floats(allow_nan=False, allow_infinity=False)


def grid_of(values) -> Grid:
    grid = Grid(np.unique(quantiles(np.sort(values))))
    return Grid(grid.points, grid.count(grid.codes(values)))


@given(arrays.arrays(float, st.integers(0, 600), elements=FLOATS), arrays.arrays(float, 50))
def test_any_value_finds_its_bin(points, values):
    points = np.unique(points)
    codes = Grid(points).codes(values)
    left = np.searchsorted(points, values, side="left")
    right = np.searchsorted(points, values, side="right")
    expected = np.where(np.isfinite(values), left + right, MISSING)
    np.testing.assert_array_equal(codes, expected)


@pytest.mark.parametrize("size", [50, 400])
def test_the_ks_distance_of_few_values_is_exact(size):
    rng = np.random.default_rng(size)
    before, now = rng.integers(0, 30, 500).astype(float), rng.integers(3, 33, size).astype(float)
    grid = grid_of(before)
    found = ks_test(grid.counts, grid.count(grid.codes(now)))
    expected = stats.ks_2samp(before, now, method="asymp")
    assert found.statistic == pytest.approx(expected.statistic)
    assert found.p == pytest.approx(expected.pvalue, rel=0.2)


def test_the_ks_distance_of_many_values_is_within_a_512th():
    rng = np.random.default_rng(3)
    before, now = rng.lognormal(size=40_000), rng.lognormal(0.1, size=3000)
    grid = grid_of(before)
    found = ks_test(grid.counts, grid.count(grid.codes(now)))
    exact = stats.ks_2samp(before, now).statistic
    assert exact - 1 / 512 <= found.statistic <= exact + 1e-12


def test_the_rank_test_is_wilcoxons_and_moods():
    rng = np.random.default_rng(4)
    before = rng.normal(size=300)
    grid = grid_of(before)
    for now, statistic in (
        (rng.normal(0.6, size=90), lambda b, w: stats.ranksums(w, b).statistic),
        (rng.normal(0, 1.9, size=90), lambda b, w: stats.mood(w, b).statistic),
    ):
        found = rank_test(grid.counts, grid.count(grid.codes(now)))
        assert found.statistic == pytest.approx(abs(statistic(before, now)), abs=0.15)
        assert found.p == pytest.approx(4 * stats.norm.sf(found.statistic))


def test_levels_are_kept_where_nothing_moved():
    rng = np.random.default_rng(5)
    p_values = {"ks": [], "ranks": [], "levels": []}
    shares = np.array([0.5, 0.3, 0.15, 0.03, 0.015, 0.005])
    for _ in range(400):
        grid = grid_of(rng.normal(size=800))
        now = grid.count(grid.codes(rng.normal(size=60)))
        p_values["ks"].append(ks_test(grid.counts, now).p)
        p_values["ranks"].append(rank_test(grid.counts, now).p)
        before = rng.multinomial(800, shares)
        p_values["levels"].append(level_test(before, rng.multinomial(60, shares)).p)
    for name, found in p_values.items():
        assert np.mean(np.array(found) <= 0.05) < 0.09, name
        assert np.mean(np.array(found) <= 0.5) > 0.3, name


@pytest.mark.parametrize("counts", [(3, 1000, 9, 100), (0, 5000, 4, 50), (400, 1000, 300, 500)])
def test_shares_are_compared_by_fishers_test(counts):
    before, n, now, m = counts
    expected = stats.fisher_exact([[before, n - before], [now, m - now]]).pvalue
    found = share_test(before, n, now, m)
    assert found.statistic == pytest.approx(now / m - before / n)
    assert found.p == pytest.approx(expected, rel=1.0)


def test_equal_samples_are_alike():
    counts = np.array([10, 20, 30])
    assert ks_test(counts, counts).p == 1
    assert rank_test(counts, counts).p == 1
    assert level_test(counts, counts).p == pytest.approx(1)
    assert share_test(0, 10, 0, 10).p == 1
    assert total_variation(counts, counts) == 0
    assert psi(counts, counts) == pytest.approx(0)


def test_constants_and_single_bins_have_no_evidence():
    one = np.array([0, 50, 0])
    assert rank_test(one, one).p == 1
    assert level_test(np.array([9]), np.array([4])).p == 1
    moved = rank_test(np.array([0, 500, 0]), np.array([0, 20, 30]))
    assert moved.p < 1e-6


def test_a_new_level_is_judged_by_how_often_new_ones_were_seen():
    closed = new_level_test(3, 100, 0, 5000)
    open_ended = new_level_test(3, 100, 400, 5000)
    assert closed.p < 1e-4 < open_ended.p
    assert new_level_test(0, 100, 0, 5000).p == 1


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40))
def test_q_values_are_those_of_scipy(p_values):
    expected = stats.false_discovery_control(p_values, method="bh")
    np.testing.assert_allclose(adjusted(p_values), expected)
    assert bonferroni(p_values) <= 1


def test_nothing_tested_has_no_q_value():
    assert len(adjusted([])) == 0


def test_points_and_their_neighbours_find_their_bins():
    rng = np.random.default_rng(9)
    shapes = (rng.normal(size=513), rng.lognormal(0, 3, 513), np.arange(40.0), np.ones(1))
    for points in map(np.unique, shapes):
        ends = [np.nextafter(points, -np.inf), points, np.nextafter(points, np.inf)]
        values = np.concatenate([*ends, (points[1:] + points[:-1]) / 2])
        left, right = (np.searchsorted(points, values, side=side) for side in ("left", "right"))
        np.testing.assert_array_equal(Grid(points).codes(values), left + right)


@given(st.integers(2, 2000), st.floats(0.01, 1))
def test_a_p_value_that_is_tiny_is_never_understated(rows, distance):
    """Far out the exact distribution is not asked: what stands for it may only be greater."""
    far = round(distance * rows)
    found = ks_test(np.array([1_000_000 * rows, 0]), np.array([rows - far, far]))
    if found.p < 1e-12:
        assert found.p >= stats.kstwo.sf(found.statistic, rows) * 0.9
