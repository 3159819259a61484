"""scikit-learn's data sets, and California housing from its cache."""

from __future__ import annotations

import joblib
import numpy as np
import pandas as pd
import pytest

from evergreen.data.source_config import SklearnSource
from evergreen.data.sources import read_source
from evergreen.data.sources.sklearn_source import CACHE_FILE
from evergreen.errors import InputError, UnreachableError

COUNTS = ["housing_median_age", "total_rooms", "total_bedrooms", "population", "households"]
HOUSING = SklearnSource(name="california_housing")


@pytest.mark.parametrize(
    ("name", "shape", "target"),
    [
        ("wine", (178, 14), "class_0"),
        ("iris", (150, 5), "setosa"),
        ("breast_cancer", (569, 31), "malignant"),
        ("diabetes", (442, 11), 151.0),
    ],
)
def test_bundled_tables_have_plain_names_and_named_classes(name, shape, target):
    frame = read_source(SklearnSource(name=name))
    assert frame.shape == shape
    assert frame["target"][0] == target
    assert all(column.isidentifier() and column.islower() for column in frame.columns)


def test_diabetes_is_unscaled():
    assert read_source(SklearnSource(name="diabetes"))["age"].between(18, 90).all()


@pytest.fixture
def data_home(tmp_path, monkeypatch):
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(tmp_path))
    return tmp_path


def _raw_housing(rows: int = 300) -> pd.DataFrame:
    """A table of the census columns, in the order of scikit-learn's cached array."""
    random = np.random.default_rng(0)
    households = random.integers(1, 6_100, rows)
    return pd.DataFrame(
        {
            "median_house_value": random.integers(15_000, 500_001, rows).astype(float),
            "median_income": random.uniform(0.5, 15, rows).round(4),
            "housing_median_age": random.integers(1, 53, rows),
            "total_rooms": random.integers(2, 39_321, rows),
            "total_bedrooms": random.integers(1, 6_446, rows),
            "population": random.integers(3, 35_683, rows),
            "households": households,
            "latitude": random.uniform(32.5, 42, rows).round(2),
            "longitude": random.uniform(-124.4, -114.3, rows).round(2),
        }
    )


def test_housing_comes_from_the_cache_as_exact_counts(data_home):
    raw = _raw_housing()
    joblib.dump(raw.to_numpy(dtype=float), data_home / CACHE_FILE, compress=6)
    frame = read_source(HOUSING)
    assert list(frame.columns) == [
        *("longitude", "latitude", *COUNTS),
        *("median_income", "median_house_value"),
    ]
    assert (frame[COUNTS].dtypes == "int64").all()
    pd.testing.assert_frame_equal(frame[list(raw.columns)], raw, check_exact=True)


@pytest.mark.filterwarnings("ignore:divide by zero")
def test_housing_that_holds_no_counts_is_refused(data_home):
    raw = _raw_housing().astype(float)
    raw["total_rooms"] += 0.5
    joblib.dump(raw.to_numpy(), data_home / CACHE_FILE, compress=6)
    with pytest.raises(InputError, match="does not hold the original table"):
        read_source(HOUSING)
    raw = _raw_housing().astype(float)
    raw.loc[3, "households"] = 0
    joblib.dump(raw.to_numpy(), data_home / CACHE_FILE, compress=6)
    with pytest.raises(InputError, match="does not hold the original table"):
        read_source(HOUSING)


@pytest.mark.parametrize("content", [b"", b"no pickle", b"x\x9c cut short"])
def test_a_damaged_cache_is_named(data_home, content):
    (data_home / CACHE_FILE).write_bytes(content)
    with pytest.raises(InputError, match=f"{CACHE_FILE} is damaged"):
        read_source(HOUSING)


def test_without_cache_and_network_the_message_says_what_to_do(data_home, monkeypatch):
    for name in ("https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nobody listens there
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(UnreachableError) as caught:
        read_source(HOUSING)
    text = str(caught.value)
    assert str(data_home / CACHE_FILE) in text
    assert "SCIKIT_LEARN_DATA" in text
    assert "fetch_california_housing()" in text
