"""Splits: which method, which shares, and what cannot be split."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_diabetes, load_iris, load_wine

from evergreen.config import SplitConfig
from evergreen.data.conform import conform
from evergreen.data.infer import infer_contract
from evergreen.data.splits import make_folds, split_holdout, split_method
from evergreen.errors import InputError
from tests.support.use_cases import use_case


def prepared(frame, case):
    contract = infer_contract(frame, case)
    return conform(frame, contract), contract


def table(rows=100, **columns):
    x = np.random.default_rng(0).random(rows)
    return pd.DataFrame({"x": x, "y": (["a", "b", "a", "c"] * rows)[:rows], **columns})


@pytest.mark.parametrize(
    ("method", "task", "data", "expected"),
    [
        ("auto", "classification", {}, "stratified"),
        ("auto", "regression", {}, "random"),
        ("auto", "classification", {"group": "g"}, "group"),
        ("auto", "regression", {"timestamp": "t", "group": "g"}, "time"),
        ("random", "classification", {"group": "g"}, "random"),
    ],
)
def test_the_method_follows_the_roles(method, task, data, expected):
    frame = table(g=range(100), t=pd.date_range("2024-01-01", periods=100))
    target = "y" if task == "classification" else "x"
    _, contract = prepared(frame, use_case(task, target, data=data))
    assert split_method(contract, SplitConfig(method=method)) == expected


@pytest.mark.parametrize(("load", "held"), [(load_wine, 36), (load_iris, 30), (load_diabetes, 88)])
def test_the_holdout_has_its_share(load, held):
    task = "regression" if load is load_diabetes else "classification"
    frame, contract = prepared(load(as_frame=True).frame, use_case(task, "target"))
    split = split_holdout(frame, contract, SplitConfig())
    assert len(split.holdout) == held
    assert len(split.train) == len(frame) - held
    assert split.boundary is None


def test_the_seed_decides():
    frame, contract = prepared(table(), use_case())
    sides = [split_holdout(frame, contract, SplitConfig(seed=s)).holdout for s in (1, 1, 2)]
    np.testing.assert_array_equal(sides[0], sides[1])
    assert set(sides[0]) != set(sides[2])


def test_equal_features_share_a_side_even_with_other_targets():
    frame = pd.concat([table(), table().assign(y="b")], ignore_index=True)
    frame, contract = prepared(frame, use_case())
    split = split_holdout(frame, contract, SplitConfig())
    assert not set(frame["x"].iloc[split.train]) & set(frame["x"].iloc[split.holdout])


def test_few_distinct_rows_are_split_one_by_one():
    frame, contract = prepared(table().assign(x=[0, 1] * 50), use_case())
    split = split_holdout(frame, contract, SplitConfig())
    assert len(split.holdout) == 20
    assert set(frame["x"].iloc[split.holdout]) == {0, 1}


def test_every_class_reaches_the_holdout_but_never_leaves_training():
    frame = table().assign(y=["rare"] * 2 + ["alone"] + ["common"] * 97)
    frame, contract = prepared(frame, use_case())
    split = split_holdout(frame, contract, SplitConfig())
    assert (frame["y"].iloc[split.holdout] == "rare").sum() == 1
    assert (frame["y"].iloc[split.train] == "alone").sum() == 1


def test_time_keeps_the_newest_rows_and_ties_together():
    days = pd.date_range("2024-01-01", periods=25).repeat(4)[::-1]
    frame, contract = prepared(table(t=days), use_case(data={"timestamp": "t"}))
    split = split_holdout(frame, contract, SplitConfig())
    assert split.method == "time"
    assert split.boundary == "2024-01-21T00:00:00"
    np.testing.assert_array_equal(split.holdout, np.arange(20))


def test_time_takes_the_nearer_edge_of_a_large_tie():
    days = ["2024-01-01"] * 70 + ["2024-01-02"] * 20 + ["2024-01-03"] * 10
    frame, contract = prepared(table(t=days), use_case(data={"timestamp": "t"}))
    split = split_holdout(frame, contract, SplitConfig(holdout=0.22))
    assert split.boundary == "2024-01-02T00:00:00"
    assert len(split.holdout) == 30
    split = split_holdout(frame, contract, SplitConfig(holdout=0.15))
    assert split.boundary == "2024-01-03T00:00:00"


def test_by_time_a_group_goes_with_its_newest_row():
    days = pd.date_range("2024-01-01", periods=100)
    groups = ["long"] + [f"g{i // 10}" for i in range(1, 99)] + ["long"]
    data = {"timestamp": "t", "group": "g"}
    frame, contract = prepared(table(t=days, g=groups), use_case(data=data))
    split = split_holdout(frame, contract, SplitConfig())
    assert {0, 99} <= set(split.holdout)
    assert not set(frame["g"].iloc[split.train]) & set(frame["g"].iloc[split.holdout])
    assert frame["t"].iloc[split.train].max() < pd.Timestamp(split.boundary)


def test_rows_without_a_group_stand_alone():
    frame = table(g=[None] * 50 + ["one"] * 50)
    frame, contract = prepared(frame, use_case(data={"group": "g"}))
    split = split_holdout(frame, contract, SplitConfig(holdout=0.3))
    in_holdout = frame["g"].iloc[split.holdout]
    assert 0 < in_holdout.isna().sum() <= 50
    assert (in_holdout == "one").sum() in (0, 50)


def test_folds_cover_the_rows_once():
    frame, contract = prepared(table(), use_case())
    folds = make_folds(frame, contract, SplitConfig())
    assert len(folds) == 5
    validated = np.concatenate([validate for _, validate in folds])
    np.testing.assert_array_equal(np.sort(validated), np.arange(100))
    for fit, validate in folds:
        np.testing.assert_array_equal(np.sort([*fit, *validate]), np.arange(100))
        assert set(frame["y"].iloc[fit]) == {"a", "b", "c"}


def test_folds_do_not_depend_on_the_order_of_the_rows():
    frame, contract = prepared(table(), use_case())
    mixed = frame.sample(frac=1, random_state=1)
    one = make_folds(frame, contract, SplitConfig())
    other = make_folds(mixed, contract, SplitConfig())
    for (_, mine), (_, theirs) in zip(one, other, strict=True):
        assert set(frame["x"].iloc[mine]) == set(mixed["x"].iloc[theirs])


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_folds_keep_groups_whole(task):
    frame = table(g=[f"g{i // 5}" for i in range(100)])
    target = "y" if task == "classification" else "x"
    frame["x2"] = frame["x"] ** 2
    frame, contract = prepared(frame, use_case(task, target, data={"group": "g"}))
    for fit, validate in make_folds(frame, contract, SplitConfig()):
        assert not set(frame["g"].iloc[fit]) & set(frame["g"].iloc[validate])


def test_folds_by_time_never_look_ahead():
    days = np.random.default_rng(1).permutation(pd.date_range("2024-01-01", periods=50).repeat(2))
    frame, contract = prepared(table(t=days), use_case(data={"timestamp": "t"}))
    folds = make_folds(frame, contract, SplitConfig())
    assert len(folds) == 5
    for fit, validate in folds:
        assert frame["t"].iloc[fit].max() < frame["t"].iloc[validate].min()


SAME_DAY = {"t": pd.Timestamp("2024-01-01")}
HOLES = {"t": [None, *pd.date_range("2024-01-01", periods=99)]}


@pytest.mark.parametrize(
    ("frame", "data", "method", "words"),
    [
        (table(1), {}, "auto", ("1 usable row",)),
        (pd.DataFrame({"x": [1, 2], "y": ["a", "b"]}), {}, "auto", ("only one distinct row",)),
        (table(g="one"), {"group": "g"}, "auto", ("only one group",)),
        (table(**SAME_DAY), {"timestamp": "t"}, "auto", ("split by time", "'t'", "2024-01-01")),
        (table(**HOLES), {"timestamp": "t"}, "auto", ("1 of 100 rows", "'t'")),
        (table(), {}, "time", ("data.timestamp",)),
        (table(), {}, "group", ("data.group",)),
    ],
)
def test_holdouts_that_cannot_be_made(frame, data, method, words):
    frame, contract = prepared(frame, use_case(data=data))
    with pytest.raises(InputError) as refusal:
        split_holdout(frame, contract, SplitConfig(method=method))
    for word in words:
        assert word in str(refusal.value)


RARE = table().assign(y=["rare"] * 3 + ["common"] * 97)
TWO_GROUPS = {"g": ["one", "two"] * 50}
LATE_CLASS = table(t=pd.date_range("2024-01-01", periods=100)).assign(y=["a"] * 60 + ["b"] * 40)


@pytest.mark.parametrize(
    ("frame", "data", "folds", "words"),
    [
        (table(8), {}, 9, ("split.folds is 9", "only 8 training rows")),
        (RARE, {}, 5, ("'rare'", "only 3 training row", "set split.folds to 3")),
        (RARE.iloc[2:], {}, 5, ("'rare'", "only 1 training row", "merge it")),
        (table(**TWO_GROUPS), {"group": "g"}, 5, ("2 group(s) in 'g'", "split.folds to 2")),
        (table(**SAME_DAY), {"timestamp": "t"}, 5, ("5 folds by time", "distinct moments")),
        (LATE_CLASS, {"timestamp": "t"}, 5, ("one class", "'y'")),
    ],
)
def test_folds_that_cannot_be_made(frame, data, folds, words):
    frame, contract = prepared(frame, use_case(data=data))
    with pytest.raises(InputError) as refusal:
        make_folds(frame, contract, SplitConfig(folds=folds))
    for word in words:
        assert word in str(refusal.value)
