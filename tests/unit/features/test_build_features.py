from __future__ import annotations

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
import skops.io
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone

from evergreen.config import EncodeConfig, FeaturesConfig, ImputeConfig, SelectionConfig
from evergreen.data.conform import model_frame
from evergreen.errors import InputError
from evergreen.features import build_features, check_features, feature_origins
from tests.support.search_tables import column, contract_of, mixed_table

DERIVED = {"ratio": "`alcohol/vol` / (1 + abs(`size [m]`))", "twice": "ratio * 2"}


# NumPy drops NUL at the end of a text.
WRITABLE = st.characters(exclude_characters="\0", codec="utf-8")


def fitted(frame, contract, features, *, scale=False):
    pipeline = build_features(contract, features, scale=scale, seed=1)
    y = frame["outcome"].to_numpy()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pipeline.fit(model_frame(frame, contract), y)
    return pipeline


def of_numbers(**columns):
    frame = pd.DataFrame(columns, dtype="float64")
    frame["outcome"] = np.arange(len(frame), dtype=float)
    target = column("outcome", "number", "target")
    return frame, contract_of("regression", *[column(name) for name in columns], target)


@pytest.mark.parametrize("scale", [False, True])
@pytest.mark.parametrize("encode", ["one_hot", "ordinal"])
@pytest.mark.parametrize("impute", ["own_level", "most_frequent"])
@pytest.mark.parametrize("selection", [None, "mutual_information", "rfe"])
def test_every_combination_gives_named_finite_numbers(scale, encode, impute, selection):
    frame, contract = mixed_table()
    features = FeaturesConfig(
        derive=DERIVED,
        drop=("size [m]",),
        impute=ImputeConfig(categories=impute, indicator=True),
        encode=EncodeConfig(method=encode),
        selection=selection and SelectionConfig(method=selection, max_features=3),
    )
    pipeline = fitted(frame, contract, features, scale=scale)
    result = pipeline.transform(model_frame(frame, contract))
    assert isinstance(result, np.ndarray)
    assert result.dtype == np.float64
    assert np.isfinite(result).all()
    names = list(pipeline.get_feature_names_out())
    assert len(names) == result.shape[1] == (3 if selection else result.shape[1])
    origins = feature_origins(pipeline)
    assert list(origins) == names
    inputs = {"alcohol/vol", "size [m]", "<colour>", "sold on"}
    assert {name for columns in origins.values() for name in columns} <= inputs


def test_origins_follow_derived_columns_levels_dates_and_indicators():
    frame, contract = mixed_table()
    features = FeaturesConfig(
        derive=DERIVED, drop=("size [m]",), impute=ImputeConfig(indicator=True)
    )
    origins = feature_origins(fitted(frame, contract, features))
    assert origins["ratio"] == origins["twice"] == ("alcohol/vol", "size [m]")
    assert origins["<colour>=red"] == origins["<colour>=(missing)"] == ("<colour>",)
    assert origins["sold on.month"] == origins["missingindicator_sold on.month"] == ("sold on",)
    assert origins["missingindicator_alcohol/vol"] == ("alcohol/vol",)
    assert "size [m]" not in origins


def test_selection_keeps_the_feature_that_matters():
    rng = np.random.default_rng(0)
    frame, contract = of_numbers(**{name: rng.normal(size=200) for name in "abcdef"})
    frame["outcome"] = frame["d"] * 3
    for method in ("mutual_information", "rfe"):
        chosen = SelectionConfig(method=method, max_features=1)
        pipeline = fitted(frame, contract, FeaturesConfig(selection=chosen))
        assert list(pipeline.get_feature_names_out()) == ["d"]


def test_numbers_reach_trees_exactly():
    frame, contract = mixed_table()
    pipeline = fitted(frame, contract, FeaturesConfig())
    place = list(pipeline.get_feature_names_out()).index("size [m]")
    result = pipeline.transform(model_frame(frame, contract))[:, place]
    assert (result == frame["size [m]"].to_numpy()).all()


def test_scaling_gives_zero_mean_and_unit_variance_to_numbers_only():
    frame, contract = mixed_table()
    pipeline = fitted(frame, contract, FeaturesConfig(), scale=True)
    result = pd.DataFrame(
        pipeline.transform(model_frame(frame, contract)), columns=pipeline.get_feature_names_out()
    )
    assert result["alcohol/vol"].mean() == pytest.approx(0)
    assert result["alcohol/vol"].std(ddof=0) == pytest.approx(1)
    assert set(result["<colour>=red"]) == {0.0, 1.0}


def test_a_column_may_be_missing_throughout():
    frame, contract = mixed_table()
    frame["alcohol/vol"] = np.nan
    frame["<colour>"] = pd.Series([None] * len(frame), dtype=object)
    frame["sold on"] = pd.Series(pd.NaT, index=frame.index, dtype="datetime64[us]")
    full, _ = mixed_table(seed=1)
    for categories in ("own_level", "most_frequent"):
        for method in ("one_hot", "ordinal"):
            features = FeaturesConfig(
                impute=ImputeConfig(categories=categories), encode=EncodeConfig(method=method)
            )
            pipeline = fitted(frame, contract, features, scale=True)
            assert np.isfinite(pipeline.transform(model_frame(full, contract))).all()


def test_unseen_and_rare_levels_share_a_column():
    frame, contract = mixed_table(rows=200)
    frame.loc[0, "<colour>"] = "taupe"
    pipeline = fitted(frame, contract, FeaturesConfig())
    names = list(pipeline.get_feature_names_out())
    assert "<colour>=taupe" not in names
    place = names.index("<colour>=(rare)")
    new = frame.assign(**{"<colour>": "never seen"})
    assert (pipeline.transform(model_frame(new, contract))[:, place] == 1).all()


def test_frames_in_other_dtypes_and_orders_give_the_same():
    frame, contract = mixed_table()
    pipeline = fitted(frame, contract, FeaturesConfig(derive=DERIVED))
    inputs = model_frame(frame, contract)
    other = inputs.astype({"<colour>": "str", "alcohol/vol": "Float64"})[inputs.columns[::-1]]
    assert (pipeline.transform(other) == pipeline.transform(inputs)).all()


def test_an_absent_column_is_named():
    frame, contract = mixed_table()
    pipeline = fitted(frame, contract, FeaturesConfig())
    with pytest.raises(InputError, match="needs the column 'alcohol/vol'"):
        pipeline.transform(model_frame(frame, contract).drop(columns="alcohol/vol"))


def test_survives_pickle_clone_and_skops():
    frame, contract = mixed_table()
    chosen = SelectionConfig(method="rfe", max_features=4)
    pipeline = fitted(frame, contract, FeaturesConfig(derive=DERIVED, selection=chosen))
    inputs = model_frame(frame, contract)
    expected = pipeline.transform(inputs)
    dumped = skops.io.dumps(pipeline)
    types = skops.io.get_untrusted_types(data=dumped)
    again = clone(pipeline).fit(inputs, frame["outcome"].to_numpy())
    for copy in (
        pickle.loads(pickle.dumps(pipeline)),
        skops.io.loads(dumped, trusted=types),
        again,
    ):
        assert (copy.transform(inputs) == expected).all()
    assert all(name.startswith(("evergreen.features.", "numpy.")) for name in types)


def test_date_parts():
    frame, contract = mixed_table(rows=30)
    parts = ("year", "month", "day", "weekday", "hour", "day_of_year", "epoch_days")
    features = FeaturesConfig(date_parts=parts, drop=("alcohol/vol", "size [m]", "<colour>"))
    pipeline = fitted(frame, contract, features)
    when = pd.to_datetime(["2024-02-29 18:00"]).astype("datetime64[us]")
    inputs = model_frame(frame.head(1).assign(**{"sold on": when}), contract)
    assert list(pipeline.get_feature_names_out()) == [f"sold on.{part}" for part in parts]
    assert pipeline.transform(inputs).tolist() == [[2024, 2, 29, 3, 18, 60, 19782.75]]


def test_no_date_parts_leaves_dates_out():
    _, contract = mixed_table()
    assert check_features(contract, FeaturesConfig(date_parts=())).dates == ()


@settings(max_examples=25, deadline=None)
@given(st.lists(st.text(WRITABLE, min_size=1, max_size=8), min_size=1, max_size=4, unique=True))
def test_any_column_names_work(names):
    names = [name for name in names if name != "outcome"] or ["x"]
    frame, contract = of_numbers(**{name: np.arange(10.0) for name in names})
    pipeline = fitted(frame, contract, FeaturesConfig(), scale=True)
    assert list(feature_origins(pipeline).values()) == [(name,) for name in names]


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ({"derive": {"alcohol/vol": "`size [m]` * 2"}}, "has a column 'alcohol/vol' already"),
        ({"derive": {"outcome": "`size [m]` * 2"}}, "has a column 'outcome' already"),
        ({"derive": {"new": "outcome * 2"}}, "'outcome' cannot be used: it is the target"),
        ({"derive": {"new": "`<colour>` * 2"}}, "it is a category, and expressions take numbers"),
        ({"derive": {"new": "`sold on` * 2"}}, "it is a timestamp"),
        ({"derive": {"new": "`size [mm]` * 2"}}, r"did you mean `size \[m\]`"),
        ({"derive": {"new": "newer * 2", "newer": "new * 2"}}, "in a circle"),
        ({"drop": ("alcohol/vo",)}, "did you mean 'alcohol/vol'"),
        (
            {"drop": ("alcohol/vol", "size [m]", "<colour>", "sold on")},
            "No feature is left to learn from",
        ),
    ],
)
def test_mistakes_are_told(features, message):
    _, contract = mixed_table()
    with pytest.raises(InputError, match=message):
        build_features(contract, FeaturesConfig(**features), scale=False, seed=0)


def test_ignored_columns_and_keys_are_no_features():
    contract = contract_of(
        "regression",
        column("x"),
        column("note", "category", "ignored"),
        column("when", "timestamp", "timestamp"),
        column("outcome", "number", "target"),
    )
    kinds = check_features(contract, FeaturesConfig())
    assert (kinds.numbers, kinds.categories, kinds.dates) == (("x",), (), ())
    with pytest.raises(InputError, match="its role is ignored"):
        check_features(contract, FeaturesConfig(derive={"new": "note + 1"}))
