"""How large a table is, without reading it, and the engine that follows from it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa

from evergreen.data import size as sizes
from evergreen.data.size import choose_engine, memory_limit, table_size
from evergreen.data.source_config import (
    CsvSource,
    HttpSource,
    ParquetSource,
    SklearnSource,
    SqlSource,
)

ROWS = 3_000


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    random = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "a": random.normal(size=ROWS),
            "b": random.integers(0, 1000, ROWS),
            "c": pd.Series(random.choice(["red", "green"], ROWS), dtype="str"),
        }
    )


@pytest.fixture(params=["parquet", "csv", "table", "query"])
def source(request, table, tmp_path):
    """The table in each kind of place that tells its size."""
    if request.param == "parquet":
        table.to_parquet(tmp_path / "t.parquet", index=False)
        return ParquetSource(type="parquet", path=str(tmp_path / "t.parquet"))
    if request.param == "csv":
        table.to_csv(tmp_path / "t.csv", index=False)
        return CsvSource(type="csv", path=str(tmp_path / "t.csv"))
    url = f"sqlite:///{tmp_path / 't.db'}"
    engine = sa.create_engine(url)
    table.to_sql("t", engine, index=False)
    engine.dispose()
    if request.param == "table":
        return SqlSource(type="sql", url=url, table="t")
    return SqlSource(type="sql", url=url, query="SELECT * FROM t WHERE c LIKE '%e%';")


def test_the_size_is_about_that_of_the_frame(source, table):
    size = table_size(source)
    assert size is not None
    assert size.rows == pytest.approx(ROWS, rel=0.05 if not size.exact_rows else 0)
    assert size.columns == 3
    in_memory = table.memory_usage(index=False, deep=True).sum()
    assert in_memory / 2 < size.bytes < in_memory * 2


def test_a_library_knows_its_size_and_the_web_does_not():
    wine = table_size(SklearnSource(type="sklearn", name="wine"))
    assert wine is not None
    assert (wine.rows, wine.exact_rows) == (178, True)
    web = HttpSource(type="http", url="http://localhost:1/rows.csv")
    assert table_size(web) is None
    assert choose_engine("auto", web).name == "memory"


def test_a_share_of_the_memory_decides(source, monkeypatch):
    size = table_size(source)
    assert size is not None
    monkeypatch.setattr(sizes, "memory_limit", lambda: int(size.bytes * 11))
    small = choose_engine("auto", source)
    monkeypatch.setattr(sizes, "memory_limit", lambda: int(size.bytes * 9))
    large = choose_engine("auto", source)
    assert (small.name, large.name) == ("memory", "external")
    assert "at most 10%" in small.reason
    assert "more than 10%" in large.reason


@pytest.mark.parametrize("wanted", ["memory", "external"])
def test_what_is_written_decides_without_a_look_at_the_table(wanted, monkeypatch):
    looked_at = []
    monkeypatch.setattr(sizes, "table_size", lambda source, environ: looked_at.append(source))
    nowhere = CsvSource(type="csv", path="/nowhere.csv")
    engine = choose_engine(wanted, nowhere)
    assert engine.name == wanted
    assert wanted in engine.reason
    assert looked_at == []
    choose_engine("auto", nowhere)
    assert looked_at == [nowhere]


def test_a_container_s_limit_counts(tmp_path, monkeypatch):
    whole = memory_limit()
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(sizes, "_LIMITS", (limit, tmp_path / "none"))
    limit.write_text("max")
    assert memory_limit() >= whole
    limit.write_text("1000000")
    assert memory_limit() == 1_000_000
