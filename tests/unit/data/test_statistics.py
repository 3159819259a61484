"""What a column holds, counted once, is what pandas finds in it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from evergreen.data.contract import Column
from evergreen.data.statistics import (
    BINS,
    Levels,
    as_plain_numbers,
    column_statistics,
    histogram_edges,
    table_statistics,
)

ROWS = 2_000
RANDOM = np.random.default_rng(8)


def column(kind="number", role="feature") -> Column:
    return Column(name="x", type=kind, role=role, nullable=True)


def far(values: np.ndarray) -> int:
    low, high = np.quantile(values, [0.25, 0.75])
    return int(((values < low - 3 * (high - low)) | (values > high + 3 * (high - low))).sum())


@pytest.mark.parametrize(
    "values",
    [
        RANDOM.normal(size=ROWS),
        RANDOM.normal(size=ROWS).round(2),
        RANDOM.standard_cauchy(size=ROWS).round(1),
        RANDOM.lognormal(0, 2, ROWS),
        RANDOM.integers(-5, 90, ROWS).astype("float64"),
    ],
)
@pytest.mark.parametrize("holes", [0, 3])
def test_numbers(values, holes):
    values = pd.Series(values.copy())
    values[:holes] = np.nan
    known = values.dropna()

    found = column_statistics(values, column())

    assert (found.rows, found.missing, found.present) == (ROWS, holes, ROWS - holes)
    assert found.distinct == known.nunique()
    assert not found.constant
    spread = found.spread
    assert spread is not None
    assert (spread.low, spread.median, spread.high) == (known.min(), known.median(), known.max())
    assert list(spread.counts) == np.histogram(known, bins=BINS)[0].tolist()
    assert spread.whole == bool((known == known.round()).all())
    assert spread.far == far(known.to_numpy())


def test_one_number_has_a_bin_of_its_own_and_no_fences():
    found = column_statistics(pd.Series([3.0, 3.0]), column())
    assert found.constant
    spread = found.spread
    assert spread is not None
    assert spread.fences is None
    assert spread.far == 0
    assert (sum(spread.counts), spread.counts[BINS // 2]) == (2, 2)
    assert not column_statistics(pd.Series([3.0, np.nan]), column()).constant


@pytest.mark.parametrize("kind", ["number", "timestamp", "category"])
def test_nothing_is_said_of_no_values(kind):
    dtype = {"number": "float64", "timestamp": "datetime64[us]", "category": object}[kind]
    found = column_statistics(pd.Series([None, None], dtype=dtype), column(kind))
    assert (found.missing, found.distinct, found.spread, found.levels) == (2, 0, None, None)
    none = column_statistics(pd.Series([], dtype=dtype), column(kind))
    assert (none.rows, none.distinct, none.constant) == (0, 0, False)


@pytest.mark.parametrize("year", [1700, 1970, 2024, 2600])
def test_moments_are_told_apart_to_the_microsecond(year):
    start = np.datetime64(f"{year}-05-05T12:00:00.000001", "us")
    moments = pd.Series(start + np.arange(50).astype("timedelta64[us]"))
    assert column_statistics(moments, column("timestamp")).distinct == 50


@pytest.mark.parametrize("labels", [["a", "b", None], [1, 2, 3], [True, False, None]])
def test_levels_are_counted_as_pandas_does(labels):
    values = pd.Series(RANDOM.choice(np.array(labels, dtype=object), 301), dtype=object)

    found = column_statistics(values, column("category"))

    expected = values.value_counts()
    assert found.levels is not None
    assert found.levels.to_dict() == expected.to_dict()
    assert found.levels.index.tolist() == expected.index.tolist()
    assert found.missing == values.isna().sum()
    assert found.distinct == values.nunique()


def test_levels_of_a_kind_of_each_row():
    levels = Levels.of(pd.Series(["b", None, "a", "b"], dtype=object))
    assert levels.values.tolist() == ["b", "a"]
    assert levels.codes.tolist() == [0, -1, 1, 0]
    assert levels.codes.dtype == np.int8
    many = Levels.of(pd.Series([str(n) for n in range(200)], dtype=object))
    assert many.codes.max() == 199


def test_columns_of_a_table_keep_their_names():
    frame = pd.DataFrame({"a": [1.0, 2.0], "b": [5.0, 5.0]})
    columns = [column().model_copy(update={"name": name}) for name in ("b", "gone", "a")]
    found = table_statistics(frame, columns)
    assert {name: each.distinct for name, each in found.items()} == {"b": 1, "a": 2}


@pytest.mark.parametrize(
    ("low", "high"), [(0.0, np.nextafter(0, 1)), (-1.7e308, 1.7e308), (1e300, 1e300 * (1 + 3e-16))]
)
def test_ranges_that_floats_cannot_divide_have_one_bin(low, high):
    assert histogram_edges(low, high, 8).tolist() == [low, high]


def test_infinities_are_no_numbers_and_the_others_are_left_alone():
    values = pd.Series([1.0, np.inf, np.nan])
    np.testing.assert_array_equal(as_plain_numbers(values), [1, np.nan, np.nan])
    assert values[1] == np.inf
    assert as_plain_numbers(pd.Series(["1", "x"], dtype=object)).isna().tolist() == [False, True]
