"""A source written to disk piece by piece is the table that one reading of it gives."""

from __future__ import annotations

import datetime
import gzip
import tempfile

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa

from evergreen.data import ingest as ingesting
from evergreen.data.dataset import Dataset
from evergreen.data.engine import Engine
from evergreen.data.ingest import ingest
from evergreen.data.source_config import (
    CsvSource,
    ParquetSource,
    SklearnSource,
    SqlSource,
)
from evergreen.data.sources import read_source
from evergreen.errors import InputError, UnreachableError

EXTERNAL = Engine(name="external", reason="the test says so")


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    """Let five rows be a piece, so that a column's type changes from piece to piece."""
    monkeypatch.setattr(ingesting, "piece_rows", lambda columns: 5)


def odd_table() -> pd.DataFrame:
    """Return columns of which the first pieces say something else than the last ones."""
    rows = 23
    late = [None] * (rows - 1)
    moments = pd.date_range("2024-01-30", periods=rows, freq="7h").as_unit("us")
    return pd.DataFrame(
        {
            "count": np.arange(rows),
            "gappy count": [*range(rows - 1), None],
            "float at the end": [*range(rows - 1), 0.1],
            "text at the end": pd.Series([*map(str, range(rows - 1)), "x"], dtype="str"),
            "first at the end": pd.Series([*late, "x"], dtype="str"),
            "number at the end": [*([np.nan] * (rows - 1)), 2.5],
            "no value": [np.nan] * rows,
            "truth": [True, False] * 11 + [True],
            "single": np.arange(rows, dtype="float32") / 3,
            "moment": moments,
            "colour": pd.Series(["red", "blue", None] * 7 + ["red", "blue"], dtype="str"),
        }
    )


def require_the_same(source, tmp_path) -> Dataset:
    """Check that a source's dataset equals the one written from one reading of it."""
    piecewise = ingest(source, tmp_path / "pieces" / "p.parquet", EXTERNAL)
    frame = read_source(source)
    whole = Dataset.write(frame, tmp_path / "whole.parquet", piecewise.source)
    pd.testing.assert_frame_equal(piecewise.read(), whole.read())
    assert piecewise.fingerprint == whole.fingerprint
    assert piecewise.rows == len(frame)
    opened = Dataset.open(piecewise.path)
    assert opened == piecewise
    assert opened.engine == EXTERNAL
    return piecewise


def test_csv(tmp_path):
    path = tmp_path / "table.csv"
    odd_table().drop(columns="single").to_csv(path, index=False)
    require_the_same(CsvSource(type="csv", path=str(path)), tmp_path)


def test_csv_of_another_dialect(tmp_path):
    path = tmp_path / "table.csv.gz"
    table = pd.DataFrame({"a b": [1.5, None, -2.25] * 4, "c": ["ü", "unknown", "01"] * 4})
    with gzip.open(path, "wt", encoding="cp1252") as file:
        table.to_csv(file, index=False, sep=";", decimal=",")
    source = CsvSource(type="csv", path=str(path), missing=("unknown",), encoding="cp1252")
    found = require_the_same(source, tmp_path).read()
    assert found["c"].tolist()[2] == "01"
    assert found["c"].isna().sum() == 4


def test_parquet(tmp_path):
    folder = tmp_path / "lake"
    folder.mkdir()
    table = odd_table().assign(
        **{
            "no text": pd.Series([None] * 23, dtype="str"),
            "no moment": pd.Series([None] * 23, dtype="datetime64[ns]"),
            "no zoned moment": pd.Series([None] * 23, dtype="datetime64[ms, Europe/Berlin]"),
            "zoned moment": pd.date_range("2024-03-30", periods=23, freq="3h", tz="Europe/Berlin"),
            "gappy truth": pd.array([True, None, False] * 7 + [True, True], dtype="boolean"),
            "gap at the end": pd.array([*range(22), None], dtype="Int16"),
            "no integer": pd.array([None] * 23, dtype="Int64"),
            "small": np.arange(23, dtype="uint8"),
            "level": pd.Categorical(["a", "b", None] * 7 + ["a", "c"]),
            "day": [datetime.date(2024, 2, 29)] * 22 + [None],
            "list": [[1, 2], None] * 11 + [[3]],
        }
    )
    table.iloc[:11].to_parquet(folder / "1.parquet", index=False)
    table.iloc[11:].to_parquet(folder / "2.parquet", index=False)
    require_the_same(ParquetSource(type="parquet", path=f"{folder}/"), tmp_path)


@pytest.fixture
def sales(tmp_path) -> SqlSource:
    url = f"sqlite:///{tmp_path / 'shop.db'}"
    engine = sa.create_engine(url)
    odd_table().drop(columns=["single", "truth"]).to_sql("sales", engine, index=False)
    engine.dispose()
    return SqlSource(type="sql", url=url, table="sales")


def test_sql(sales, tmp_path):
    require_the_same(sales, tmp_path)


def test_what_can_be_read_once_is_kept_beside_the_table_for_a_while(sales, tmp_path, monkeypatch):
    places = []

    def mkdtemp(**settings) -> str:
        places.append(settings["dir"])
        return made(**settings)

    made = tempfile.mkdtemp
    monkeypatch.setattr(tempfile, "mkdtemp", mkdtemp)
    path = tmp_path / "state" / "table.parquet"
    ingest(sales, path, EXTERNAL)
    assert places == [path.parent]
    assert list(path.parent.iterdir()) == [path]


def test_pieces_that_cannot_be_kept_are_told(sales, tmp_path):
    (tmp_path / "state").write_text("a file where the folder should be")
    with pytest.raises(UnreachableError, match=r"Cannot write .*table.parquet"):
        ingest(sales, tmp_path / "state" / "table.parquet", EXTERNAL)


def test_a_library(tmp_path):
    require_the_same(SklearnSource(type="sklearn", name="wine"), tmp_path)


@pytest.mark.parametrize("text", ["", "a,b\n"])
def test_a_table_without_rows_is_refused_and_leaves_nothing(tmp_path, text):
    path = tmp_path / "empty.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=r"is empty|no rows"):
        ingest(CsvSource(type="csv", path=str(path)), tmp_path / "out" / "t.parquet", EXTERNAL)
    assert not list(tmp_path.glob("out/*"))


def test_uneven_lines_are_refused(tmp_path):
    path = tmp_path / "uneven.csv"
    path.write_text("a,b\n1,2\n3\n")
    with pytest.raises(InputError, match="line 3 has 1"):
        ingest(CsvSource(type="csv", path=str(path)), tmp_path / "t.parquet", EXTERNAL)
