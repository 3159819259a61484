"""A table that was written in parts is the one that one process writes, however it is read."""

from __future__ import annotations

import shutil

import numpy as np
import pandas as pd
import pytest

from evergreen.data import fingerprint, ingest_parts
from evergreen.data import ingest as ingesting
from evergreen.data.dataset import Dataset
from evergreen.data.engine import Engine
from evergreen.data.ingest import ingest
from evergreen.data.ingest_parts import goes_in_parts, ingest_in_parts
from evergreen.data.source_config import CsvSource, ParquetSource
from evergreen.data.sources.streams import open_stream
from evergreen.errors import InputError, UnreachableError

DASK = Engine(name="dask", reason="the test says so")
ROWS = 83


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    """Let blocks have 4 rows, pieces 5 and parts 20."""
    monkeypatch.setattr(fingerprint, "BLOCK_ROWS", 4)
    monkeypatch.setattr(ingest_parts, "BLOCK_ROWS", 4)
    for module in (ingesting, ingest_parts):
        monkeypatch.setattr(module, "piece_rows", lambda columns: 5)


def lake(folder, rows: int = ROWS) -> ParquetSource:
    """Write columns of which the first parts say something else than the last ones."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(1)
    late = [None] * (rows - 1)
    frame = pd.DataFrame(
        {
            "number": np.where(random.random(rows) < 0.1, np.nan, random.normal(size=rows)),
            "count": np.arange(rows),
            "gap at the end": pd.array([*range(rows - 1), None], dtype="Int64"),
            "truth": pd.array([True, False] * (rows // 2) + [None], dtype="boolean"),
            "text": pd.Series(random.choice(["a", "b", None], rows), dtype="str"),
            "level": pd.Categorical([*late[:-1], "x", "y"]),
            "moment": pd.date_range("2024-03-30", periods=rows, freq="3h", tz="Europe/Berlin"),
            "no value": pd.array([None] * rows, dtype="Int64"),
        }
    )
    frame.iloc[:33].to_parquet(folder / "1.parquet", index=False, row_group_size=10)
    frame.iloc[33:].to_parquet(folder / "2.parquet", index=False, row_group_size=10)
    return ParquetSource(type="parquet", path=f"{folder}/")


@pytest.fixture
def source(tmp_path):
    return lake(tmp_path / "lake")


@pytest.fixture
def whole(source, tmp_path):
    return ingest(source, tmp_path / "whole.parquet", DASK)


@pytest.fixture
def parted(source, tmp_path):
    return ingest_in_parts(source, tmp_path / "parted" / "raw.parquet", DASK, map)


def test_it_is_the_same_table(whole, parted):
    assert parted.fingerprint == whole.fingerprint
    assert Dataset.open(parted.path) == parted
    assert (parted.rows, parted.columns, parted.source) == (ROWS, whole.columns, whole.source)
    assert parted.engine == DASK
    assert len(parted.files("raw.parquet")) == 1 + 5
    assert sum(parted.row_groups()) == ROWS


def test_it_is_read_alike(whole, parted):
    pd.testing.assert_frame_equal(parted.read(), whole.read())
    pd.testing.assert_frame_equal(parted.read(["text", "count"]), whole.read(["text", "count"]))
    pd.testing.assert_frame_equal(parted.read([]), whole.read([]))
    pd.testing.assert_frame_equal(parted.read_some(9, seed=3), whole.read_some(9, seed=3))
    taken = np.arange(ROWS) % 3 == 0
    names = ["moment", "truth"]
    pd.testing.assert_frame_equal(parted.read_where(taken, names), whole.read_where(taken, names))
    groups = [parted.read_row_group(n) for n in range(len(parted.row_groups()))]
    pd.testing.assert_frame_equal(
        pd.concat(groups, ignore_index=True), whole.read(), check_dtype=False
    )
    with pytest.raises(IndexError):
        parted.read_row_group(len(groups))


@pytest.mark.parametrize("rows", [None, 1, 7, 20, 100])
def test_pieces_have_the_same_rows(whole, parted, rows):
    pairs = zip(parted.pieces(rows=rows), whole.pieces(rows=rows), strict=True)
    for ours, theirs in pairs:
        pd.testing.assert_frame_equal(ours, theirs)


def test_it_goes_elsewhere_with_its_parts(parted, tmp_path):
    place = tmp_path / "elsewhere"
    for name, file in parted.files("other.parquet").items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, place / name)
    expected = parted.read()
    shutil.rmtree(parted.path.parent)
    pd.testing.assert_frame_equal(Dataset.open(place / "other.parquet").read(), expected)


@pytest.mark.parametrize("before", [0, 1])
def test_a_part_that_is_gone(parted, before):
    _, first, *_ = parted.files("raw.parquet").values()
    for _ in range(before):
        parted.read()
    first.unlink()
    with pytest.raises(UnreachableError, match="is gone"):
        parted.read()
    with pytest.raises(UnreachableError, match="is gone"):
        next(parted.pieces())
    with pytest.raises(UnreachableError, match="is gone"):
        parted.read_row_group(0)


def test_parts_are_not_shorter_than_what_is_decoded_together(source, tmp_path):
    path = tmp_path / "long.parquet"
    pd.read_parquet(source.path).to_parquet(path, row_group_size=41)
    long = ParquetSource(type="parquet", path=str(path))
    parted = ingest_in_parts(long, tmp_path / "long" / "raw.parquet", DASK, map)
    assert [Dataset.open(part).rows for part in list(parted.files("").values())[1:]] == [44, 39]
    assert parted.fingerprint == ingest(long, tmp_path / "whole.parquet", DASK).fingerprint


def test_a_worker_opens_the_files_once(source, tmp_path, monkeypatch):
    opened = []

    def counting(*arguments, **named):
        opened.append(arguments)
        return open_stream(*arguments, **named)

    monkeypatch.setattr(ingest_parts, "open_stream", counting)
    ingest_in_parts(source, tmp_path / "raw.parquet", DASK, map)
    assert len(opened) == 3  # at the beginning, for all parts, and at the end


def is_written(function) -> bool:
    """Tell the second way through a source from the first one, which looks at types."""
    return function.func is ingest_parts._write


def test_a_source_that_changes_meanwhile_leaves_nothing(source, tmp_path):
    def share(function, items):
        for number, item in enumerate(items):
            if number == 2 and is_written(function):
                lake(tmp_path / "lake", ROWS + 8)
            yield function(item)

    with pytest.raises(InputError, match="was changed while it was read"):
        ingest_in_parts(source, tmp_path / "out" / "raw.parquet", DASK, share)
    assert not list((tmp_path / "out").iterdir())


def test_one_that_changes_at_the_end_leaves_nothing(source, tmp_path):
    def share(function, items):
        yield from map(function, items)
        lake(tmp_path / "lake", ROWS + 8)

    with pytest.raises(InputError, match="was changed while it was read"):
        ingest_in_parts(source, tmp_path / "out" / "raw.parquet", DASK, share)
    assert not list((tmp_path / "out").iterdir())


def test_one_that_breaks_off_leaves_nothing(source, tmp_path):
    def share(function, items):
        for item in items:
            yield function(item)
            if is_written(function):
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ingest_in_parts(source, tmp_path / "out" / "raw.parquet", DASK, share)
    assert not list((tmp_path / "out").iterdir())


def test_without_rows(tmp_path):
    path = tmp_path / "empty.parquet"
    pd.DataFrame({"a": [1.5], "b": ["x"]}).iloc[:0].to_parquet(path)
    source = ParquetSource(type="parquet", path=str(path))
    with pytest.raises(InputError, match="there are no rows, only columns: a, b"):
        ingest_in_parts(source, tmp_path / "raw.parquet", DASK, map)


def test_what_goes_in_parts(source):
    assert goes_in_parts(source)
    assert not goes_in_parts(CsvSource(type="csv", path="x.csv"))
