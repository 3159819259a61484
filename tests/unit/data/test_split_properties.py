"""What holds for every split of every table."""

from __future__ import annotations

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from evergreen.config import SplitConfig
from evergreen.data.conform import conform
from evergreen.data.infer import infer_contract
from evergreen.data.splits import REPEATS_ARE_NATURAL, make_folds, split_holdout
from tests.support.use_cases import use_case

NUMBERS = st.one_of(st.none(), st.integers(-40, 40), st.floats(-5, 5))
SHARES = st.sampled_from([0.1, 0.2, 0.5])
SEEDS = st.integers(0, 2**32 - 1)


@st.composite
def tables(draw):
    rows = draw(st.integers(12, 50))
    column = lambda values: draw(st.lists(values, min_size=rows, max_size=rows))  # noqa: E731
    frame = pd.DataFrame(
        {
            "a": pd.Series(column(NUMBERS), dtype="float64"),
            "b": column(st.sampled_from(["u", "v", "w", None])),
            "g": column(st.integers(0, 8)),
            "t": pd.Timestamp("2024-01-01") + pd.to_timedelta(column(st.integers(0, 30)), unit="D"),
            "y": column(st.sampled_from(["yes", "no"])),
        }
    )
    # Each class, group and moment exists more than once, and the columns are never empty.
    frame.loc[:3, "y"] = ["yes", "no", "yes", "no"]
    frame.loc[:3, "g"] = [0, 1, 0, 1]
    frame.loc[:1, "t"] = pd.to_datetime(["2024-01-01", "2024-01-30"])
    frame.loc[:3, "a"] = [0.5, 1.5, 2.5, 3.5]
    frame.loc[:1, "b"] = ["u", "v"]
    return frame


def split(frame, share=0.2, seed=0, **data):
    case = use_case(data=data)
    contract = infer_contract(frame, case)
    conformed = conform(frame, contract)
    return (
        conformed,
        contract,
        split_holdout(conformed, contract, SplitConfig(holdout=share, seed=seed)),
    )


def content(frame, positions):
    return sorted(map(repr, frame.iloc[positions].itertuples(index=False, name=None)))


@given(tables(), SHARES, SEEDS, st.sampled_from([{}, {"group": "g"}, {"timestamp": "t"}]))
@settings(deadline=None, max_examples=40)
def test_every_row_is_on_exactly_one_side(frame, share, seed, data):
    _, _, found = split(frame, share, seed, **data)
    assert len(found.train)
    assert len(found.holdout)
    both = np.concatenate([found.train, found.holdout])
    np.testing.assert_array_equal(np.sort(both), np.arange(len(frame)))


@given(tables(), SEEDS, st.sampled_from([{}, {"group": "g"}, {"timestamp": "t"}]), st.randoms())
@settings(deadline=None, max_examples=40)
def test_the_order_of_the_rows_does_not_matter(frame, seed, data, random):
    order = list(range(len(frame)))
    random.shuffle(order)
    mixed = frame.iloc[order].reset_index(drop=True)
    one, _, mine = split(frame, seed=seed, **data)
    other, _, theirs = split(mixed, seed=seed, **data)
    assert content(one, mine.holdout) == content(other, theirs.holdout)


@given(SEEDS, st.sampled_from([{}, {"group": "g"}]))
@settings(deadline=None, max_examples=40)
def test_nor_does_it_where_equal_rows_have_both_classes_as_often(seed, data):
    random = np.random.default_rng(seed)
    features = pd.DataFrame({"x": random.random(20), "g": np.arange(20) % 7})
    frame = pd.concat([features.assign(y="yes"), features.assign(y="no")], ignore_index=True)
    mixed = frame.sample(frac=1, random_state=random).reset_index(drop=True)
    one, _, mine = split(frame, seed=seed, **data)
    other, _, theirs = split(mixed, seed=seed, **data)
    assert content(one, mine.holdout) == content(other, theirs.holdout)


@given(tables(), SHARES, SEEDS)
@settings(deadline=None, max_examples=40)
def test_equal_rows_share_a_side_unless_most_rows_repeat(frame, share, seed):
    conformed, _, found = split(frame, share, seed)
    features = conformed.drop(columns="y").astype(str)
    if len(features.drop_duplicates()) >= REPEATS_ARE_NATURAL * len(features):
        assert not set(content(features, found.train)) & set(content(features, found.holdout))


@given(tables(), SHARES, SEEDS)
@settings(deadline=None, max_examples=40)
def test_groups_are_never_split(frame, share, seed):
    _, _, found = split(frame, share, seed, group="g")
    assert not set(frame["g"].iloc[found.train]) & set(frame["g"].iloc[found.holdout])


@given(tables(), SHARES, st.booleans())
@settings(deadline=None, max_examples=40)
def test_time_never_leaks(frame, share, grouped):
    if grouped:  # each group within few days, so that a split exists
        frame["g"] = frame["t"].dt.day // 3
    data = {"timestamp": "t", "group": "g"} if grouped else {"timestamp": "t"}
    _, _, found = split(frame, share, **data)
    assert frame["t"].iloc[found.train].max() < pd.Timestamp(found.boundary)
    newest = frame["t"].iloc[found.holdout].max()
    assert newest == frame["t"].max()


@given(st.integers(100, 400), SHARES, SEEDS, st.floats(0.05, 0.5))
@settings(deadline=None, max_examples=20)
def test_classes_keep_their_proportions(rows, share, seed, minority):
    random = np.random.default_rng(seed)
    frame = pd.DataFrame({"x": random.random(rows), "y": "no"})
    frame.loc[: int(rows * minority), "y"] = "yes"
    conformed, _, found = split(frame, share, seed)
    for label, count in conformed["y"].value_counts().items():
        held = int((conformed["y"].iloc[found.holdout] == label).sum())
        assert held == max(1, round(share * count))


@given(SEEDS, st.sampled_from([{}, {"group": "g"}]))
@settings(deadline=None, max_examples=15)
def test_rows_keep_their_side_as_the_table_grows(seed, data):
    random = np.random.default_rng(seed)
    rows = 600
    frame = pd.DataFrame(
        {
            "x": random.random(rows),
            "g": random.integers(0, 150, rows),
            "y": random.choice(["yes", "no"], rows),
        }
    )
    _, _, before = split(frame.iloc[:500], seed=seed, **data)
    _, _, after = split(frame, seed=seed, **data)
    moved = set(before.holdout) ^ {row for row in after.holdout if row < 500}
    assert len(moved) <= 0.08 * 500


@given(tables(), SEEDS)
@settings(deadline=None, max_examples=20)
def test_folds_validate_every_row_once(frame, seed):
    frame = pd.concat([frame, frame.assign(a=frame["a"] + 100)], ignore_index=True)
    contract = infer_contract(frame, use_case())
    folds = make_folds(conform(frame, contract), contract, SplitConfig(folds=2, seed=seed))
    validated = np.concatenate([validate for _, validate in folds])
    np.testing.assert_array_equal(np.sort(validated), np.arange(len(frame)))
    for fit, validate in folds:
        assert not set(fit) & set(validate)
