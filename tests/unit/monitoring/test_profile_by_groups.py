"""The profile of rows that are looked at by columns and row groups is that of the whole."""

from __future__ import annotations

import pandas as pd
import pytest

from evergreen.data import dataset as datasets
from evergreen.data.passes import Passes
from evergreen.errors import InputError
from evergreen.monitoring.profile import make_profile
from evergreen.monitoring.profile_by_groups import profile_by_groups
from evergreen.paths import Home
from evergreen.training.predictions import predict
from tests.support.engines import TARGETS, chosen, fitted, prepared, sales
from tests.support.models import small_contract, small_model, small_table
from tests.support.profiles import assert_same_profile


@pytest.fixture(autouse=True)
def several_row_groups(monkeypatch):
    monkeypatch.setattr(datasets, "ROW_GROUP", 701)


def wide(rows=3_000):
    """Return sales with copies, levels that occur once, and columns that hang together."""
    table = sales(rows)
    table["c"] = table["a"] + table["b"] ** 2
    table["d"] = table["b"].where(table.index % 3 > 0)
    table["note"] = [f"note {place % (rows // 2)}" for place in range(rows)]
    return pd.concat([table, table.iloc[:200]], ignore_index=True)


@pytest.mark.parametrize("rows", [10_000, 1_999], ids=["all rows", "some rows"])
@pytest.mark.parametrize("target", TARGETS)
def test_it_is_the_profile_of_the_same_rows(target, rows, tmp_path):
    use_case, contract, frame, (side, table) = prepared(wide(), target, tmp_path)
    (model,) = fitted([side], contract, use_case, chosen("xgboost", max_depth=2))
    predictions = predict(model, frame, contract)
    drawn = table.read_some(rows, seed=5)
    expected = make_profile(drawn, contract, predictions)
    assert expected.comparison.duplicates > 0
    found = profile_by_groups(drawn, contract, predictions, Passes())
    assert found.rows == min(rows, 3_200)
    assert_same_profile(found, expected)
    assert not list(Home.locate().scratch.iterdir())


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_odd_columns_and_moments(task):
    contract, frame = small_contract(task), small_table(task, rows=1_500)
    predictions = predict(small_model(task), frame, contract)
    found = profile_by_groups(frame, contract, predictions, Passes())
    expected = make_profile(frame, contract, predictions)
    assert found.window is not None
    assert_same_profile(found, expected)


@pytest.mark.parametrize("target", TARGETS)
def test_a_profile_does_not_depend_on_the_parts_that_threads_look_at(target, tmp_path, monkeypatch):
    use_case, contract, frame, (side, _) = prepared(wide(), target, tmp_path)
    (model,) = fitted([side], contract, use_case, chosen("xgboost", max_depth=2))
    predictions = predict(model, frame, contract)
    whole = make_profile(frame, contract, predictions)
    monkeypatch.setattr("evergreen.data.hashes.PART_ROWS", 333)
    assert_same_profile(make_profile(frame, contract, predictions), whole)


def test_one_number_column_has_no_structure():
    contract, frame = small_contract(), small_table(rows=1_500)
    kept = [each for each in contract.columns if each.name not in {"crew", "licensed", "built"}]
    few = contract.model_copy(update={"columns": tuple(kept)})
    predictions = predict(small_model(), frame, contract)
    frame = frame[[column.name for column in kept]]
    found = profile_by_groups(frame, few, predictions, Passes())
    assert found.comparison.structure is None
    expected = make_profile(frame, few, predictions)
    assert found.model_dump_json() == expected.model_dump_json()


def test_a_table_without_rows_has_no_profile():
    contract, frame = small_contract(), small_table()
    predictions = predict(small_model(), frame, contract)
    with pytest.raises(InputError, match="no rows"):
        profile_by_groups(frame.iloc[:0], contract, predictions, Passes())
