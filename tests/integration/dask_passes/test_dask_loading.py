"""A source that Dask workers write to disk is the table that one process writes."""

from __future__ import annotations

import logging
from functools import partial

import pandas as pd
import pytest
from distributed import Client

from evergreen.dask import loading, pieces, tables
from evergreen.dask.loading import ingest_on_dask
from evergreen.dask.pieces import map_pieces_or_do_them
from evergreen.dask.settings import DaskConfig
from evergreen.dask.tables import passes_of
from evergreen.data import ingest_parts
from evergreen.data.dataset import Dataset
from evergreen.data.engine import Engine
from evergreen.data.ingest import ingest
from evergreen.data.source_config import CsvSource, ParquetSource
from evergreen.errors import InputError
from evergreen.paths import Home
from tests.support.dask_pieces import fall_at_a_file, fall_in_any_worker
from tests.support.engines import sales

pytestmark = pytest.mark.timeout(300)
DASK = Engine(name="dask", reason="the test says so")
ROWS = 300_000  # of which a block of the fingerprint has 65,536


@pytest.fixture(scope="module")
def frame():
    return sales(ROWS).assign(count=pd.array([*range(ROWS - 1), None], dtype="Int64"))


@pytest.fixture
def source(frame, tmp_path):
    path = tmp_path / "sales.parquet"
    frame.to_parquet(path, row_group_size=50_000)
    return ParquetSource(type="parquet", path=str(path))


@pytest.fixture
def target():
    """Where the workers of the cluster write, too."""
    folder = Home.locate().scratch
    folder.mkdir(parents=True)
    return folder / "raw.parquet"


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(ingest_parts, "PIECES", 1)
    monkeypatch.setattr(ingest_parts, "piece_rows", lambda columns: 70_000)


def require_same(table: Dataset, source, tmp_path) -> None:
    whole = ingest(source, tmp_path / "whole.parquet", DASK)
    assert table.fingerprint == whole.fingerprint
    pd.testing.assert_frame_equal(table.read(), whole.read())


def test_both_workers_write_parts_of_it(source, target, config, cluster, tmp_path):
    with Client(cluster.address, set_as_default=False) as observer:
        observer.get_task_stream()
        table = ingest_on_dask(source, target, DASK, config)
        stream = [each for each in observer.get_task_stream() if "_write" in each["key"]]
    assert len(table.files("raw.parquet")) == 1 + 5
    assert len(stream) == 5
    assert len({each["worker"] for each in stream}) == 2
    require_same(table, source, tmp_path)
    with passes_of(table, config) as way:  # who goes through it finds its parts
        assert sum(way.over_rows(len, table)) == ROWS


def test_a_killed_workers_part_is_written_by_the_other(
    source, target, config, tmp_path, monkeypatch
):
    def falling(client, function, items):
        return map_pieces_or_do_them(client, partial(fall_at_a_file, mark, function), items)

    mark = tmp_path / "fallen"
    monkeypatch.setattr(loading, "map_pieces_or_do_them", falling)
    table = ingest_on_dask(source, target, DASK, config)
    assert mark.exists()
    require_same(table, source, tmp_path)


@pytest.mark.long
def test_what_no_worker_can_write_is_written_here(
    source, target, config, tmp_path, monkeypatch, caplog
):
    def falling(client, function, items):
        return map_pieces_or_do_them(client, partial(fall_in_any_worker, function), items)

    monkeypatch.setattr(pieces, "ATTEMPTS", 1)
    monkeypatch.setattr(loading, "map_pieces_or_do_them", falling)
    with caplog.at_level(logging.WARNING, logger="evergreen"):
        table = ingest_on_dask(source, target, DASK, config)
    assert "What is left of it is done here" in caplog.text
    require_same(table, source, tmp_path)


def test_several_files_on_different_disks(frame, target, config, tmp_path, monkeypatch):
    folder = tmp_path / "lake"
    folder.mkdir()
    for number, start in enumerate(range(0, ROWS, 110_000)):
        part = frame.iloc[start : start + 110_000]
        part.to_parquet(folder / f"{number}.parquet", row_group_size=50_000, index=False)
    source = ParquetSource(type="parquet", path=f"{folder}/")
    table = ingest_on_dask(source, target, DASK, config)
    require_same(table, source, tmp_path)

    def refuse(*_):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(tables.os, "link", refuse)
    with passes_of(table, config) as way:
        assert sum(way.over_rows(len, table)) == ROWS


def test_what_workers_do_not_see_is_loaded_here(
    source, target, config, tmp_path, monkeypatch, caplog
):
    monkeypatch.setenv("LAKE", source.path)  # the workers lack it
    named = ParquetSource(type="parquet", path="${LAKE}")
    with caplog.at_level(logging.WARNING, logger="evergreen"):
        table = ingest_on_dask(named, target, DASK, config)
    assert "This process loads the table alone" in caplog.text
    assert "LAKE" in caplog.text
    assert len(table.files("raw.parquet")) == 1
    require_same(table, source, tmp_path)


def test_a_text_file_is_loaded_here(frame, target, config, tmp_path, monkeypatch):
    path = tmp_path / "sales.csv"
    frame.iloc[:100].to_csv(path, index=False)
    monkeypatch.setattr(loading, "ingest_in_parts", None)
    source = CsvSource(type="csv", path=str(path))
    assert ingest_on_dask(source, target, DASK, config).rows == 100


def test_processes_of_this_machine_take_no_part(source, target, monkeypatch):
    monkeypatch.setattr(loading, "connected", None)
    assert ingest_on_dask(source, target, DASK, DaskConfig(workers=2)).rows == ROWS


def test_a_source_that_is_not_there(target, config, tmp_path):
    source = ParquetSource(type="parquet", path=str(tmp_path / "none.parquet"))
    with pytest.raises(InputError, match=r"none\.parquet does not exist"):
        ingest_on_dask(source, target, DASK, config)
