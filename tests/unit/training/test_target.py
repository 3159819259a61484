"""The target of all rows is what the table says, whatever kind of labels it has."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from evergreen.data import dataset as datasets
from evergreen.data.conform import target_values
from evergreen.data.dataset import Dataset
from evergreen.errors import InputError
from evergreen.training.target import read_target
from tests.support.search_tables import column, contract_of

LABELS = {"text": ("a", "b", "unseen"), "integer": (-1, 2, 300), "boolean": (False, True)}


@pytest.fixture(autouse=True)
def small_groups(monkeypatch):
    monkeypatch.setattr(datasets, "ROW_GROUP", 7)


def _stored(values, folder):
    return Dataset.write(pd.DataFrame({"outcome": values}), folder / "t.parquet")


@pytest.mark.parametrize("kind", LABELS)
def test_classes_are_those_that_occur(kind, tmp_path):
    labels = LABELS[kind]
    occurring = list(labels[:2])
    values = np.array(occurring, dtype=object)[np.random.default_rng(0).integers(0, 2, 50)]
    contract = contract_of("classification", column("outcome", "category", "target"), labels=labels)
    table = _stored(pd.Series(values, dtype=object), tmp_path)

    found = read_target(table, contract)

    wanted = target_values(table.read(), contract)
    assert list(found.categories) == occurring
    assert np.asarray(found).dtype == wanted.dtype
    assert np.array_equal(np.asarray(found), wanted)
    assert found.codes.dtype == np.int8


def test_numbers_come_in_order(tmp_path):
    values = np.random.default_rng(0).normal(size=50)
    contract = contract_of("regression", column("outcome", "number", "target"))
    assert np.array_equal(read_target(_stored(values, tmp_path), contract), values)


def test_a_row_without_target_is_refused(tmp_path):
    contract = contract_of("regression", column("outcome", "number", "target"))
    with pytest.raises(InputError, match="no usable target 'outcome'"):
        read_target(_stored([1.0, None], tmp_path), contract)
