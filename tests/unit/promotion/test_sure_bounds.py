"""Bounds that are above the truth no oftener than they say."""

from __future__ import annotations

import numpy as np
import pytest

from evergreen.promotion import sure_bounds as bounds

ALPHA = 0.05
RUNS = 400
ALLOWED = 34  # of 400 at a chance of 0.05, this many come about once in 900 times


def too_high(draw, truth):
    rng = np.random.default_rng(5)
    return sum(draw(rng) > truth + 1e-12 for _ in range(RUNS))


@pytest.mark.parametrize(("share", "other"), [(0.05, 0.0), (0.3, 0.2), (0.02, 0.01)])
def test_the_difference_of_shares_is_rarely_overstated(share, other):
    def draw(rng):
        hits, others = rng.binomial(60, share), rng.binomial(200, other)
        return bounds.difference_of_shares(hits, 60, others, 200, ALPHA)

    assert too_high(draw, share - other) < ALLOWED


def test_the_difference_of_shares_matches_the_exact_intervals():
    """Clopper and Pearson: 3 of 20 is at least 0.0321, 0 of 50 at most 0.0711 (each 0.975)."""
    assert bounds.difference_of_shares(3, 20, 0, 50, 0.05) == pytest.approx(
        0.0320709 - 0.0711217, abs=1e-6
    )
    assert bounds.difference_of_shares(0, 20, 5, 5, 0.05) == -1.0


def test_the_ratio_of_quantiles_is_rarely_overstated():
    def draw(rng):
        values, others = rng.lognormal(0, 1, 100), rng.lognormal(0, 1, 300)
        return bounds.ratio_of_quantiles(2 * values, others, 0.95, ALPHA)

    assert too_high(draw, 2.0) < ALLOWED


def test_a_ratio_of_too_few_rows_shows_nothing():
    few = np.ones(10)
    assert bounds.ratio_of_quantiles(100 * np.ones(1000), few, 0.95, 0.01) == 0.0
    assert bounds.ratio_of_quantiles(np.empty(0), np.empty(0), 0.95, 0.01) == 0.0
    assert bounds.ratio_of_quantiles(np.ones(1000), np.zeros(1000), 0.95, 0.01) == 0.0


def test_the_distance_of_labels_is_rarely_overstated():
    def draw(rng):
        ours, others = rng.choice(3, 80, p=(0.2, 0.5, 0.3)), rng.choice(3, 300, p=(0.5, 0.3, 0.2))
        return bounds.distance_of_labels(ours, others, 3, ALPHA)

    assert too_high(draw, 0.3) < ALLOWED


def test_the_distance_of_numbers_is_rarely_overstated():
    def draw(rng):
        return bounds.distance_of_numbers(rng.random(80), rng.random(300) + 0.25, ALPHA)

    assert too_high(draw, 0.25) < ALLOWED


def test_great_distances_are_found():
    ours, others = np.zeros(200, dtype=np.int64), np.ones(200, dtype=np.int64)
    assert bounds.distance_of_labels(ours, others, 2, 0.001) > 0.9
    assert bounds.distance_of_numbers(np.zeros(200), np.ones(200), 0.001) > 0.7
    many = np.arange(200) % 60
    assert bounds.distance_of_labels(many, many, 60, 0.001) < 0


def test_distances_by_hand():
    assert bounds.total_variation(np.array([0, 0, 1]), np.array([0, 2, 2]), 3) == pytest.approx(
        2 / 3
    )
    assert bounds.kolmogorov_smirnov(np.array([1.0, 2]), np.array([2.0, 3])) == 0.5
    same = np.array([1.0, 1, 2])
    assert bounds.kolmogorov_smirnov(same, same) == 0
    assert bounds.distance_of_numbers(same, np.empty(0), 0.1) == 0
