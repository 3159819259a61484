"""Columns are read as the API reads values: the same values, refusals and flags."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evergreen.batch.columns import read_column
from evergreen.data.contract import Column
from evergreen.serving.parsing.fields import Field, Findings
from evergreen.serving.settings import ServingConfig

RANGE = {"minimum": -5.0, "maximum": 40.0}
COLUMNS = {
    "promised": Column(
        name="promised", type="number", role="feature", nullable=False, **RANGE,
        declared=("maximum", "minimum"),
    ),
    "seen": Column(name="seen", type="number", role="feature", nullable=True, **RANGE),
    "whole": Column(name="whole", type="integer", role="feature", nullable=True, **RANGE),
    "truth": Column(name="truth", type="boolean", role="feature", nullable=False),
    "level": Column(
        name="level", type="category", role="feature", nullable=True, categories=("a", "7")
    ),
    "listed": Column(
        name="listed", type="category", role="feature", nullable=False,
        categories=("a", "7"), declared=("categories",),
    ),
    "moment": Column(name="moment", type="timestamp", role="feature", nullable=True),
    "formatted": Column(
        name="formatted", type="timestamp", role="feature", nullable=True, format="%d.%m.%Y"
    ),
}  # fmt: skip
POLICIES = [
    ServingConfig(),
    ServingConfig(out_of_range="flag", unknown_category="flag", missing="flag"),
    ServingConfig(missing="accept"),
]
CELLS = st.sampled_from(
    [
        *("1", "-3", "2.5", " 7 ", "+4", "1e3", "1e400", "1_0", "abc", "", " ", "NA", "nan", "inf"),
        *("a", "b", "true", "No", "٣", "0x1", "1.", ".5", "-", "41", "1e-400", "NaN ", "-inf"),
        *("2026-01-31", "2026-01-31T12:00", "2026-02-30", "2026-01-31 10", "31.01.2026"),
        *("2026-01-31T12:00:00.1234567", "2026-01-31T12:00:00+02:00", "1700000000"),
    ]
) | st.text(max_size=3)


def compare(column: Column, policy: ServingConfig, values, array: pa.Array, *, written: bool):
    field, findings = Field(column, policy), Findings()
    read = field.from_text if written else field.from_typed
    expected = read(values, findings)
    found = read_column(field, array, written=written)

    refused = {error.row for error in findings.errors}
    masks = [breach.rows for breach in found.breaches if breach.refused]
    rows = set(found.unfit) | {int(row) for mask in masks for row in np.flatnonzero(mask)}
    assert rows == refused
    messages = {(error.row, error.message) for error in findings.errors}
    for row, text in found.unfit.items():
        assert (row, text) in messages
    for breach in found.breaches:
        for row in np.flatnonzero(breach.rows).tolist():
            if breach.refused:
                assert (row, field.reason(breach.name, found.values[row])) in messages
    flags = {
        (int(row), f"{breach.name}:{column.name}")
        for breach in found.breaches
        if not breach.refused
        for row in np.flatnonzero(breach.rows)
    }
    assert flags == {(row, flag) for row, many in findings.flags.items() for flag in many}
    assert found.values.dtype == expected.dtype
    kept = [row for row in range(len(values)) if row not in refused]
    if kept:
        np.testing.assert_array_equal(found.values[kept], expected[kept])


@pytest.mark.parametrize("name", COLUMNS)
@settings(max_examples=60, deadline=None)
@given(cells=st.lists(CELLS, min_size=1, max_size=12), policy=st.sampled_from(POLICIES))
def test_cells_of_csv(name, cells, policy):
    compare(COLUMNS[name], policy, cells, pa.array(cells, pa.string()), written=True)


@pytest.mark.parametrize("name", COLUMNS)
@settings(max_examples=40, deadline=None)
@given(
    cells=st.lists(CELLS | st.none(), min_size=1, max_size=12),
    policy=st.sampled_from(POLICIES),
    dictionary=st.booleans(),
)
def test_texts_of_a_typed_table(name, cells, policy, dictionary):
    array = pa.array(cells, pa.string())
    array = array.dictionary_encode() if dictionary else array
    compare(COLUMNS[name], policy, cells, array, written=False)


NUMBERS = st.none() | st.sampled_from([0.0, 1.0, 2.5, -7.0, 41.0, 1e39, float("inf")]) | st.floats()


@pytest.mark.parametrize("name", COLUMNS)
@settings(max_examples=40, deadline=None)
@given(numbers=st.lists(NUMBERS, min_size=1, max_size=12), policy=st.sampled_from(POLICIES))
def test_floats(name, numbers, policy):
    # NaN in a typed table is a missing value.
    values = [None if number is None or number != number else number for number in numbers]
    compare(COLUMNS[name], policy, values, pa.array(numbers, pa.float64()), written=False)


@pytest.mark.parametrize("name", COLUMNS)
@pytest.mark.parametrize(
    "values",
    [
        [1, 0, None, 41, -9, 7],
        [True, False, None],
        [datetime(2026, 1, 31, 12), None, datetime(1960, 1, 1)],
        [None, None],
    ],
    ids=["integers", "booleans", "moments", "nothing"],
)
def test_other_types(name, values):
    for policy in POLICIES:
        compare(COLUMNS[name], policy, values, pa.array(values), written=False)


def test_a_decimal_comma():
    field = Field(COLUMNS["seen"], ServingConfig())
    found = read_column(field, pa.array(["1,5", "2", "x"]), written=True, decimal=",")
    assert found.values[:2].tolist() == [1.5, 2.0]
    assert list(found.unfit) == [2]
