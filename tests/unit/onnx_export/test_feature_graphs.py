from __future__ import annotations

import warnings
from itertools import product

import numpy as np
import pandas as pd
import pytest

from evergreen.config import EncodeConfig, FeaturesConfig, ImputeConfig, SelectionConfig
from evergreen.data.conform import model_frame
from evergreen.features import build_features
from evergreen.onnx_export import NotExportable, export_onnx
from evergreen.onnx_export.features import add_features
from evergreen.onnx_export.graph import Graph
from tests.support.graphs import features_by_graph
from tests.support.search_tables import column, contract_of, mixed_table

DERIVED = {"ratio": "`alcohol/vol` / `size [m]`", "is old": "is_missing(`alcohol/vol`)"}
PARTS = ("year", "month", "day", "weekday", "hour", "day_of_year", "epoch_days")


def strange_rows(contract):
    """Rows with what no training table held: other levels, extremes, nothing at all."""
    rows = {
        "alcohol/vol": [np.nan, np.inf, -np.inf, 1e300, -1e300, 0.0, 1e-300, -0.0],
        "size [m]": [np.nan, 0.0, 1.0, 1e-300, 1e39, 0.0, 3.0, np.inf],
        "<colour>": [None, "red", "green", "Red", " ", "blå", "infrequent_sklearn", "(missing)"],
        "sold on": np.array(
            ["NaT", "1969-12-31T23:59:59.999999", "0001-01-01", "9999-12-31T23:59"] + ["NaT"] * 4,
            dtype="datetime64[us]",
        ),
    }
    frame = pd.DataFrame({**rows, "<colour>": pd.Series(rows["<colour>"], dtype=object)})
    return frame[[column.name for column in contract.features]]


def assert_alike(frame, contract, features, *, scale, rows=None):
    """Fit, and compare the matrix of features that either side makes of some rows."""
    pipeline = build_features(contract, features, scale=scale, seed=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipeline.fit(model_frame(frame, contract), frame["outcome"].to_numpy())
    rows = model_frame(frame, contract) if rows is None else rows
    expected = np.asarray(pipeline.transform(rows), dtype=np.float64)
    found = features_by_graph(pipeline, contract, rows)
    np.testing.assert_allclose(found, expected, rtol=1e-14, atol=0)
    return pipeline


@pytest.mark.parametrize(
    ("numbers", "categories", "indicator"),
    product(["median", "mean", "zero"], ["most_frequent", "own_level"], [False, True]),
)
def test_every_way_to_fill(numbers, categories, indicator):
    frame, contract = mixed_table()
    impute = ImputeConfig(numbers=numbers, categories=categories, indicator=indicator)
    features = FeaturesConfig(derive=DERIVED, impute=impute)
    for scale in (False, True):
        assert_alike(frame, contract, features, scale=scale)
        assert_alike(frame, contract, features, scale=scale, rows=strange_rows(contract))


@pytest.mark.parametrize("method", ["one_hot", "ordinal"])
@pytest.mark.parametrize("rare", [{}, {"min_frequency": 0.36}, {"max_levels": 2}])
@pytest.mark.parametrize("scale", [False, True])
def test_every_way_to_encode(method, rare, scale):
    frame, contract = mixed_table()
    features = FeaturesConfig(encode=EncodeConfig(method=method, **rare))
    assert_alike(frame, contract, features, scale=scale)
    assert_alike(frame, contract, features, scale=scale, rows=strange_rows(contract))


@pytest.mark.parametrize("parts", [PARTS, ("hour",), ()])
def test_every_part_of_a_date(parts):
    frame, contract = mixed_table()
    for rows in (None, strange_rows(contract)):
        assert_alike(frame, contract, FeaturesConfig(date_parts=parts), scale=False, rows=rows)


@pytest.mark.parametrize("method", ["mutual_information", "rfe"])
@pytest.mark.parametrize("kept", [1, 4, 100])
def test_chosen_features(method, kept):
    frame, contract = mixed_table("regression")
    features = FeaturesConfig(
        derive=DERIVED,
        impute=ImputeConfig(indicator=True),
        selection=SelectionConfig(method=method, max_features=kept),
    )
    assert_alike(frame, contract, features, scale=True, rows=strange_rows(contract))


def test_columns_that_only_serve_derived_ones_are_taken():
    frame, contract = mixed_table()
    features = FeaturesConfig(derive=DERIVED, drop=("alcohol/vol", "size [m]", "<colour>"))
    assert_alike(frame, contract, features, scale=False)


@pytest.mark.parametrize("indicator", [False, True])
def test_columns_without_a_value(indicator):
    frame, contract = mixed_table()
    frame["alcohol/vol"] = np.nan
    frame["<colour>"] = pd.Series([None] * len(frame), dtype=object)
    frame["sold on"] = np.datetime64("NaT", "us")
    for categories in ("own_level", "most_frequent"):
        impute = ImputeConfig(indicator=indicator, categories=categories)
        features = FeaturesConfig(impute=impute)
        assert_alike(frame, contract, features, scale=True, rows=strange_rows(contract))


def test_several_categories_and_dates_keep_their_places():
    rng = np.random.default_rng(1)
    frame = pd.DataFrame(
        {
            "c1": rng.choice(np.array(["a", "b", None], dtype=object), 60),
            "d1": pd.date_range("2020-01-01", periods=60).astype("datetime64[us]"),
            "n1": rng.normal(size=60),
            "c2": rng.choice(np.array(["b", "c", "d"], dtype=object), 60),
            "d2": pd.date_range("1960-01-01", periods=60, freq="99D").astype("datetime64[us]"),
            "yes": rng.choice([0.0, 1.0, np.nan], 60),
            "outcome": rng.normal(size=60),
        }
    )
    contract = contract_of(
        "regression",
        column("c1", "category"),
        column("d1", "timestamp"),
        column("n1"),
        column("c2", "category"),
        column("d2", "timestamp"),
        column("yes", "boolean"),
        column("outcome", "number", "target"),
    )
    features = FeaturesConfig(impute=ImputeConfig(indicator=True), date_parts=PARTS)
    for scale in (False, True):
        assert_alike(frame, contract, features, scale=scale)


def test_another_step_is_not_exportable():
    frame, contract = mixed_table()
    pipeline = assert_alike(frame, contract, FeaturesConfig(), scale=False)
    pipeline.steps.append(("polish", "passthrough"))
    with pytest.raises(NotExportable, match="other steps"):
        add_features(Graph(), pipeline, contract)
    with pytest.raises(NotExportable, match="no pipeline of the steps"):
        export_onnx(pipeline, contract)
