"""Leakage: a column that holds the answer is found, an honest one is not."""

from __future__ import annotations

import time

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes

from evergreen.data.infer import infer_contract
from evergreen.data.quality import check_table
from evergreen.data.quality import leakage as module
from evergreen.data.quality.leakage import leakage
from evergreen.data.quality.observation import Table
from tests.support.use_cases import use_case

RANDOM = np.random.default_rng(3)
CANCER = load_breast_cancer(as_frame=True).frame
DIABETES = load_diabetes(as_frame=True).frame
LABEL = CANCER["target"]
LEVEL = DIABETES["target"]


def leaks(frame, task, target="target", **parts):
    case = use_case(task, target, **parts)
    quality = check_table(frame, infer_contract(frame, case), case)
    return [finding for finding in quality.findings if finding.check == "leakage"]


@pytest.mark.parametrize(
    "copy",
    [
        LABEL,
        1 - LABEL,
        LABEL.map({0: "benign", 1: "malignant"}),
        LABEL.map({0: True, 1: False}),
        LABEL + 10**9,
        LABEL * 5 + RANDOM.random(len(LABEL)),
        LABEL.where(LABEL == 1),  # only whether it is there tells the class
        LABEL.astype(str) + RANDOM.choice(["x", "y", "z"], len(LABEL)),
    ],
)
def test_a_column_that_tells_the_class_is_found(copy):
    (finding,) = leaks(CANCER.assign(copy=copy), "classification")
    assert finding.columns == ("copy",)
    assert finding.severity == "error"
    assert "'copy' alone predicts the target 'target' with a skill of" in finding.message
    assert "data.ignore" in finding.message


@pytest.mark.parametrize(
    "copy",
    [
        LEVEL,
        -LEVEL,
        np.log(LEVEL),
        np.exp(LEVEL / 20),
        LEVEL.where(RANDOM.random(len(LEVEL)) > 0.3),
        LEVEL.astype(str) + " units",
    ],
)
def test_a_column_that_tells_the_number_is_found(copy):
    # Each value occurs many times, so that a level of text can be learnt.
    frame = pd.concat([DIABETES.assign(copy=copy)] * 16, ignore_index=True)
    case = {"contract": {"copy": {"type": "category"}}} if copy.dtype == "str" else {}
    (finding,) = leaks(frame, "regression", **case)
    assert finding.columns == ("copy",)


@pytest.mark.parametrize(
    "column",
    [
        LABEL.where(RANDOM.random(len(LABEL)) > 0.02, 1 - LABEL),
        LABEL + RANDOM.normal(0, 0.4, len(LABEL)),
        RANDOM.permutation(LABEL),
    ],
)
def test_a_good_column_is_no_leak(column):
    assert leaks(CANCER.assign(x=column), "classification") == []


def test_a_close_relation_is_no_leak():
    noisy = LEVEL + RANDOM.normal(0, 10, len(LEVEL))
    assert leaks(DIABETES.assign(x=noisy), "regression") == []


def test_rare_classes_are_found_and_do_not_hide_a_leak():
    rows = 30_000
    y = np.where(RANDOM.random(rows) < 0.002, "fraud", "fine")
    frame = pd.DataFrame({"x": RANDOM.random(rows), "copy": (y == "fraud") * 1, "y": y})
    frame.loc[0, "y"] = "odd"
    assert [f.columns for f in leaks(frame, "classification", "y")] == [("copy",)]


@pytest.mark.parametrize("seed", range(20))
def test_chance_on_few_rows_is_no_leak(seed):
    random = np.random.default_rng(seed)
    for rows, positives in ((30, 15), (200, 3)):
        frame = pd.DataFrame(random.random((rows, 10)), columns=[f"x{i}" for i in range(10)])
        frame["y"] = ["yes"] * positives + ["no"] * (rows - positives)
        frame["copy"] = frame["y"]
        assert leaks(frame, "classification", "y") == []


def many(rows: int) -> pd.DataFrame:
    random = np.random.default_rng(4)
    classes = random.choice(["a", "b", "rare"], rows, p=[0.7, 0.295, 0.005])
    return pd.DataFrame(
        {
            "honest": random.normal(size=rows) + (classes == "a"),
            "copy": pd.Series(classes).map({"a": 0.0, "b": 1.0, "rare": 2.0}),
            "level": np.where(classes == "a", "x", np.where(classes == "b", "y", "z")),
            "level of": random.normal(size=rows),
            "y": classes,
        }
    )


def test_of_many_rows_some_tell_the_same_and_rare_classes_stay(monkeypatch):
    monkeypatch.setattr(module, "SAMPLE_ROWS", 200)
    frame = many(8_000)
    rare = int((frame["y"] == "rare").sum())
    assert {leak.columns for leak in leaks(frame, "classification", "y")} == {("copy",), ("level",)}

    case = use_case(target="y")
    table = Table(frame, infer_contract(frame, case), case, pd.Timestamp.now("UTC"))
    rows, target = module._usable_rows(table)
    assert len(rows) == 200
    assert sorted(np.bincount(target))[0] == min(rare, 66)
    assert rows.max() > 7_000
    assert len(np.unique(rows)) == 200


def test_of_many_numbers_some_tell_the_same(monkeypatch):
    monkeypatch.setattr(module, "SAMPLE_ROWS", 200)
    frame = many(8_000).drop(columns=["y"])
    frame["copy"] = np.exp(frame["level of"])
    found = leaks(frame, "regression", "level of")
    assert [leak.columns for leak in found] == [("copy",)]
    assert found[0].count == 200


def test_a_limit_can_be_set():
    assert leaks(CANCER, "classification", quality={"leakage": {"limit": 0.5}})


def test_it_is_cheap():
    case = use_case(target="target")
    table = Table(CANCER, infer_contract(CANCER, case), case, pd.Timestamp.now("UTC"))
    list(leakage(table, 0.999))  # imports
    started = time.process_time()
    list(leakage(table, 0.999))
    assert time.process_time() - started < 2
