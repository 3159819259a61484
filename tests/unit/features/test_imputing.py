"""The imputer of numbers is scikit-learn's, found in another way."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.impute import SimpleImputer

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
