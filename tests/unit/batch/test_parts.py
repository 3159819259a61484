"""A table that is scored in parts and joined gives what it gives in one piece."""

from __future__ import annotations

import pytest

from evergreen.batch.parts import join_parts, score_part
from evergreen.batch.run import run_batch
from evergreen.errors import InputError
from tests.support.batch import boat_table, job, read


@pytest.fixture
def source(tmp_path):
    frame = boat_table()
    frame.loc[[3, 40, 99], "crew"] = 99  # refused
    path = tmp_path / "boats.parquet"
    frame.to_parquet(path)
    return path


def score(scored_job, of, folder):
    parts = []
    for number in reversed(range(of)):  # in whatever order they end
        (folder / f"part-{number}").mkdir(parents=True)
        parts.append(score_part(scored_job, number, of, folder / f"part-{number}"))
    return parts


def told(result):
    figures = {"seconds", "rows_per_second", "output", "rejected_output"}
    return result.model_dump(exclude=figures)


@pytest.mark.parametrize("output", ["parquet", "csv"])
@pytest.mark.parametrize(("of", "chunk_rows"), [(2, 7), (3, 33), (5, 40), (4, 1000)])
def test_the_output_is_the_same_to_the_last_byte(runtime, source, tmp_path, of, chunk_rows, output):
    def asked(name):
        target, records = tmp_path / f"{name}.{output}", tmp_path / f"records-{name}"
        return job(runtime, str(source), str(target), records, chunk_rows=chunk_rows)

    whole = run_batch(asked("whole"))
    joined = join_parts(asked("joined"), score(asked("joined"), of, tmp_path / "parts"))
    assert told(joined) == told(whole)
    assert joined.rejected == 3
    for kind in ("", ".rejected"):
        files = (tmp_path / f"{name}{kind}.{output}" for name in ("whole", "joined"))
        first, second = (file.read_bytes() for file in files)
        assert first == second


def test_a_joining_that_was_broken_off_goes_on(runtime, source, tmp_path):
    asked = job(
        runtime, str(source), str(tmp_path / "scored.parquet"), tmp_path / "records", chunk_rows=7
    )
    parts = score(asked, 2, tmp_path / "parts")

    def break_off(progress):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        join_parts(asked, parts, break_off)
    assert not (tmp_path / "scored.parquet").exists()
    result = join_parts(asked, parts)
    assert 0 < result.resumed_rows < result.rows == 100
    assert read(tmp_path / "scored.parquet")["row"].is_monotonic_increasing
    assert join_parts(asked, parts).status == "unchanged"


def test_parts_of_a_table_that_changed_are_not_joined(runtime, source, tmp_path):
    asked = job(runtime, str(source), str(tmp_path / "scored.parquet"), tmp_path / "records")
    parts = score(asked, 2, tmp_path / "parts")
    boat_table(50).to_parquet(source)
    with pytest.raises(InputError, match="was changed while it was read"):
        join_parts(asked, parts)
    assert not (tmp_path / "scored.parquet").exists()


def test_a_table_of_unknown_length_has_no_parts(runtime, source, tmp_path):
    boat_table().to_csv(tmp_path / "boats.csv", index=False)
    asked = job(
        runtime, str(tmp_path / "boats.csv"), str(tmp_path / "scored.csv"), tmp_path / "records"
    )
    with pytest.raises(InputError, match=r"batch\.partitions: .*boats\.csv"):
        score(asked, 2, tmp_path / "parts")
