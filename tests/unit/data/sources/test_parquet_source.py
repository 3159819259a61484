"""Parquet: a file, a folder, a glob; parts that agree and parts that don't."""

from __future__ import annotations

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from evergreen.data.source_config import ParquetSource
from evergreen.data.sources import read_source
from evergreen.data.sources.streams import open_stream
from evergreen.errors import InputError


def _read(path):
    return read_source(ParquetSource(path=str(path)), environ={})


def _write(path, **columns):
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(columns).to_parquet(path)


def test_one_file(tmp_path):
    _write(tmp_path / "a.parquet", n=[1, 2], t=["x", None])
    frame = _read(tmp_path / "a.parquet")
    assert frame["n"].tolist() == [1, 2]
    assert str(frame["t"].dtype) == "str"


def test_a_folder_and_a_glob_are_read_in_order(tmp_path):
    for part in (2, 10, 1):
        _write(tmp_path / f"part-{part:02}.parquet", n=[part])
    (tmp_path / "_SUCCESS").touch()
    _write(tmp_path / "_tmp" / "part-99.parquet", n=[99])
    (tmp_path / ".part-01.parquet.crc").touch()
    assert _read(tmp_path)["n"].tolist() == [1, 2, 10]
    assert _read(f"{tmp_path}/")["n"].tolist() == [1, 2, 10]
    assert _read(tmp_path / "part-0*.parquet")["n"].tolist() == [1, 2]


def test_partition_folders_become_columns(tmp_path):
    _write(tmp_path / "year=2023" / "a.parquet", n=[1])
    _write(tmp_path / "year=2024" / "a.parquet", n=[2, 3])
    assert _read(tmp_path)["year"].tolist() == [2023, 2024, 2024]


def test_an_index_stored_by_pandas_stays_no_index(tmp_path):
    frame = pd.DataFrame({"a": [1, 2]}, index=[5, 7])
    frame.to_parquet(tmp_path / "unnamed.parquet")
    assert list(_read(tmp_path / "unnamed.parquet").columns) == ["a"]
    frame.rename_axis("day").to_parquet(tmp_path / "named.parquet")
    named = _read(tmp_path / "named.parquet")
    assert set(named.columns) == {"a", "day"}
    assert named.index.equals(pd.RangeIndex(2))


def test_parts_that_differ_only_in_storage_agree(tmp_path):
    _write(tmp_path / "1.parquet", a=[1], t=pd.Series([None], dtype=object))
    _write(tmp_path / "2.parquet", t=pd.Categorical(["x"]), a=[2])
    _write(tmp_path / "3.parquet", a=[3], t=["y"])
    frame = _read(tmp_path)
    assert frame["a"].tolist() == [1, 2, 3]
    assert frame["t"].tolist()[1:] == ["x", "y"]


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ({"a": [1]}, r"2\.parquet: column 'b' is missing"),
        ({"a": [1], "b": ["x"], "c": [1]}, r"2\.parquet: column 'c' is not in .*1\.parquet"),
        ({"a": [1.5], "b": ["x"]}, r"2\.parquet: column 'a' is double, but int64 in .*1\.parquet"),
    ],
)
def test_parts_that_differ_are_named_with_the_column(tmp_path, second, message):
    _write(tmp_path / "1.parquet", a=[1], b=["x"])
    _write(tmp_path / "2.parquet", **second)
    with pytest.raises(InputError, match=message):
        _read(tmp_path)


def test_a_damaged_file_is_named(tmp_path):
    (tmp_path / "bad.parquet").write_bytes(b"not parquet at all")
    with pytest.raises(InputError, match=r"bad\.parquet is no Parquet file, or is damaged"):
        _read(tmp_path / "bad.parquet")
    _write(tmp_path / "torn.parquet", a=list(range(10_000)))
    whole = (tmp_path / "torn.parquet").read_bytes()
    (tmp_path / "torn.parquet").write_bytes(whole[:200] + b"\xff" * 20_000 + whole[20_200:])
    with pytest.raises(InputError, match=r"torn\.parquet.*damaged"):
        _read(tmp_path / "torn.parquet")


def test_what_is_not_there_is_named(tmp_path):
    _write(tmp_path / "orders.parquet", a=[1])
    with pytest.raises(InputError, match=r"did you mean orders\.parquet"):
        _read(tmp_path / "order.parquet")
    with pytest.raises(InputError, match="no file matches"):
        _read(tmp_path / "x*.parquet")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"holds no \.parquet or \.pq file"):
        _read(tmp_path / "empty")
    _write(tmp_path / "none.parquet", a=[])
    with pytest.raises(InputError, match="no rows"):
        _read(tmp_path / "none.parquet")


def test_bytes_that_are_no_text_are_named(tmp_path):
    """By both ways of reading, in one piece and piece by piece."""
    source = ParquetSource(path=str(tmp_path / "odd.parquet"))
    words = pa.array(["Oslo", "Rome"]).buffers()
    for last, damaged in ((b"Rome", False), (b"\xff\xfeme", True)):
        buffers = [None, words[1], pa.py_buffer(b"Oslo" + last)]
        pq.write_table(
            pa.table({"city": pa.Array.from_buffers(pa.string(), 2, buffers)}), source.path
        )
        for read in (read_source, read_in_pieces):
            if not damaged:
                assert len(read(source)) == 2
                continue
            with pytest.raises(InputError, match=r"odd.parquet: column 'city' .* no UTF-8"):
                read(source)


def read_in_pieces(source: ParquetSource) -> pa.Table:
    stream = open_stream(source, piece_rows=1)
    return pa.concat_tables(stream.read(stream.names, 0))
