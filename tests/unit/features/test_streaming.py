"""Preprocessing fitted on a table in pieces is the one fitted on the table in memory."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import skops.io
from hypothesis import given, settings
from hypothesis import strategies as st

from evergreen.config import EncodeConfig, FeaturesConfig, ImputeConfig, SelectionConfig
from evergreen.data.conform import model_frame
from evergreen.features import build_features, medians, streaming
from evergreen.features.streaming import fit_from_stream
from tests.support.search_tables import mixed_table

ROWS = 3_000
ROUNDING = 1e-12  # relative: what sums in another order differ by


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Let the table be many blocks."""
    monkeypatch.setattr(streaming, "BLOCK_VALUES", 1_000)


def shop(rows: int = ROWS):
    """Return odd names, gaps, rare levels and heavily repeated numbers, and their contract."""
    frame, contract = mixed_table(rows=rows)
    random = np.random.default_rng(5)
    frame.loc[random.random(rows) < 0.1, "alcohol/vol"] = np.nan
    frame["size [m]"] = 1e6 + np.round(random.exponential(2, rows))
    levels = ["red", "green", "blue", None, *(f"rare {number}" for number in range(40))]
    chances = np.array([30, 20, 10, 10, *[0.75] * 40])
    colours = random.choice(np.array(levels, dtype=object), rows, p=chances / chances.sum())
    return frame.assign(**{"<colour>": colours}), contract


def whole_and_streamed(frame, contract, features, *, cuts=(), scale=True, drawn=400):
    """Return the features fitted on a table at once, and cut at these rows."""
    inputs, target = model_frame(frame, contract), frame["outcome"].to_numpy()
    pieces = np.split(np.arange(len(frame)), sorted(cuts))
    chosen = np.sort(np.random.default_rng(1).choice(len(frame), drawn, replace=False))
    whole, streamed = (build_features(contract, features, scale=scale, seed=1) for _ in range(2))
    whole.fit(inputs, target)
    fit_from_stream(
        streamed,
        lambda: (inputs.iloc[piece] for piece in pieces),
        len(inputs),
        sample=inputs.iloc[chosen],
        target=target[chosen],
    )
    return whole, streamed


def state(features) -> dict[str, object]:
    """Return all that was learned, by where it is kept."""
    found: dict[str, object] = {"places": features.named_steps["columns"].output_indices_}
    for name, branch, _ in features.named_steps["columns"].transformers_:
        for step, fitted in branch.steps:
            found |= {f"{name}.{step}.{key}": value for key, value in vars(fitted).items()}
    return found


def same(one: object, other: object, tolerance: float) -> bool:
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        if one.dtype != other.dtype or one.shape != other.shape:
            return False
        if one.dtype == np.float64:
            return bool(np.allclose(one, other, rtol=tolerance, atol=0.0, equal_nan=True))
        return bool((one == other).all())
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        pairs = zip(one, other, strict=True)
        return len(one) == len(other) and all(same(*pair, tolerance) for pair in pairs)
    if hasattr(one, "get_params") and hasattr(other, "get_params"):  # of the missing ones
        return same(sorted_state(one), sorted_state(other), tolerance)
    if isinstance(one, float) and isinstance(other, float):
        return one == other or (np.isnan(one) and np.isnan(other))
    return type(one) is type(other) and one == other


def sorted_state(fitted) -> list[object]:
    return [value for _, value in sorted(vars(fitted).items())]


def assert_same(whole, streamed, tolerance=ROUNDING):
    expected, found = state(whole), state(streamed)
    assert list(found) == list(expected) or set(found) == set(expected)
    unlike = [key for key in expected if not same(expected[key], found[key], tolerance)]
    assert not unlike, {key: (expected[key], found[key]) for key in unlike}


@pytest.mark.parametrize("scale", [False, True])
@pytest.mark.parametrize("numbers", ["median", "mean", "zero"])
@pytest.mark.parametrize("categories", ["own_level", "most_frequent"])
@pytest.mark.parametrize("method", ["one_hot", "ordinal"])
def test_the_fit_is_that_of_the_whole_table(scale, numbers, categories, method):
    frame, contract = shop()
    features = FeaturesConfig(
        derive={"ratio": "`alcohol/vol` / (`size [m]` - 1e6)"},
        impute=ImputeConfig(numbers=numbers, categories=categories, indicator=True),
        encode=EncodeConfig(method=method, max_levels=8),
    )
    whole, streamed = whole_and_streamed(
        frame, contract, features, cuts=(1, 700, 1_999), scale=scale
    )
    assert_same(whole, streamed)
    inputs = model_frame(frame, contract)
    np.testing.assert_allclose(
        streamed.transform(inputs), whole.transform(inputs), rtol=1e-9, atol=1e-9
    )
    names = [list(each.get_feature_names_out()) for each in (whole, streamed)]
    assert names[0] == names[1]
    kept = skops.io.dumps(streamed)
    again = skops.io.loads(kept, trusted=skops.io.get_untrusted_types(data=kept))
    assert (again.transform(inputs) == streamed.transform(inputs)).all()


@settings(max_examples=20, deadline=None)
@given(
    cuts=st.sets(st.integers(0, 1_000), max_size=10), numbers=st.sampled_from(["median", "mean"])
)
def test_any_pieces_give_the_same_fit_to_the_last_bit(cuts, numbers):
    frame, contract = shop(1_000)
    features = FeaturesConfig(
        impute=ImputeConfig(numbers=numbers, indicator=True), encode=EncodeConfig(method="ordinal")
    )
    whole, streamed = whole_and_streamed(frame, contract, features, cuts=cuts)
    assert_same(whole, streamed)
    _, at_once = whole_and_streamed(frame, contract, features)
    assert_same(at_once, streamed, tolerance=0.0)


NUMBERS = st.one_of(st.just(np.nan), st.integers(-3, 3).map(float), st.floats(-1e30, 1e30))


@settings(max_examples=200, deadline=None)
@given(
    values=st.lists(NUMBERS, max_size=80),
    drawn=st.lists(NUMBERS, max_size=20),
    block=st.integers(1, 90),
    deviations=st.sampled_from([0.0, 0.5, 5.0]),
)
def test_medians_are_exact_whatever_the_sample_says(values, drawn, block, deviations):
    column, sample = np.array(values).reshape(-1, 1), np.array(drawn).reshape(-1, 1)

    def blocks():
        return (column[start : start + block] for start in range(0, len(column), block))

    search = medians.MedianSearch(sample, len(column), deviations)
    for each in blocks():
        search.add(each)
    (found,) = search.medians(blocks)
    known = column[~np.isnan(column)]
    assert found == np.median(known) if len(known) else np.isnan(found)


@pytest.mark.parametrize("at_once", [1, 4])
def test_few_values_are_kept_for_a_median(at_once, monkeypatch):
    random, rows = np.random.default_rng(2), 100_000
    column = np.column_stack(
        [*random.normal(size=(2, rows)), random.integers(0, 3, rows), random.random(rows)]
    )
    drawn = column[random.permutation(rows)[:10_000]]
    monkeypatch.setattr(medians, "KEPT_VALUES", at_once * 0.06 * rows)
    search = medians.MedianSearch(drawn, rows)
    kept = []

    def blocks():
        yield column
        kept.append(search.kept())

    for block in blocks():
        search.add(block)
    assert search.medians(blocks).tolist() == np.median(column, axis=0).tolist()
    assert len(kept) == 4 // at_once
    assert max(kept) < at_once * 0.06 * rows
    if at_once == 1:
        assert kept[2] == 0  # of three values, each is a bound or outside


def test_a_column_of_very_many_levels_is_told_by_the_sample(monkeypatch, caplog):
    frame, contract = shop()
    monkeypatch.setattr(streaming, "LEVELS", 20)
    _, streamed = whole_and_streamed(frame, contract, FeaturesConfig(), drawn=1_500)
    assert "'<colour>' has more than 20 levels; those of 1500 rows" in caplog.text
    encoder = streamed.named_steps["columns"].named_transformers_["categories"][-1]
    rare = set(encoder.infrequent_categories_[0])
    assert not rare & {"red", "green", "blue", "(missing)"}
    assert {level for level in rare if level.startswith("rare")} == rare
    caplog.clear()
    monkeypatch.setattr(streaming, "LEVELS", 100)
    whole_and_streamed(frame, contract, FeaturesConfig())
    assert not caplog.text


@pytest.mark.parametrize("categories", ["own_level", "most_frequent"])
def test_a_column_may_be_missing_throughout(categories):
    frame, contract = shop()
    frame["alcohol/vol"] = np.nan
    frame["<colour>"] = pd.Series([None] * len(frame), dtype=object)
    frame["sold on"] = pd.Series(pd.NaT, index=frame.index, dtype="datetime64[us]")
    features = FeaturesConfig(impute=ImputeConfig(categories=categories, indicator=True))
    whole, streamed = whole_and_streamed(frame, contract, features, cuts=(500,))
    assert_same(whole, streamed)


def test_values_that_the_sample_has_not_seen_count(tmp_path):
    """All gaps, all of a level and most of a column's values lie outside the rows drawn."""
    frame, contract = shop()
    drawn = np.sort(np.random.default_rng(1).choice(ROWS, 400, replace=False))
    others = np.setdiff1d(np.arange(ROWS), drawn)
    frame.loc[drawn, ["alcohol/vol", "size [m]"]] = [7.0, np.nan]
    frame.loc[others[:600], "alcohol/vol"] = np.nan
    frame.loc[others[:600], "<colour>"] = "amber"
    frame.loc[drawn, "<colour>"] = "red"
    features = FeaturesConfig(impute=ImputeConfig(indicator=True))
    whole, streamed = whole_and_streamed(frame, contract, features)
    assert_same(whole, streamed)


def test_features_are_chosen_on_the_rows_drawn():
    frame, contract = shop()
    features = FeaturesConfig(selection=SelectionConfig(method="rfe", max_features=2))
    whole, streamed = whole_and_streamed(frame, contract, features)
    assert streamed.transform(model_frame(frame, contract)).shape == (ROWS, 2)
    assert list(whole.get_feature_names_out()) == list(streamed.get_feature_names_out())
