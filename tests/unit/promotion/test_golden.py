"""Golden rows tell a model that answers as at training from one that does not."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from evergreen.data.conform import model_frame
from evergreen.promotion.golden import PREDICTION, PROBABILITY, answers, compare, make_golden
from tests.support.models import small_contract, small_model, small_table


def _golden(task):
    contract = small_contract(task)
    inputs = model_frame(small_table(task), contract)
    model = small_model(task, "logistic_regression" if task == "classification" else "ridge")
    return contract, make_golden(model, inputs)


def test_golden_rows_are_spread_over_the_table():
    contract, golden = _golden("classification")
    assert len(golden) == 50
    table = model_frame(small_table(), contract)
    names = [column.name for column in contract.features]
    pd.testing.assert_frame_equal(golden[names].iloc[[0]], table.iloc[[0]], check_dtype=True)
    pd.testing.assert_series_equal(
        golden[names].iloc[-1], table.iloc[-1], check_names=False, check_dtype=True
    )


def test_a_short_table_is_taken_whole():
    inputs = model_frame(small_table(), small_contract()).head(3)
    golden = make_golden(small_model(), inputs)
    assert len(golden) == 3
    assert {PREDICTION, f"{PROBABILITY}calm", f"{PROBABILITY}storm"} <= set(golden.columns)


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_same_answers_pass(task):
    contract, golden = _golden(task)
    replay = compare(golden, golden, contract)
    assert replay.passed
    assert replay.difference == 0
    assert replay.rows == 50


def test_probability_within_and_beyond_the_tolerance():
    contract, golden = _golden("classification")
    near, far = golden.copy(), golden.copy()
    near[f"{PROBABILITY}calm"] += 5e-7
    far[f"{PROBABILITY}calm"] += 2e-6
    assert compare(golden, near, contract).passed
    failed = compare(golden, far, contract)
    assert not failed.passed
    assert failed.difference == pytest.approx(2e-6)


def test_regression_is_compared_relative_to_its_scale():
    contract, golden = _golden("regression")
    golden[PREDICTION] *= 1e6
    near, far = golden.copy(), golden.copy()
    near.loc[3, PREDICTION] += 1
    far.loc[3, PREDICTION] += 1e3
    assert compare(golden, near, contract).passed
    assert not compare(golden, far, contract).passed


def test_another_class_fails_and_says_which_row():
    contract, golden = _golden("classification")
    found = golden.copy()
    other = next(label for label in contract.labels if label != golden[PREDICTION][7])
    found.loc[7, PREDICTION] = other
    replay = compare(golden, found, contract)
    assert not replay.passed
    assert "row 7" in replay.message


def test_another_class_passes_where_both_were_equally_probable():
    contract, golden = _golden("classification")
    for label, probability in {"calm": 0.45, "gale": 0.45, "storm": 0.1}.items():
        golden.loc[7, f"{PROBABILITY}{label}"] = probability
    golden.loc[7, PREDICTION] = "calm"
    found = golden.copy()
    found.loc[7, PREDICTION] = "gale"
    assert compare(golden, found, contract).passed


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_missing_answers_fail(task):
    contract, golden = _golden(task)
    column = PREDICTION if task == "regression" else f"{PROBABILITY}calm"
    found = golden.copy()
    found.loc[0, column] = np.nan
    replay = compare(golden, found, contract)
    assert not replay.passed
    assert replay.difference is None


def test_answers_of_another_shape_fail():
    contract, golden = _golden("classification")
    assert not compare(golden, golden.head(10), contract).passed
    assert not compare(golden, golden.drop(columns=f"{PROBABILITY}gale"), contract).passed


def test_answers_keep_the_types_of_labels():
    contract = small_contract()
    found = answers(small_model(), model_frame(small_table(), contract))
    assert set(found[PREDICTION]) <= set(contract.labels)
