"""Tables take one common form, whatever they came from."""

from __future__ import annotations

import datetime as dt
import uuid
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from evergreen.data.sources.tidy import tidy
from evergreen.errors import InputError

UTC = dt.UTC
EAST = dt.timezone(dt.timedelta(hours=2))


@pytest.mark.parametrize(
    ("values", "dtype", "expected"),
    [
        ([1, 2], "int64", [1, 2]),
        ([1, None], "float64", [1.0, np.nan]),
        ([2**70, 1], "float64", [float(2**70), 1.0]),
        ([Decimal("1.5"), None], "float64", [1.5, np.nan]),
        ([1, 2.5], "float64", [1.0, 2.5]),
        ([None, None], "float64", [np.nan, np.nan]),
        ([True, False], "bool", [True, False]),
        ([True, None], "object", [True, None]),
        (["a", None], "str", ["a", np.nan]),
        ([1, "a"], "str", ["1", "a"]),
        ([True, "a"], "str", ["True", "a"]),
        ([{"k": 1}, None], "str", ['{"k": 1}', np.nan]),
        ([["ü"], None], "str", ['["ü"]', np.nan]),
        ([b"\x00\xff", None], "str", ["00ff", np.nan]),
        ([dt.time(9, 30), None], "str", ["09:30:00", np.nan]),
        ([uuid.UUID(int=1), None], "str", [str(uuid.UUID(int=1)), np.nan]),
        ([dt.timedelta(minutes=1), None], "float64", [60.0, np.nan]),
    ],
)
def test_object_columns_become_plain(values, dtype, expected):
    column = tidy(pd.DataFrame({"a": pd.Series(values, dtype=object)}), "x")["a"]
    assert str(column.dtype) == dtype
    pd.testing.assert_series_equal(column, pd.Series(expected, name="a", dtype=dtype))


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ([dt.date(2024, 2, 29), None], "datetime64"),
        ([dt.datetime(2024, 2, 29, 12), None], "datetime64"),
        ([dt.datetime(2024, 1, 1, tzinfo=UTC), dt.datetime(2024, 1, 1, tzinfo=EAST)], "UTC"),
        ([dt.datetime(2024, 1, 1, tzinfo=UTC), dt.datetime(2024, 1, 1)], "UTC"),
    ],
)
def test_dates_become_datetimes(values, dtype):
    column = tidy(pd.DataFrame({"a": pd.Series(values, dtype=object)}), "x")["a"]
    assert dtype in str(column.dtype)
    assert column[0].year == 2024


def test_categories_take_the_type_of_their_levels():
    frame = pd.DataFrame({"t": pd.Categorical(["a", None]), "n": pd.Categorical([1, 2])})
    assert tidy(frame, "x").dtypes.astype(str).to_dict() == {"t": "str", "n": "int64"}


def test_names_are_stripped_text_and_the_index_is_plain():
    frame = pd.DataFrame([[1, 2, 3]], columns=[" a ", "", 7], index=["row"])
    result = tidy(frame, "x")
    assert list(result.columns) == ["a", "Unnamed: 1", "7"]
    assert result.index.equals(pd.RangeIndex(1))


def test_duplicates_and_empty_tables_are_refused():
    with pytest.raises(InputError, match=r"x: .*unique.*'a' \(columns 1, 3\)"):
        tidy(pd.DataFrame([[1, 2, 3]], columns=["a", "b", "a "]), "x")
    with pytest.raises(InputError, match="x: there are no rows, only columns: a, b"):
        tidy(pd.DataFrame(columns=["a", "b"]), "x")
    with pytest.raises(InputError, match="x: there are no rows"):
        tidy(pd.DataFrame(), "x")
