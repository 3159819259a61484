"""Batch scoring by real Dask workers: the bytes of one machine, also when one is killed."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from distributed import Client

from evergreen.batch.on_dask import run_batch_on_dask
from evergreen.batch.run import batch_job, run_batch
from evergreen.errors import InputError
from evergreen.paths import Home
from evergreen.serving.runtime import load_runtime
from tests.support.boat_windows import boats, boats_bundle, boats_case
from tests.support.dask_cluster import dask_cluster
from tests.support.waiting import wait_until

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return boats_bundle(tmp_path_factory.mktemp("bundle") / "boats").folder


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with dask_cluster(tmp_path_factory.mktemp("dask"), "one", "two") as running:
        yield running


@pytest.fixture
def home():
    return Home.locate()


@pytest.fixture
def source(tmp_path):
    return write(tmp_path / "boats.parquet", 3_000)


def write(path, rows):
    frame = boats(rows, 11).drop(columns="wind")
    frame.loc[[3, 700, rows - 1], "mast / height"] = [np.inf, 150.0, 101.0]
    frame.to_parquet(path, row_group_size=1_000)
    return path


def scoring(source, output, **batch):
    given = {"source": str(source), "output": str(output), "chunk_rows": 100, **batch}
    return boats_case().model_validate(
        {**boats_case().model_dump(mode="json"), "batch": {"out_of_range": "reject", **given}}
    )


def on_one_machine(source, output, bundle, home, **batch):
    use_case = scoring(source, output, **batch)
    return run_batch(batch_job(use_case, load_runtime(bundle, "3"), "3", home))


def on_dask(cluster, source, output, bundle, home, listener=lambda _: None, **batch):
    dask = {"scheduler": cluster.address}
    use_case = scoring(source, output, dask=dask, **{"partitions": 5, **batch})
    return run_batch_on_dask(use_case, bundle, "3", home, listener)


def told(result):
    figures = {"seconds", "rows_per_second", "output", "rejected_output"}
    return result.model_dump(exclude=figures)


def require_same_files(first, second):
    for one, other in ((first, second), (refused(first), refused(second))):
        assert one.read_bytes() == other.read_bytes()


def refused(path):
    return path.with_name(f"{path.stem}.rejected{path.suffix}")


@pytest.mark.parametrize("ending", ["parquet", "csv"])
def test_the_output_is_the_same_to_the_last_byte(source, bundle, home, cluster, tmp_path, ending):
    whole, shared = tmp_path / f"whole.{ending}", tmp_path / f"shared.{ending}"
    expected = on_one_machine(source, whole, bundle, home)
    seen = []
    result = on_dask(cluster, source, shared, bundle, home, seen.append)
    assert told(result) == told(expected)
    assert result.rejected == 3
    require_same_files(whole, shared)
    assert [each.rows for each in seen] == [600, 1200, 1800, 2400, 3000]
    assert seen[-1].rejected == 3
    assert not list((home.batch / "parts").iterdir())

    again = on_dask(cluster, source, shared, bundle, home)
    assert again.status == "unchanged"
    write(source, 2_000)
    with pytest.raises(InputError, match="is there already"):
        on_dask(cluster, source, shared, bundle, home)


def test_a_run_that_was_broken_off_goes_on(source, bundle, home, cluster, tmp_path):
    def break_off(progress):
        if progress.rows >= 1_200:
            raise KeyboardInterrupt

    shared, whole = tmp_path / "shared.parquet", tmp_path / "whole.parquet"
    with pytest.raises(KeyboardInterrupt):
        on_dask(cluster, source, shared, bundle, home, break_off)
    assert not shared.exists()
    result = on_dask(cluster, source, shared, bundle, home)
    assert result.resumed_rows >= 1_200
    on_one_machine(source, whole, bundle, home)
    require_same_files(whole, shared)

    # Parts of another table are of no use.
    shared.unlink()
    with pytest.raises(KeyboardInterrupt):
        on_dask(cluster, source, shared, bundle, home, break_off, overwrite=True)
    write(source, 2_500)
    result = on_dask(cluster, source, shared, bundle, home, overwrite=True)
    assert (result.rows, result.resumed_rows) == (2_500, 0)
    assert "Started over" in result.note


def test_parts_that_workers_still_score_for_a_run_that_was_broken_off(
    bundle, home, cluster, tmp_path
):
    def break_off(progress):
        raise KeyboardInterrupt

    def look(progress):
        seen.append(working.exists())

    source, whole = write(tmp_path / "many.parquet", 12_000), tmp_path / "whole.parquet"
    shared, small = tmp_path / "shared.parquet", {"partitions": 6, "chunk_rows": 50}
    on_one_machine(source, whole, bundle, home, chunk_rows=50)
    with pytest.raises(KeyboardInterrupt):
        on_dask(cluster, source, shared, bundle, home, break_off, **small)
    working = next((home.batch / "parts").glob("*/*")) / "tmp-of-a-worker"
    working.mkdir()
    seen = []
    on_dask(cluster, source, shared, bundle, home, look, **small)
    assert all(seen)
    require_same_files(whole, shared)
    assert not list((home.batch / "parts").iterdir())

    shared.unlink()
    with pytest.raises(KeyboardInterrupt):
        on_dask(cluster, source, shared, bundle, home, break_off, overwrite=True, **small)
    small["chunk_rows"] = 40
    working = next((home.batch / "parts").glob("*/*")) / "tmp-of-a-worker"
    working.mkdir()
    seen = []
    result = on_dask(cluster, source, shared, bundle, home, look, overwrite=True, **small)
    assert not any(seen)
    assert (result.rows, result.resumed_rows) == (12_000, 0)


def test_a_column_that_the_table_lacks(bundle, home, cluster, tmp_path):
    path = tmp_path / "boats.parquet"
    boats(500, 11).drop(columns=["wind", "crew"]).to_parquet(path)
    with pytest.raises(InputError, match="'crew' that the model takes"):
        on_dask(cluster, path, tmp_path / "shared.parquet", bundle, home)


@pytest.mark.long
def test_a_killed_workers_part_is_done_by_the_other(bundle, home, tmp_path):
    source, whole = write(tmp_path / "many.parquet", 20_000), tmp_path / "whole.parquet"
    shared = tmp_path / "shared.parquet"
    on_one_machine(source, whole, bundle, home, chunk_rows=50)
    killed, watching = [], threading.Event()
    (tmp_path / "dask").mkdir()
    with dask_cluster(tmp_path / "dask", "one", "two") as cluster:

        def kill():
            with Client(cluster.address, set_as_default=False) as observer:
                addresses = {
                    each["name"]: at for at, each in observer.scheduler_info(-1)["workers"].items()
                }
                watching.set()
                wait_until(lambda: observer.processing().get(addresses["one"]), 120)
                killed.extend(observer.processing()[addresses["one"]])
            cluster.processes["one"].kill()

        wait_until(lambda: "Registered to" in cluster.said("one"), 60)
        wait_until(lambda: "Registered to" in cluster.said("two"), 60)
        killer = threading.Thread(target=kill)
        killer.start()
        assert watching.wait(60)
        result = on_dask(cluster, source, shared, bundle, home, partitions=4, chunk_rows=50)
        killer.join()
        assert killed
        assert cluster.processes["one"].wait(20) == -9
    assert result.rows == 20_000
    require_same_files(whole, shared)
    assert not list((home.batch / "parts").iterdir())
