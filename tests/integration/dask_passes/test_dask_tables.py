"""Checks and holdout of a table that Dask workers go through are those of one process."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest
from distributed import Client

from evergreen.config import UseCase
from evergreen.dask import pieces, tables
from evergreen.dask.settings import DaskConfig
from evergreen.dask.tables import passes_of
from evergreen.data import dataset as datasets
from evergreen.data.dataset import Dataset
from evergreen.data.engine import Engine
from evergreen.data.holdout import rows_to_split
from evergreen.data.infer import infer_contract
from evergreen.data.passes import Passes
from evergreen.data.quality import check_table_by_columns
from evergreen.errors import InputError
from evergreen.paths import Home
from tests.support.dask_pieces import fall_in_a_worker, fall_once_on
from tests.support.engines import EXTERNAL, sales

pytestmark = pytest.mark.timeout(300)
NOW = datetime(2026, 5, 1, tzinfo=UTC)
DASK = Engine(name="dask", reason="the test says so")


@pytest.fixture
def use_case():
    return UseCase.model_validate(
        {
            "name": "tried",
            "task": "classification",
            "data": {"source": "x.csv", "target": "truth", "timestamp": "day"},
            "contract": {"a": {"maximum": 2}, "colour": {"categories": ["red", "green"]}},
            "quality": {
                "outliers": {"severity": "warning", "limit": 0},
                "duplicates": {"severity": "warning", "limit": 0},
            },
        }
    )


@pytest.fixture
def table(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets, "ROW_GROUP", 1_300)
    frame = sales()
    frame = pd.concat([frame, frame.iloc[:90]], ignore_index=True)
    frame.loc[[5, 4_000], "b"] = [np.inf, 1e9]
    frame["when"] = frame["day"] + pd.to_timedelta(frame["day"].dt.day % 3 - 1, "D")
    return Dataset.write(frame, tmp_path / "raw.parquet", "sales", DASK)


def test_checks_and_hashes_are_those_of_one_process(table, use_case, config, cluster):
    contract = infer_contract(table.read(), use_case)
    assert len(table.row_groups()) == 7
    expected = check_table_by_columns(table, contract, use_case, NOW)
    rows = rows_to_split(table, contract)
    with Client(cluster.address, set_as_default=False) as observer:
        observer.get_task_stream()
        with passes_of(table, config) as way:
            assert check_table_by_columns(table, contract, use_case, NOW, way) == expected
            shared = rows_to_split(table, contract, way)
            np.testing.assert_array_equal(shared.features, rows.features)
            np.testing.assert_array_equal(shared.whole(), rows.whole())
        assert len({each["worker"] for each in observer.get_task_stream()}) == 2
    pd.testing.assert_frame_equal(shared.frame, rows.frame)
    found = {finding.check for finding in expected.findings}
    assert {"duplicates", "infinities", "outliers", "future_rows"} <= found
    assert not list(Home.locate().scratch.iterdir())


def test_a_killed_workers_columns_are_looked_at_by_another(table, config, tmp_path):
    with passes_of(table, config) as way:
        items = [(tmp_path, name) for name in table.columns]
        found = list(way.each(fall_once_on, table, items))
    assert (tmp_path / "fallen").exists()
    assert found == [float(table.rows)] * len(table.columns)


@pytest.mark.long
def test_what_no_worker_can_do_is_done_here(table, config, monkeypatch, caplog):
    monkeypatch.setattr(pieces, "ATTEMPTS", 1)
    with passes_of(table, config) as way, caplog.at_level(logging.WARNING, logger="evergreen"):
        assert list(way.each(fall_in_a_worker, table, [1, 2])) == [1, 2]
    assert "What is left of it is done here" in caplog.text


def test_another_table_at_its_place_is_refused(table, config):
    with passes_of(table, config) as way:
        Dataset.write(table.read().iloc[:-1], table.path, "sales", DASK)
        with pytest.raises(InputError, match="another table here than where the run began"):
            list(way.over_rows(len, table))


def test_other_engines_need_no_cluster(table, use_case, tmp_path):
    here = Dataset.write(table.read(), tmp_path / "here.parquet", "sales")
    with passes_of(here, DaskConfig(scheduler="tcp://127.0.0.1:1")) as way:
        assert sum(way.over_rows(len, here)) == table.rows


def test_processes_of_this_machine_take_no_part(table, use_case, monkeypatch):
    monkeypatch.setattr(tables, "connected", None)
    contract = infer_contract(table.read(), use_case)
    expected = check_table_by_columns(
        replace(table, engine=EXTERNAL), contract, use_case, NOW, Passes()
    )
    with passes_of(table, DaskConfig(workers=2)) as way:
        assert type(way) is Passes
        assert check_table_by_columns(table, contract, use_case, NOW, way) == expected
