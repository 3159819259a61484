"""Casting: every kind of raw column becomes its canonical dtype, and never raises."""

from __future__ import annotations

import datetime
import decimal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evergreen.data.casting import (
    as_boolean,
    as_number,
    as_text,
    as_timestamp,
    by_level,
    cast,
    is_missing,
)
from evergreen.data.casting import uncastable as not_castable

ODD = pd.Series(
    [1, 2.5, "3", " 4 ", True, None, "", "x", [1], decimal.Decimal("1.5")], dtype=object
)


def test_numbers_are_read_from_anything_that_is_one():
    found = as_number(ODD).tolist()
    expected = [1, 2.5, 3, 4, 1, np.nan, np.nan, np.nan, np.nan, 1.5]
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("dtype", ["Int64", "Float32", "boolean", "category", "int8"])
def test_numbers_are_read_from_extension_dtypes(dtype):
    values = pd.Series([1, 0], dtype=dtype)
    assert as_number(values).tolist() == [1.0, 0.0]
    assert as_number(values).dtype == np.float64


def test_nullable_numbers_keep_their_gaps():
    np.testing.assert_array_equal(as_number(pd.Series([1, None], dtype="Int64")), [1.0, np.nan])


def test_durations_become_seconds_and_dates_are_no_numbers():
    assert as_number(pd.Series(pd.to_timedelta(["1 min"]))).tolist() == [60.0]
    assert as_number(pd.Series(pd.to_datetime(["2024-01-01"]))).isna().all()


def test_truth_values_are_read_from_words_and_digits():
    values = pd.Series(["True", "no", " YES ", "0", "1", None, "maybe"])
    np.testing.assert_array_equal(as_boolean(values), [1, 0, 1, 0, 1, np.nan, np.nan])
    np.testing.assert_array_equal(as_boolean(pd.Series([True, False])), [1, 0])
    np.testing.assert_array_equal(as_boolean(pd.Series([0, 1, 2.0])), [0, 1, np.nan])


def test_levels_are_text_without_a_decimal_point():
    assert as_text(pd.Series([3.0, np.nan, 2.5])).tolist() == ["3", None, "2.5"]
    assert as_text(pd.Series([3, 3.0, "3", " ", None], dtype=object)).tolist() == [
        "3",
        "3",
        "3",
        None,
        None,
    ]
    assert as_text(pd.Series(["a", None], dtype="category")).tolist() == ["a", None]
    assert as_text(pd.Series([True, False])).tolist() == ["True", "False"]


def test_moments_are_utc_without_a_zone():
    values = pd.Series(["2024-01-31T10:00:00+02:00", "2024-01-31", "soon", None])
    found = as_timestamp(values)
    assert found.dtype == "datetime64[us]"
    assert found[0] == pd.Timestamp("2024-01-31 08:00")
    assert found[1] == pd.Timestamp("2024-01-31")
    assert found[2:].isna().all()


def test_moments_are_read_from_date_objects_zones_epochs_and_formats():
    day = pd.Series([datetime.date(2024, 1, 31), None], dtype=object)
    assert as_timestamp(day)[0] == pd.Timestamp("2024-01-31")
    zoned = pd.Series(pd.to_datetime(["2024-01-31 01:00"]).tz_localize("Europe/Berlin"))
    assert as_timestamp(zoned)[0] == pd.Timestamp("2024-01-31 00:00")
    epochs = pd.Series([1706659200, 1706659200e3, 1706659200e6, 1706659200e9, np.inf])
    assert as_timestamp(epochs)[:4].tolist() == [pd.Timestamp("2024-01-31")] * 4
    assert pd.isna(as_timestamp(epochs)[4])
    assert as_timestamp(pd.Series(["31/01/2024"]), "%d/%m/%Y")[0] == pd.Timestamp("2024-01-31")
    assert as_timestamp(pd.Series([20240131]), "%Y%m%d")[0] == pd.Timestamp("2024-01-31")


def test_missing_is_null_or_blank_text():
    assert is_missing(ODD).tolist() == [False] * 5 + [True, True] + [False] * 3
    assert is_missing(pd.Series(["a", "  ", None])).tolist() == [False, True, True]
    assert is_missing(pd.Series(["a", " ", None], dtype=object)).tolist() == [False, True, True]
    assert is_missing(pd.Series([1.0, np.nan, np.inf])).tolist() == [False, True, False]


@pytest.mark.parametrize("dtype", ["str", object, "category"])
def test_texts_are_tested_once_each(dtype):
    values = pd.Series(["a", "b", None, "a", " "], dtype=dtype, index=[3, 1, 4, 1, 5])
    asked = []

    def test(levels):
        asked.extend(levels)
        return levels.isna() | (levels == "a")

    told = by_level(values, test)
    assert told.tolist() == [True, False, True, True, False]
    assert told.index.tolist() == [3, 1, 4, 1, 5]
    assert len(asked) == (3 if dtype == "str" else 5)


def test_uncastable_values_are_told_from_missing_ones():
    assert not_castable(pd.Series(["1", "x", None]), "number", None).tolist() == [
        False,
        True,
        False,
    ]
    fractions = pd.Series([1.0, 1.5, np.nan, np.inf])
    assert not_castable(fractions, "integer", None).tolist() == [False, True, False, False]
    assert not_castable(fractions, "number", None).tolist() == [False] * 4


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.datetimes(),
    st.dates(),
    st.lists(st.integers(), max_size=2),
    st.decimals(allow_nan=False),
)


@pytest.mark.parametrize(
    ("column_type", "dtype"),
    [
        ("number", "float64"),
        ("integer", "float64"),
        ("boolean", "float64"),
        ("category", object),
        ("identifier", object),
        ("timestamp", "datetime64[us]"),
    ],
)
@given(values=st.lists(scalars, max_size=6))
def test_any_column_casts_to_any_type(column_type, dtype, values):
    raw = pd.Series([*values, None], dtype=object).iloc[:-1]
    found = cast(raw, column_type)
    assert found.dtype == dtype
    assert found.index.equals(raw.index)
    again = cast(found, column_type)
    pd.testing.assert_series_equal(again, found)
