"""Datasets: what is written is read back, whole or not at all."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evergreen.data import dataset as datasets
from evergreen.data.dataset import Dataset
from evergreen.data.dataset_writer import StoredColumn, writing
from evergreen.data.engine import IN_MEMORY, Engine
from evergreen.errors import InputError, UnreachableError


def _mixed_frame() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "od280/od315 of wine": [1.5, np.nan, np.inf],
            "text": pd.Series(["a", None, "ü"], dtype="str"),
            "category": pd.Series(["a", None, "3"], dtype=object),
            "flags": pd.Series([True, False, True], dtype=object),
            "flags with gaps": pd.Series([True, None, True], dtype=object),
            "numbers with gaps": pd.Series([1, None, 2], dtype=object),
            "nothing": pd.Series([None, None, None], dtype=object),
            "count": np.array([1, 2, 2**62], dtype="int64"),
            "day": pd.array(["2024-02-29", None, "1999-12-31"], dtype="datetime64[s]"),
            "zone": pd.array(["2024-02-29", None, "1999-12-31"], dtype="datetime64[s, UTC]"),
            "time": pd.to_datetime(["2024-02-29T12:00", None, "1999-12-31T00:00"]).astype(
                "datetime64[us]"
            ),
        }
    )


def test_a_table_comes_back_with_its_dtypes_and_values(tmp_path):
    frame = _mixed_frame()
    written = Dataset.write(frame, tmp_path / "deep" / "table.parquet", source="csv x.csv")
    opened = Dataset.open(written.path)
    assert opened == written
    assert (opened.rows, opened.columns, opened.source) == (3, tuple(frame.columns), "csv x.csv")
    back = opened.read()
    pd.testing.assert_frame_equal(back, frame)
    assert back["category"][1] is None
    assert back["flags"][0] is True
    assert back["numbers with gaps"][2] == 2
    assert isinstance(back["numbers with gaps"][2], int)
    again = Dataset.write(back, tmp_path / "again.parquet")
    assert again.fingerprint == written.fingerprint


def test_columns_are_read_in_the_order_asked(tmp_path):
    dataset = Dataset.write(_mixed_frame(), tmp_path / "t.parquet")
    assert list(dataset.read(["count", "text"]).columns) == ["count", "text"]
    with pytest.raises(InputError, match="no column 'cuont'; did you mean 'count'"):
        dataset.read(["cuont"])


@pytest.mark.parametrize("values", [1, 4, 9, 100])
def test_a_table_is_read_some_columns_at_a_time(tmp_path, monkeypatch, values):
    frame = pd.DataFrame(
        {
            "number": [1.0, None, 3.0],
            "text": pd.Series(["a", None, "b"], dtype=object),
            "moment": pd.date_range("2024-01-01", periods=3).as_unit("s"),
            "flag": [True, False, True],
            "count": [1, 2, 3],
        }
    )
    stored = Dataset.write(frame, tmp_path / "t.parquet")
    monkeypatch.setattr(datasets, "PIECE_VALUES", values)

    pd.testing.assert_frame_equal(stored.read(), frame)
    pd.testing.assert_frame_equal(stored.read(["count", "text"]), frame[["count", "text"]])
    assert stored.read([]).shape == (3, 0)


@pytest.mark.parametrize(
    "frame", [pd.DataFrame(), pd.DataFrame({"a": pd.Series([], dtype=object)})]
)
def test_a_table_without_rows_comes_back(tmp_path, frame):
    back = Dataset.write(frame, tmp_path / "t.parquet").read()
    assert back.shape == frame.shape
    assert list(back.columns) == list(frame.columns)


def test_the_index_is_no_column(tmp_path):
    frame = pd.DataFrame({"a": [1, 2]}, index=pd.Index(["x", "y"], name="key"))
    back = Dataset.write(frame, tmp_path / "t.parquet").read()
    assert list(back.columns) == ["a"]
    assert isinstance(back.index, pd.RangeIndex)


def test_the_fingerprint_notices_every_change(tmp_path):
    frame = _mixed_frame()
    variants = [
        frame,
        frame.iloc[::-1],
        frame.iloc[:2],
        frame[frame.columns[::-1]],
        frame.rename(columns={"count": "counts"}),
        frame.astype({"count": "float64"}),
        frame.assign(text=["a", "b", "ü"]),
        frame.assign(text=pd.Series(["a", "", "ü"], dtype="str")),
        frame.assign(text=pd.Series(["aü", None, ""], dtype="str")),
        frame.assign(category=pd.Series(["a3", None, ""], dtype=object)),
        frame.assign(flags=pd.Series([True, True, True], dtype=object)),
        frame.assign(count=[1, 2, 3]),
    ]
    prints = [_fingerprint(variant, tmp_path) for variant in variants]
    assert len(set(prints)) == len(variants)
    assert _fingerprint(frame.set_axis([7, 8, 9]), tmp_path) == prints[0]


def test_the_fingerprint_is_the_same_in_another_process(tmp_path):
    script = (
        "import sys; import pandas as pd; from evergreen.data.dataset import Dataset;"
        "frame = pd.DataFrame({'a': ['x', None], 'b': [1.5, 2.0], 'c': [True, None]});"
        "print(Dataset.write(frame, sys.argv[1]).fingerprint)"
    )
    seeds = [{**os.environ, "PYTHONHASHSEED": seed} for seed in ("1", "2")]
    command = [sys.executable, "-c", script, str(tmp_path / "other.parquet")]
    printed = {
        subprocess.run(command, env=env, capture_output=True, check=True).stdout.decode().strip()
        for env in seeds
    }
    frame = pd.DataFrame({"a": ["x", None], "b": [1.5, 2.0], "c": [True, None]})
    assert printed == {_fingerprint(frame, tmp_path)}


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    numbers=st.lists(st.floats(allow_nan=True), min_size=1, max_size=6),
    names=st.lists(st.text(min_size=1).filter(lambda t: t.isprintable()), max_size=3, unique=True),
)
def test_any_numbers_under_any_names_survive(tmp_path, numbers, names):
    frame = pd.DataFrame(dict.fromkeys(names, numbers), index=range(len(numbers)))
    dataset = Dataset.write(frame, tmp_path / "t.parquet")
    pd.testing.assert_frame_equal(
        dataset.read(), frame, check_index_type=False, check_column_type=False
    )


def test_columns_that_cannot_be_stored_are_named(tmp_path):
    with pytest.raises(InputError, match="'b' mixes kinds"):
        Dataset.write(pd.DataFrame({"a": [1, 2], "b": [1, "x"]}), tmp_path / "t.parquet")
    with pytest.raises(InputError, match="more than once: a"):
        Dataset.write(pd.DataFrame([[1, 2]], columns=["a", "a"]), tmp_path / "t.parquet")
    with pytest.raises(InputError, match="must be text; 0 is int"):
        Dataset.write(pd.DataFrame([[1, 2]]), tmp_path / "t.parquet")
    with pytest.raises(InputError, match="'a' holds nested values"):
        Dataset.write(pd.DataFrame({"a": [[1], [2]]}), tmp_path / "t.parquet")


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "t.parquet"
    Dataset.write(pd.DataFrame({"a": [1]}), path)
    script = (
        "import resource, sys, numpy, pandas\n"
        "from evergreen.data.dataset import Dataset\n"
        "from evergreen.errors import UnreachableError\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, resource.RLIM_INFINITY))\n"
        "frame = pandas.DataFrame({'a': numpy.random.default_rng(0).normal(size=100_000)})\n"
        "try: Dataset.write(frame, sys.argv[1])\n"
        "except UnreachableError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, path], capture_output=True, check=True, text=True
    )
    assert f"Cannot write {path}: File too large" in done.stdout
    assert Dataset.open(path).rows == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["t.parquet"]


def test_an_unwritable_folder_is_unreachable(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UnreachableError, match=r"Cannot write .*EVERGREEN_HOME"):
        Dataset.write(pd.DataFrame({"a": [1]}), tmp_path / "file" / "t.parquet")


def test_missing_damaged_and_foreign_files_say_so(tmp_path):
    with pytest.raises(UnreachableError, match="is gone"):
        Dataset.open(tmp_path / "no.parquet")
    damaged = tmp_path / "damaged.parquet"
    damaged.write_bytes(b"PAR1 and then nothing")
    with pytest.raises(InputError, match="damaged"):
        Dataset.open(damaged)
    foreign = tmp_path / "foreign.parquet"
    pd.DataFrame({"a": [1]}).to_parquet(foreign)
    with pytest.raises(InputError, match="not a dataset"):
        Dataset.open(foreign)


def test_a_dataset_is_an_ordinary_parquet_file(tmp_path):
    dataset = Dataset.write(_mixed_frame(), tmp_path / "t.parquet")
    assert pq.read_table(dataset.path).num_rows == 3


def test_columns_of_several_row_groups_are_put_together(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets, "ROW_GROUP", 3)
    frame = pd.DataFrame(
        {
            "whole": np.linspace(-1, 1, 8),
            "gaps": [np.nan, 1.5, 2.5, np.nan, np.nan, np.nan, -0.0, np.inf],
            "single": np.arange(8, dtype=np.float32) / 3,
            "count": np.arange(8),
            "text": ["a", None, "b", None, None, None, "a", "c"],
            "truth": [True, None, False, None, None, None, True, True],
            "moment": pd.date_range("2024-01-01", periods=8, unit="us"),
        }
    )
    stored = Dataset.write(frame, tmp_path / "table.parquet")
    assert len(stored.row_groups()) == 3
    pd.testing.assert_frame_equal(stored.read(), frame, check_exact=True)
    pd.testing.assert_frame_equal(stored.read(["gaps", "text"]), frame[["gaps", "text"]])
    assert np.signbit(stored.read(["gaps"])["gaps"][6])
    assert len(stored.read([])) == 8


def test_row_groups_are_read_one_by_one(tmp_path, monkeypatch):
    monkeypatch.setattr("evergreen.data.dataset.ROW_GROUP", 4)
    frame = pd.DataFrame({"a": range(10), "b": [*"abcdefghij"]}).astype({"b": "object"})
    stored = Dataset.write(frame, tmp_path / "t.parquet")
    assert stored.row_groups() == (4, 4, 2)
    expected = frame.iloc[4:8].reset_index(drop=True)
    pd.testing.assert_frame_equal(stored.read_row_group(1), expected)
    pd.testing.assert_frame_equal(stored.read_row_group(1, ["b"]), expected[["b"]])
    with pytest.raises(InputError, match="no column 'c'"):
        stored.read_row_group(1, ["c"])
    stored.path.unlink()
    with pytest.raises(UnreachableError, match="is gone"):
        stored.row_groups()


@pytest.mark.parametrize("engine", [IN_MEMORY, Engine(name="external"), Engine(name="dask")])
def test_columns_of_many_and_of_few_values_come_back(tmp_path, monkeypatch, engine):
    monkeypatch.setattr("evergreen.data.dataset.ROW_GROUP", 7_000)
    random = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "many": random.normal(size=30_000),
            "few": random.integers(0, 9, 30_000),
            "gappy": np.where(random.random(30_000) < 0.5, np.nan, random.normal(size=30_000)),
            "long.text": pd.Series(random.random(30_000).astype(str), dtype="str"),
            "text": pd.Series(random.choice(["a", "b", None], 30_000), dtype=object),
        }
    )
    stored = Dataset.write(frame, tmp_path / "t.parquet", engine=engine)
    pd.testing.assert_frame_equal(stored.read(), frame)
    places = pq.read_metadata(stored.path).row_group(0)
    codecs = {places.column(n).path_in_schema: places.column(n).compression for n in range(5)}
    numbers = "ZSTD" if engine.name == "external" else "UNCOMPRESSED"
    assert codecs == {
        "many": numbers,
        "few": numbers,
        "gappy": numbers,
        "long.text": "ZSTD",
        "text": "ZSTD",
    }


def _fingerprint(frame: pd.DataFrame, folder: Path) -> str:
    return Dataset.write(frame, folder / "fingerprinted.parquet").fingerprint


@pytest.mark.parametrize("engine", [IN_MEMORY, Engine(name="external")])
@pytest.mark.parametrize("kind", [np.float64, np.float32])
def test_numbers_that_miss_come_back_with_the_same_bits(tmp_path, engine, kind):
    numbers = np.array([1.5, np.nan, -np.nan, -0.0, np.inf], dtype=kind)
    layout = {"x": StoredColumn(np.dtype(kind).name, pa.from_numpy_dtype(kind))}
    frame = pd.DataFrame({"x": numbers})
    with writing(tmp_path / "t.parquet", layout, engine=engine) as written:
        written.add(frame)

    read = written.dataset.read()["x"].to_numpy()

    assert read.dtype == kind
    assert read.tobytes() == np.array([1.5, np.nan, np.nan, -0.0, np.inf], dtype=kind).tobytes()
    assert np.signbit(numbers[2])  # what was handed over is left alone
    assert written.dataset.fingerprint == Dataset.write(frame, tmp_path / "u.parquet").fingerprint
