"""The reference profile says what a column looks like, whatever is in it."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from evergreen.errors import InputError
from evergreen.monitoring.profile import (
    MAX_LEVELS,
    QUANTILES,
    Profile,
    make_profile,
    profile_levels,
    profile_numbers,
    seconds_since_1970,
)
from evergreen.training.predictions import predict
from tests.support.models import small_contract, small_model, small_table


def _profile(task="classification"):
    contract, frame = small_contract(task), small_table(task)
    return frame, make_profile(frame, contract, predict(small_model(task), frame, contract))


def test_every_feature_is_there_in_order():
    _, profile = _profile()
    assert [column.name for column in profile.columns] == [
        "mast / height",
        "crew",
        "licensed",
        "harbour",
        "built",
    ]
    assert [column.kind for column in profile.columns] == [
        "number",
        "number",
        "number",
        "category",
        "timestamp",
    ]
    assert profile.rows == 120


def test_missing_shares_and_levels():
    frame, profile = _profile()
    height, harbour = profile.column("mast / height"), profile.column("harbour")
    assert height.missing == pytest.approx(frame["mast / height"].isna().mean())
    assert harbour.missing == pytest.approx(frame["harbour"].isna().mean())
    assert harbour.category.levels == frame["harbour"].value_counts().to_dict()


def test_dates_are_seconds_and_the_window_is_known():
    frame, profile = _profile()
    built = profile.column("built").number
    assert built.quantiles[0] == pd.Timestamp("1990-01-01").timestamp()
    assert built.quantiles[-1] == frame["built"].max().timestamp()
    assert profile.window.first == datetime(2026, 1, 1, tzinfo=UTC)
    assert profile.window.last == datetime(2026, 1, 5, 23, tzinfo=UTC)


def test_predictions_of_a_classifier():
    _, profile = _profile()
    predictions = profile.predictions
    assert sum(predictions.labels.values()) == predictions.rows == 120
    assert list(predictions.actual) == ["calm", "gale", "storm"]
    assert set(predictions.probabilities) == {"calm", "gale", "storm"}
    assert predictions.values is None


def test_predictions_of_a_regression():
    frame, profile = _profile("regression")
    assert profile.predictions.actual_values.mean == pytest.approx(frame["wind"].mean())
    assert profile.predictions.values.count == 120
    assert profile.predictions.labels == {}


def test_it_survives_json_and_stays_compact():
    _, profile = _profile()
    text = profile.model_dump_json()
    assert Profile.model_validate_json(text) == profile
    assert len(text) < 40_000


def test_a_wide_table_stays_below_a_megabyte():
    values = np.random.default_rng(1).normal(size=20_000)
    assert len(profile_numbers(values).model_dump_json()) < 14_000


def test_few_values_are_kept_as_they_are():
    values = np.array([3.0, 1.0, np.nan, 2.0, np.inf])
    profile = profile_numbers(values)
    assert profile.quantiles == (1.0, 2.0, 3.0)
    assert profile.count == 3
    assert profile.mean == 2
    assert profile.deviation == pytest.approx(np.std([1, 2, 3]))


def test_quantiles_give_the_distribution_within_a_thousandth():
    rng = np.random.default_rng(5)
    values = rng.lognormal(size=100_000)
    quantiles = np.array(profile_numbers(values).quantiles)
    assert len(quantiles) == QUANTILES
    grid = np.quantile(values, np.linspace(0, 1, 2001))
    ordered = np.sort(values)
    exact = np.searchsorted(ordered, grid, side="right") / len(ordered)
    shares = np.linspace(0, 1, QUANTILES)
    assert np.abs(np.interp(grid, quantiles, shares) - exact).max() < 0.0015


def test_quantiles_are_values_of_the_table():
    values = np.random.default_rng(3).integers(0, 5, 10_000) / 7
    assert set(profile_numbers(values).quantiles) <= set(values)


@pytest.mark.parametrize(
    "values",
    [
        [],
        [np.nan, np.inf, -np.inf],
        [5.0],
        [1e308, -1e308, 1e300],
        [1e16, 1e16 + 2],
        [5e-324, 0.0],
        [-0.0, 0.0],
    ],
)
def test_odd_numbers_have_a_profile(values):
    profile = profile_numbers(np.array(values, dtype=float))
    finite = np.isfinite(np.array(values, dtype=float)).sum()
    assert profile.count == finite
    assert (profile.mean is None) == (finite == 0)
    if profile.histogram is not None:
        assert sum(profile.histogram.counts) == finite
        assert len(profile.histogram.edges) == len(profile.histogram.counts) + 1


@given(arrays.arrays(np.float64, st.integers(0, 700), elements=st.floats()))
def test_any_numbers_have_a_profile(values):
    profile = profile_numbers(values)
    finite = np.sort(values[np.isfinite(values)])
    assert profile.count == len(finite)
    assert list(profile.quantiles) == sorted(profile.quantiles)
    if len(finite):
        assert profile.quantiles[0] == finite[0]
        assert profile.quantiles[-1] == finite[-1]
        assert np.isfinite(profile.mean)
        assert np.isfinite(profile.deviation)


def test_rare_levels_are_counted_together():
    levels = pd.Series([f"v{number:05d}" for number in range(MAX_LEVELS + 50)] + ["v00007"])
    profile = profile_levels(levels.astype(object))
    assert len(profile.levels) == MAX_LEVELS
    assert next(iter(profile.levels)) == "v00007"
    assert (profile.other_levels, profile.other_rows) == (50, 50)
    assert profile.count == MAX_LEVELS + 51


def test_missing_dates_are_missing_seconds():
    moments = pd.Series(pd.to_datetime(["1970-01-02", None]))
    np.testing.assert_array_equal(seconds_since_1970(moments), [86400.0, np.nan])


def test_a_column_that_is_missing_throughout():
    contract, frame = small_contract(), small_table()
    predictions = predict(small_model(), frame, contract)
    frame["mast / height"] = np.nan
    frame["harbour"] = None
    frame["built"] = pd.NaT
    frame["seen"] = pd.NaT
    profile = make_profile(frame, contract, predictions)
    assert profile.column("mast / height").missing == 1
    assert profile.column("harbour").category.levels == {}
    assert profile.column("built").number.quantiles == ()
    assert profile.window is None


def test_an_unknown_column():
    _, profile = _profile()
    with pytest.raises(KeyError, match="masts"):
        profile.column("masts")


def test_an_empty_table_has_no_profile():
    contract, frame = small_contract(), small_table()
    with pytest.raises(InputError, match="no rows"):
        make_profile(frame.head(0), contract, predict(small_model(), frame, contract))


def test_a_table_put_together_of_parts_is_as_good_as_one():
    frame, whole = _profile()
    contract = small_contract("classification")
    text = frame.astype(dict.fromkeys(frame.select_dtypes(["object", "string"]), "str"))
    parts = pd.concat([text[:30], text[30:]], ignore_index=True)
    predictions = predict(small_model("classification"), frame, contract)
    profile = make_profile(parts, contract, predictions)
    assert profile.model_dump_json() == whole.model_dump_json()


@pytest.mark.parametrize("scale", [1e-300, 1e-3, 1.0, 1e290])
@pytest.mark.parametrize("decimals", [0, 1, 15])
def test_a_histogram_counts_as_numpy_does(scale, decimals):
    values = np.random.default_rng(decimals).normal(5, 7, 3000).round(decimals) * scale
    counts, edges = np.histogram(values, bins=20)
    found = profile_numbers(values).histogram
    assert found is not None
    assert (found.counts, found.edges) == (tuple(counts.tolist()), tuple(edges.tolist()))
