"""The imputer of numbers is scikit-learn's, found in another way."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.impute import SimpleImputer

from evergreen.features import imputing, medians
from evergreen.features.imputing import NumberImputer


def _table(rows: int) -> pd.DataFrame:
    random = np.random.default_rng(rows)
    values = random.normal(size=(rows, 5)) * 10.0 ** random.integers(-9, 9, size=(rows, 5))
    values[random.random(values.shape) < 0.3] = np.nan
    values[:, 3] = np.nan  # without any value
    values[:, 4] = np.round(random.normal(size=rows))  # without gaps, with ties and -0.0
    return pd.DataFrame(values, columns=list("abcde"))


@pytest.mark.parametrize("rows", [1, 2, 3, 10, 1001, 1002])
@pytest.mark.parametrize("strategy", ["median", "mean", "constant"])
@pytest.mark.parametrize("indicator", [False, True])
def test_it_fits_what_the_original_fits(rows, strategy, indicator):
    wanted = {"strategy": strategy, "add_indicator": indicator, "keep_empty_features": True}
    table = _table(rows)

    ours, original = NumberImputer(**wanted).fit(table), SimpleImputer(**wanted).fit(table)

    assert ours.statistics_.astype(float).tobytes() == original.statistics_.astype(float).tobytes()
    assert ours.transform(table).tobytes() == original.transform(table).tobytes()
    assert list(ours.get_feature_names_out()) == list(original.get_feature_names_out())


def test_it_takes_arrays_as_well():
    values = _table(100).to_numpy()

    ours = NumberImputer(strategy="median", keep_empty_features=True).fit_transform(values)

    original = SimpleImputer(strategy="median", keep_empty_features=True).fit_transform(values)
    assert np.array_equal(ours, original)


@pytest.mark.parametrize("rows", [1, 50, 1001, 1002])
def test_a_large_table_gives_the_same_medians(rows, monkeypatch):
    """One that threads share, each column's median being looked for between a sample's bounds."""
    monkeypatch.setattr(imputing, "LARGE_TABLE", 1)
    monkeypatch.setattr(medians, "DRAWN", 20)
    monkeypatch.setattr(medians, "BLOCK", 64)
    table = _table(rows).assign(f=np.arange(float(rows)), g=np.arange(rows) % 50.0)

    ours, original = (
        kind(strategy="median", add_indicator=True, keep_empty_features=True).fit(table)
        for kind in (NumberImputer, SimpleImputer)
    )

    assert np.array_equal(ours.statistics_, original.statistics_)
    assert list(ours.get_feature_names_out()) == list(original.get_feature_names_out())


@given(
    st.lists(st.floats(allow_infinity=False, width=32), max_size=200),
    st.integers(1, 50),
    st.booleans(),
)
def test_a_median_is_numpys(values, drawn, ordered):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(medians, "DRAWN", drawn)
        patch.setattr(medians, "BLOCK", 16)
        column = np.array(sorted(values) if ordered else values, dtype=np.float64)

        found = medians.median_of(column)

    known = column[~np.isnan(column)]
    assert np.array_equal(found, np.median(known) if len(known) else np.nan, equal_nan=True)
