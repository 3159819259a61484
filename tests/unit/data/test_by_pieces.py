"""Contract, checks and holdout of a table gone through by columns and pieces are those of a whole.

A use case of every kind of split; the columns have holes, repeats, outliers and broken promises.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from evergreen.config import UseCase
from evergreen.data import dataset as datasets
from evergreen.data import row_groups
from evergreen.data.conform import conform
from evergreen.data.dataset import Dataset
from evergreen.data.engine import IN_MEMORY, Engine
from evergreen.data.holdout import rows_to_split, write_sides
from evergreen.data.infer import infer_contract, infer_contract_by_columns
from evergreen.data.quality import check_split, check_table, check_table_by_columns
from evergreen.data.splits import SplitRows, split_holdout, split_rows

ROWS = 1_500
EXTERNAL = Engine(name="external", reason="the test says so")


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    monkeypatch.setattr(datasets, "piece_rows", lambda columns: 400)
    monkeypatch.setattr(datasets, "ROW_GROUP", 350)


def table() -> pd.DataFrame:
    random = np.random.default_rng(3)
    size = random.normal(size=ROWS)
    size[::50] = np.nan
    size[7] = 1e6
    frame = pd.DataFrame(
        {
            "number": np.arange(ROWS) + 10_000,
            "size": size,
            "age": random.integers(0, 90, ROWS),
            "colour": pd.Series(random.choice(["red", "green", "blue"], ROWS), dtype="str"),
            "when": pd.Timestamp("2024-01-01")
            + pd.to_timedelta(random.integers(0, 500, ROWS), "h"),
            "shop": pd.Series(random.choice([f"s{n}" for n in range(60)], ROWS), dtype="str"),
            "same": 1.0,
            "bought": pd.Series(random.choice(["yes", "no", None], ROWS, p=[0.3, 0.69, 0.01])),
        }
    )
    frame["when"] = frame["when"].dt.as_unit("us")
    frame["sum"] = np.where(frame["bought"] == "yes", 1.0, 0.0) + random.normal(0, 0.6, ROWS)
    return pd.concat([frame, frame.iloc[:90]], ignore_index=True)


def use_case(**data: object) -> UseCase:
    return UseCase.model_validate(
        {
            "name": "shops",
            "task": "classification",
            "data": {"source": "x.csv", "target": "bought", **data},
            "contract": {"age": {"maximum": 80}, "colour": {"categories": ["red", "green"]}},
            "quality": {"outliers": {"severity": "warning", "limit": 0}},
        }
    )


CASES = {
    "stratified": use_case(ignore=["number"]),
    "group": use_case(ignore=["number"], group="shop"),
    "time": use_case(ignore=["number"], timestamp="when"),
    "time and group": use_case(timestamp="when", group="shop"),
    "repeats": use_case(ignore=["number", "size", "when", "sum", "shop"]),
}


@pytest.fixture(params=CASES)
def case(request) -> UseCase:
    return CASES[request.param]


@pytest.fixture
def raw(tmp_path) -> Dataset:
    return Dataset.write(table(), tmp_path / "raw.parquet", "csv x.csv", EXTERNAL)


@pytest.mark.parametrize("engine", [EXTERNAL, IN_MEMORY])
def test_the_contract_is_the_same(case, engine, tmp_path):
    raw = Dataset.write(table(), tmp_path / "raw.parquet", engine=engine)
    assert infer_contract_by_columns(raw, case) == infer_contract(table(), case)


def test_the_findings_are_the_same(raw, case):
    contract = infer_contract(table(), case)
    whole = check_table(table(), contract, case)
    by_columns = check_table_by_columns(raw, contract, case)
    assert {f.check for f in whole.findings} >= {"ranges", "categories", "constant_columns"}
    assert set(by_columns.findings) == set(whole.findings)
    assert by_columns.checks == whole.checks
    assert (by_columns.rows, by_columns.columns) == (whole.rows, whole.columns)


def test_the_holdout_is_the_same(raw, case, tmp_path):
    contract = infer_contract(table(), case)
    frame = conform(table(), contract)
    frame = frame[frame["bought"].notna()]
    expected = split_holdout(frame, contract, case.split)
    rows = rows_to_split(raw, contract)
    split = split_rows(rows, contract, case.split)
    assert split.method == expected.method
    assert split.boundary == expected.boundary
    np.testing.assert_array_equal(split.holdout, expected.holdout)
    found = check_split(rows, split, contract, case)
    assert (
        found.findings
        == check_split(SplitRows.of(frame, contract), expected, contract, case).findings
    )

    places = rows.frame.index.to_numpy()
    sides = write_sides(
        raw,
        contract,
        places[split.train],
        places[split.holdout],
        (tmp_path / "a.parquet", tmp_path / "b.parquet"),
    )
    for side, positions in zip(sides, (expected.train, expected.holdout), strict=True):
        whole = Dataset.write(frame.iloc[positions], tmp_path / "whole.parquet")
        pd.testing.assert_frame_equal(side.read(), whole.read())
        assert side.fingerprint == whole.fingerprint
        assert side.engine == EXTERNAL


@pytest.mark.parametrize("at_once", [1, 700, 1_000_000])
@pytest.mark.parametrize("taken", ["some", "all", "few", "none"])
def test_the_rows_of_a_mask_are_those_of_the_whole_table(raw, taken, at_once, monkeypatch):
    monkeypatch.setattr(row_groups, "FEW_VALUES", at_once)
    places = np.arange(raw.rows)
    mask = {
        "some": places % 3 == 1,
        "all": places >= 0,
        "few": places // 350 == 2,  # one row group
        "none": places < 0,
    }[taken]
    pd.testing.assert_frame_equal(raw.read_where(mask), raw.read()[mask])
    columns = ["bought", "when", "age"]
    pd.testing.assert_frame_equal(raw.read_where(mask, columns), raw.read(columns)[mask])


def test_some_rows_are_drawn_evenly_and_repeatably(raw):
    drawn = raw.read_some(500, ["number"], seed=1)
    assert len(drawn) == 500
    assert drawn.index.is_monotonic_increasing
    assert (drawn["number"] == table()["number"].loc[drawn.index]).all()
    assert abs(drawn.index.to_numpy().mean() - raw.rows / 2) < 100
    assert drawn.equals(raw.read_some(500, ["number"], seed=1))
    assert not drawn.equals(raw.read_some(500, ["number"], seed=2))
    assert len(raw.read_some(10**6)) == raw.rows
