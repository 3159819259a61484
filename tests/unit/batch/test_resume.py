"""A run that is broken off and run again gives what an unbroken one gives."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, suppress
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evergreen.batch import files, staging
from evergreen.batch.database import DatabaseSink
from evergreen.batch.files import FileSink
from evergreen.batch.run import run_batch
from evergreen.errors import UnreachableError
from tests.support.batch import boat_table, expected, job, read

ROOT = Path(__file__).resolve().parents[3]
ROWS, CHUNK = 60, 7


class Stopped(BaseException):
    """The process ends here, without a word."""


def odd_table() -> pd.DataFrame:
    frame = boat_table(ROWS)
    frame.loc[[3, 20, 41], "crew"] = 99
    return frame


def contents(folder: Path, kind: str) -> list[tuple]:
    """Return accepted and refused rows of whatever output."""
    if kind == "sql":
        with closing(sqlite3.connect(folder / "scored.db")) as connection:
            names = ("scored", "scored_rejected")
            tables = [pd.read_sql(f"SELECT * FROM {name}", connection) for name in names]
    elif kind == "csv":
        names = ("scored.csv", "scored.rejected.csv")
        tables = [pd.read_csv(folder / name) for name in names]
    else:
        ending = ".parquet" if kind == "parquet" else ""
        names = (f"scored{ending}", f"scored.rejected{ending}")
        tables = [read(folder / name) for name in names]
    return [tuple(map(str, row)) for table in tables for row in table.itertuples(index=False)]


OUTPUTS = {
    "parquet": "{}/scored.parquet",
    "folder": "{}/scored/",
    "csv": "{}/scored.csv",
    "sql": "sqlite:///{}/scored.db#scored",
}


def score(runtime, folder: Path, kind: str, **batch):
    source = str(folder / "boats.parquet")
    settings = {"chunk_rows": CHUNK, "threads": 2, **batch}
    output = OUTPUTS[kind].format(folder)
    return run_batch(job(runtime, source, output, folder / "records", **settings))


def stop_at(patch: pytest.MonkeyPatch, steps: int) -> None:
    """Let the process end before its n-th step that changes a disk or a database."""
    taken = [0]

    def counted(function):
        def step(*arguments, **options):
            taken[0] += 1
            if taken[0] > steps:
                raise Stopped
            return function(*arguments, **options)

        return step

    # Every kind of step after which a crash may leave something behind.
    for owner, name in (
        (staging.Staging, "_note"),
        (Path, "replace"),
        (Path, "rename"),
        (staging, "synced"),
        (files, "synced"),
        (FileSink, "_write"),
        (FileSink, "_remember"),
        (staging.Staging, "remove"),
        (DatabaseSink, "_insert"),
        (DatabaseSink, "_read"),
        (DatabaseSink, "_begin"),
    ):
        patch.setattr(owner, name, counted(getattr(owner, name)))


@pytest.mark.parametrize("kind", OUTPUTS)
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(points=st.lists(st.integers(0, 90), min_size=1, max_size=3))
def test_resumed_equals_uninterrupted(kind, points, runtime, tmp_path):
    folder, whole = tmp_path / "broken", tmp_path / "whole"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    odd_table().to_parquet(folder / "boats.parquet")
    if not whole.exists():
        whole.mkdir()
        shutil.copy(folder / "boats.parquet", whole)
        score(runtime, whole, kind)
    for point in points:
        with pytest.MonkeyPatch.context() as patch:
            stop_at(patch, point)
            with suppress(Stopped):
                score(runtime, folder, kind)
    result = score(runtime, folder, kind)
    assert (result.rows, result.rejected) == (ROWS, 3)
    assert contents(folder, kind) == contents(whole, kind)
    left = {path.name for path in folder.iterdir() if path.name.startswith(".")}
    assert not left


@pytest.mark.parametrize("kind", OUTPUTS)
def test_what_was_kept_is_not_scored_again(kind, runtime, tmp_path, monkeypatch):
    odd_table().to_parquet(tmp_path / "boats.parquet")
    with monkeypatch.context() as patch:
        keep = DatabaseSink.keep if kind == "sql" else FileSink.keep

        def stop(self, number, encoded, chunk):
            if number == 4:
                raise Stopped
            keep(self, number, encoded, chunk)

        patch.setattr(DatabaseSink if kind == "sql" else FileSink, "keep", stop)
        with pytest.raises(Stopped):
            score(runtime, tmp_path, kind)
    result = score(runtime, tmp_path, kind)
    assert (result.resumed_rows, result.rows, result.note) == (4 * CHUNK, ROWS, None)


def broken_off(runtime, folder: Path, kind: str = "parquet", **batch) -> None:
    """Leave a run that has kept three chunks."""
    with pytest.MonkeyPatch.context() as patch:
        sink = DatabaseSink if kind == "sql" else FileSink
        keep = sink.keep

        def stop(self, number, encoded, chunk):
            if number == 3:
                raise Stopped
            keep(self, number, encoded, chunk)

        patch.setattr(sink, "keep", stop)
        with pytest.raises(Stopped):
            score(runtime, folder, kind, **batch)


@pytest.mark.parametrize("kind", ["parquet", "sql"])
@pytest.mark.parametrize("what", ["source", "model", "settings"])
def test_another_source_model_or_setting_starts_over_and_says_so(kind, what, runtime, tmp_path):
    odd_table().to_parquet(tmp_path / "boats.parquet")
    broken_off(runtime, tmp_path, kind)
    changed = {}
    if what == "source":
        boat_table(50).to_parquet(tmp_path / "boats.parquet")
    elif what == "model":
        files = {**runtime.manifest.files, "model.onnx": "0" * 64}
        runtime.manifest = runtime.manifest.model_copy(update={"files": files})
    else:
        changed = {"out_of_range": "flag"}
    result = score(runtime, tmp_path, kind, **changed)
    assert result.note == f"Started over: the {what} changed since 21 rows were scored."
    assert result.resumed_rows == 0
    rows = len(pd.read_parquet(tmp_path / "boats.parquet"))
    assert result.rows == rows
    accepted = contents(tmp_path, kind)[: result.accepted] if result.rejected else None
    assert accepted is None or len({row[0] for row in accepted}) == result.accepted


def sql_source(folder: Path, frame: pd.DataFrame) -> dict:
    with closing(sqlite3.connect(folder / "a.db")) as connection:
        frame.to_sql("boats", connection, index=False, if_exists="replace")
    return {"type": "sql", "url": f"sqlite:///{folder}/a.db", "table": "boats"}


@pytest.mark.parametrize("changed", [False, True])
def test_a_source_without_fingerprint_is_compared_row_by_row(runtime, tmp_path, changed):
    frame = boat_table(ROWS)
    source, target = sql_source(tmp_path, frame), f"{tmp_path}/scored.parquet"

    def run():
        return run_batch(job(runtime, source, target, tmp_path / "records", chunk_rows=CHUNK))

    with pytest.MonkeyPatch.context() as patch:
        keep = FileSink.keep

        def stop(self, number, encoded, chunk):
            if number == 3:
                raise Stopped
            keep(self, number, encoded, chunk)

        patch.setattr(FileSink, "keep", stop)
        with pytest.raises(Stopped):
            run()
    if changed:  # a row that slips in before those that were scored would shift them all
        frame = pd.concat([frame.iloc[[5]], frame], ignore_index=True)
        sql_source(tmp_path, frame)
    result = run()
    assert result.resumed_rows == (0 if changed else 21)
    assert (result.note is not None) is changed
    found = read(tmp_path / "scored.parquet")
    assert found["prediction"].tolist() == expected(runtime, frame).tolist()


def test_a_full_disk_keeps_what_is_there(runtime, tmp_path, monkeypatch):
    odd_table().to_parquet(tmp_path / "boats.parquet")
    with monkeypatch.context() as patch:
        write, written = FileSink._write, []

        def full(self, table, path):
            written.append(path)
            if len(written) > 5:
                raise OSError(28, "No space left on device")
            write(self, table, path)

        patch.setattr(FileSink, "_write", full)
        with pytest.raises(UnreachableError, match=r"No space left.*run the same command again"):
            score(runtime, tmp_path, "parquet")
    assert not (tmp_path / "scored.parquet").exists()
    assert score(runtime, tmp_path, "parquet").resumed_rows > 0
    assert len(read(tmp_path / "scored.parquet")) == ROWS - 3


def test_two_at_once_do_not_meet(runtime, tmp_path):
    odd_table().to_parquet(tmp_path / "boats.parquet")
    met = []

    def listener(progress):
        with pytest.raises(UnreachableError, match="Another run writes"):
            score(runtime, tmp_path, "parquet")
        met.append(progress)

    source, output = str(tmp_path / "boats.parquet"), OUTPUTS["parquet"].format(tmp_path)
    run_batch(job(runtime, source, output, tmp_path / "records", chunk_rows=CHUNK), listener)
    assert met
    assert met[0].total == ROWS


SCORE = """
import sys
from pathlib import Path
from evergreen.serving.runtime import load_runtime
from evergreen.batch.run import run_batch
from tests.support.batch import job
bundle, folder, output = sys.argv[1:]
one = job(load_runtime(bundle, "3"), f"{folder}/boats.parquet", output, Path(folder, "records"),
          chunk_rows=40)
print(run_batch(one).resumed_rows)
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_process_that_was_ended(boats, runtime, tmp_path, how):
    frame = boat_table(40_000)
    frame.to_parquet(tmp_path / "boats.parquet")
    command = [sys.executable, "-c", SCORE, str(boats), str(tmp_path), f"{tmp_path}/scored/"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    journal = tmp_path / ".scored.batch" / "journal.jsonl"
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE)
    while not (journal.exists() and journal.read_bytes().count(b"\n") >= 20):
        assert process.poll() is None, process.communicate()[1].decode()
        time.sleep(0.005)
    process.send_signal(how)
    process.communicate()
    assert process.returncode != 0
    assert not (tmp_path / "scored").exists()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert int(done.stdout) >= 20 * 40
    found = read(tmp_path / "scored")
    assert found["row"].tolist() == list(range(40_000))
    assert found["prediction"].tolist() == expected(runtime, frame).tolist()
