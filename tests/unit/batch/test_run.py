"""Whole tables: what comes out, what is refused, and how odd inputs end."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from evergreen.batch.run import run_batch
from evergreen.errors import InputError, UnreachableError
from evergreen.serving.runtime import load_runtime
from evergreen.serving.settings import ServingConfig
from tests.support.batch import boat_table, expected, job, read


@pytest.fixture
def table(tmp_path):
    frame = boat_table()
    frame.to_parquet(tmp_path / "boats.parquet")
    return frame


def score(runtime, folder, output="scored.parquet", source="boats.parquet", **batch):
    source = source if isinstance(source, dict) or "://" in source else str(folder / source)
    target = output if "://" in output else f"{folder}/{output}"
    return run_batch(job(runtime, source, target, folder / "records", **batch))


def test_every_row_has_its_prediction(runtime, table, tmp_path):
    result = score(runtime, tmp_path, chunk_rows=7)
    found = read(tmp_path / "scored.parquet")
    labels = [f"probability_{label}" for label in ("calm", "gale", "storm")]
    assert list(found) == ["row", "seen", "prediction", "label", *labels, "model_version", "flags"]
    assert found["row"].tolist() == list(range(100))
    assert found["prediction"].tolist() == expected(runtime, table).tolist()
    assert found["label"].tolist() == found["prediction"].tolist()
    assert found["seen"].tolist() == table["seen"].tolist()
    np.testing.assert_allclose(found[labels].sum(axis=1), 1)
    assert set(found["model_version"]) == {"3"}
    assert (result.rows, result.accepted, result.chunks) == (100, 100, 15)
    assert not (tmp_path / "scored.rejected.parquet").exists()
    assert not list(tmp_path.glob(".scored*"))


@pytest.mark.parametrize("output", ["scored/", "scored.csv", "sqlite:///{}/scored.db#scored"])
def test_other_outputs_hold_the_same(runtime, table, tmp_path, output):
    table.loc[3, "crew"] = 99
    table.to_parquet(tmp_path / "boats.parquet")
    score(runtime, tmp_path, "whole.parquet")
    score(runtime, tmp_path, output.format(tmp_path), chunk_rows=30)
    whole, refused = read(tmp_path / "whole.parquet"), read(tmp_path / "whole.rejected.parquet")
    if output.startswith("sqlite"):
        with closing(sqlite3.connect(tmp_path / "scored.db")) as connection:
            found = pd.read_sql("SELECT * FROM scored ORDER BY row", connection)
            other = pd.read_sql("SELECT * FROM scored_rejected", connection)
            names = connection.execute("SELECT name FROM sqlite_master WHERE type='table'")
            tables = {name for (name,) in names}
        assert tables == {"scored", "scored_rejected", "evergreen_batch_progress"}
    elif output.endswith("/"):
        found, other = read(tmp_path / "scored"), read(tmp_path / "scored.rejected")
        assert len(list((tmp_path / "scored").iterdir())) == 4
    else:
        found = pd.read_csv(tmp_path / "scored.csv")
        other = pd.read_csv(tmp_path / "scored.rejected.csv")
    assert len(found) == 99
    for name in ("row", "prediction", "label"):
        assert found[name].tolist() == whole[name].tolist()
    np.testing.assert_allclose(found["probability_gale"], whole["probability_gale"], rtol=1e-15)
    assert other["row"].tolist() == refused["row"].tolist() == [3]


def test_refused_rows_are_kept_apart_with_every_reason(runtime, table, tmp_path):
    odd = table.astype({"crew": object, "harbour": object})
    odd["crew"] = odd["crew"].astype(int).astype(str)
    odd.loc[1, "crew"] = "abc"
    odd.loc[2, ["crew", "harbour"]] = ["13", "Rome"]
    odd.loc[4, "mast / height"] = np.inf
    odd.loc[5, "crew"] = None
    odd.to_parquet(tmp_path / "odd.parquet")
    result = score(runtime, tmp_path, source="odd.parquet", chunk_rows=3)
    refused = read(tmp_path / "scored.rejected.parquet").set_index("row")
    assert {row: list(texts) for row, texts in refused["reasons"].items()} == {
        1: ["crew: must be a whole number, but is 'abc'"],
        2: ["crew: is 13, above 12", "harbour: is 'Rome', an unknown category"],
        4: ["mast / height: must be finite and at most 3.4e+38 in size"],
        5: ["crew: is missing"],
    }
    assert refused.loc[1, "crew"] == "abc"
    found = read(tmp_path / "scored.parquet")
    assert found["row"].tolist() == [row for row in range(100) if row not in refused.index]
    whole = expected(runtime, table)
    assert found["prediction"].tolist() == whole[found["row"]].tolist()
    assert (result.accepted, result.rejected) == (96, 4)


def test_flags_stand_beside_the_answers(runtime, table, tmp_path):
    table.loc[2, "crew"], table.loc[2, "harbour"] = 99, "Rome"
    table.loc[9, "mast / height"] = -1
    table.to_parquet(tmp_path / "boats.parquet")
    flags = {"out_of_range": "flag", "unknown_category": "flag"}
    result = score(runtime, tmp_path, **flags)
    found = read(tmp_path / "scored.parquet")["flags"]
    flagged = {row: list(many) for row, many in found.items() if len(many)}
    assert flagged == {
        2: ["out_of_range:crew", "unknown_category:harbour"],
        9: ["out_of_range:mast / height"],
    }
    assert (result.flagged, result.rejected) == (2, 0)


def test_policies_are_those_of_serving_unless_batch_has_its_own(runtime, table, tmp_path):
    table.loc[2, "crew"] = 99
    table.to_parquet(tmp_path / "boats.parquet")
    source = str(tmp_path / "boats.parquet")
    lenient = ServingConfig(out_of_range="flag")
    one = job(runtime, source, f"{tmp_path}/one.parquet", tmp_path / "r", lenient)
    two = job(
        runtime, source, f"{tmp_path}/two.parquet", tmp_path / "r", lenient, out_of_range="reject"
    )
    assert run_batch(one).rejected == 0
    assert run_batch(two).rejected == 1


def test_csv_with_a_wrong_cell_loses_that_row_alone(runtime, table, tmp_path):
    table["crew"] = table["crew"].astype(int).astype(str)
    table.loc[50, "crew"] = "abc"
    table.to_csv(tmp_path / "boats.csv", index=False)
    result = score(runtime, tmp_path, source="boats.csv", chunk_rows=13)
    assert (result.accepted, result.rejected) == (99, 1)
    found = read(tmp_path / "scored.parquet")
    assert (
        found["prediction"].tolist()
        == expected(runtime, table.drop(index=50).astype({"crew": float})).tolist()
    )


def test_all_rows_refused(runtime, table, tmp_path):
    table.assign(crew=-1.0).to_parquet(tmp_path / "boats.parquet")
    result = score(runtime, tmp_path, chunk_rows=30)
    assert (result.accepted, result.rejected, result.rejected_share) == (0, 100, 1.0)
    assert len(read(tmp_path / "scored.parquet")) == 0
    assert len(read(tmp_path / "scored.rejected.parquet")) == 100


@pytest.mark.parametrize("source", ["boats.parquet", "boats.csv"])
@pytest.mark.parametrize("output", ["scored.parquet", "scored.csv", "scored/"])
def test_no_rows_give_an_output_without_rows(runtime, table, tmp_path, source, output):
    none = table.iloc[:0]
    none.to_parquet(tmp_path / "boats.parquet")
    none.to_csv(tmp_path / "boats.csv", index=False)
    result = score(runtime, tmp_path, output, source)
    assert (result.rows, result.rejected_share) == (0, 0.0)
    target = tmp_path / output
    found = pd.read_csv(target) if output.endswith("csv") else read(target)
    assert len(found) == 0
    assert "probability_storm" in found


def test_missing_columns_are_named(runtime, table, tmp_path):
    table.drop(columns=["crew", "built"]).to_parquet(tmp_path / "boats.parquet")
    with pytest.raises(InputError, match="lacks the columns 'crew', 'built' that the model takes"):
        score(runtime, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["boats.parquet"]


def test_unknown_columns(runtime, table, tmp_path):
    table.assign(order=1, wind="calm").to_parquet(tmp_path / "boats.parquet")
    with pytest.raises(InputError, match="'order'"):
        score(runtime, tmp_path, extra_fields="reject")
    score(runtime, tmp_path, keep=["order"])
    assert read(tmp_path / "scored.parquet")["order"].tolist() == [1] * 100
    with pytest.raises(InputError, match=r"'ordr' that batch\.keep names"):
        score(runtime, tmp_path, "other.parquet", keep=["ordr"])


def test_all_columns_kept_even_where_a_name_is_ours(runtime, table, tmp_path):
    table.assign(wind="calm", label="mine").to_parquet(tmp_path / "boats.parquet")
    score(runtime, tmp_path, keep="all")
    found = read(tmp_path / "scored.parquet")
    assert set(found["input.label"]) == {"mine"}
    assert {"wind", "mast / height", "licensed"} <= set(found)


def test_a_regression(tmp_path, table):
    from tests.support.models import write_small_bundle

    runtime = load_runtime(write_small_bundle(tmp_path / "bundle", "regression").folder, "3")
    score(runtime, tmp_path)
    found = read(tmp_path / "scored.parquet")
    assert list(found) == ["row", "seen", "prediction", "model_version", "flags"]
    np.testing.assert_allclose(found["prediction"], expected(runtime, table))


def test_an_output_of_another_run_stays_unless_it_may_go(runtime, table, tmp_path):
    (tmp_path / "scored.parquet").write_text("precious")
    with pytest.raises(InputError, match=r"is there already, from another run.*--overwrite"):
        score(runtime, tmp_path)
    assert (tmp_path / "scored.parquet").read_text() == "precious"
    score(runtime, tmp_path, overwrite=True)
    assert len(read(tmp_path / "scored.parquet")) == 100


def test_a_folder_is_replaced_whole(runtime, table, tmp_path):
    score(runtime, tmp_path, "scored/", chunk_rows=10)
    with pytest.raises(InputError, match="is there already"):
        score(runtime, tmp_path, "scored/", chunk_rows=50)
    score(runtime, tmp_path, "scored/", chunk_rows=50, overwrite=True)
    assert len(list((tmp_path / "scored").iterdir())) == 2


def test_the_same_run_again_finds_nothing_to_do(runtime, table, tmp_path):
    for output in ("scored.parquet", "scored/", f"sqlite:///{tmp_path}/a.db#scored"):
        assert score(runtime, tmp_path, output).status == "scored"
        again = score(runtime, tmp_path, output)
        assert (again.status, again.rows, again.resumed_rows) == ("unchanged", 100, 100)
    (tmp_path / "scored.parquet").write_text("changed by hand")
    with pytest.raises(InputError, match="is there already"):
        score(runtime, tmp_path)


def test_a_changed_table_is_not_the_same_run(runtime, table, tmp_path):
    score(runtime, tmp_path)
    table.iloc[:50].to_parquet(tmp_path / "boats.parquet")
    with pytest.raises(InputError, match="is there already"):
        score(runtime, tmp_path)


def test_refused_rows_of_an_earlier_run_do_not_stay(runtime, table, tmp_path):
    table.assign(crew=99.0).to_parquet(tmp_path / "boats.parquet")
    score(runtime, tmp_path)
    table.to_parquet(tmp_path / "boats.parquet")
    score(runtime, tmp_path, overwrite=True)
    assert not (tmp_path / "scored.rejected.parquet").exists()


def test_an_output_that_cannot_be_written(runtime, table, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UnreachableError, match="Cannot write"):
        score(runtime, tmp_path, "file/scored.parquet")


def test_a_table_in_one_sqlite_file_with_its_output(runtime, table, tmp_path):
    url = f"sqlite:///{tmp_path}/a.db"
    with closing(sqlite3.connect(tmp_path / "a.db")) as connection:
        table.to_sql("boats", connection, index=False)
    with pytest.raises(InputError, match="cannot do both at once"):
        score(runtime, tmp_path, f"{url}#scored", f"{url}#boats")


def test_a_sql_table(runtime, table, tmp_path):
    with closing(sqlite3.connect(tmp_path / "a.db")) as connection:
        table.to_sql("boats", connection, index=False)
    score(runtime, tmp_path, source=f"sqlite:///{tmp_path}/a.db#boats", chunk_rows=30)
    found = read(tmp_path / "scored.parquet")
    assert found["prediction"].tolist() == expected(runtime, table).tolist()


def test_answers_that_are_no_number_are_refused(runtime, table, tmp_path):
    class Extreme:
        """Answers as an overflow does."""

        def __getattr__(self, name):
            return getattr(runtime, name)

        def predict(self, batch):
            outputs = runtime.predict(batch)
            outputs.probabilities[batch["crew"] == 3] = np.nan
            return outputs

    score(Extreme(), tmp_path, chunk_rows=20)
    refused = read(tmp_path / "scored.rejected.parquet")
    assert refused["row"].tolist() == np.flatnonzero(table["crew"] == 3).tolist()
    assert "no answer" in refused["reasons"][0][0]


def test_a_kept_column_that_changes_its_type(runtime, table, tmp_path):
    with closing(sqlite3.connect(tmp_path / "a.db")) as connection:
        table.to_sql("boats", connection, index=False)
    orders = "CASE WHEN rowid <= 50 THEN rowid ELSE 'x' END"
    query = {"query": f'SELECT *, {orders} AS "order" FROM boats ORDER BY rowid'}
    source = {"type": "sql", "url": f"sqlite:///{tmp_path}/a.db", **query}
    with pytest.raises(InputError, match=r"'order' holds int64 at first.*batch\.keep"):
        score(runtime, tmp_path, source=source, chunk_rows=50, keep=["order"])
    assert not (tmp_path / "scored.parquet").exists()


def test_a_damaged_file_says_so(runtime, table, tmp_path):
    content = (tmp_path / "boats.parquet").read_bytes()
    (tmp_path / "boats.parquet").write_bytes(content[:200] + b"\0" * 400 + content[600:])
    with pytest.raises(InputError, match="damaged"):
        score(runtime, tmp_path)


def test_other_numbers_of_row_groups_make_no_difference(runtime, table, tmp_path):
    with pq.ParquetWriter(
        tmp_path / "boats.parquet", pa.Schema.from_pandas(table, preserve_index=False)
    ) as writer:
        for start in range(0, 100, 9):
            part = table.iloc[start : start + 9]
            writer.write_table(pa.Table.from_pandas(part, preserve_index=False))
    score(runtime, tmp_path, chunk_rows=16, threads=3)
    found = read(tmp_path / "scored.parquet")
    assert found["prediction"].tolist() == expected(runtime, table).tolist()
