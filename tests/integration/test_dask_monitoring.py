"""A window counted by real Dask workers: the verdict of one pass, also when one is killed."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime, timedelta
from functools import partial

import numpy as np
import pytest
from distributed import Client

from evergreen.errors import InputError
from evergreen.monitoring import window_source
from evergreen.monitoring.monitor import observe
from evergreen.monitoring.on_dask import observe_on_dask
from evergreen.monitoring.parts import CountedPart, count_part, judge_parts, plan_window
from evergreen.paths import Home
from evergreen.serving.runtime import load_runtime
from tests.support.boat_windows import BoatLog, boats, boats_bundle, boats_case
from tests.support.dask_cluster import dask_cluster
from tests.support.waiting import wait_until

pytestmark = pytest.mark.timeout(300)
NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


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


def table(path, rows):
    frame = boats(rows, 11, mast=0.6)
    frame.loc[[3, rows - 1], "mast / height"] = [np.inf, 150.0]
    frame.loc[500:520, "crew"] = None
    frame.to_parquet(path)
    return str(path)


def in_steps(use_case, bundle, home, folder, **when):
    """Judge the window as pipelines do whose parts are steps."""
    plan = plan_window(use_case, bundle, "1", home, **when)
    read = []
    for number in range(use_case.monitoring.partitions):
        part = folder / f"part-{number}"
        part.mkdir()
        counted = count_part(use_case, bundle, "1", home, plan, number)
        read.append(CountedPart.write(counted, part).read())
    return judge_parts(use_case, bundle, "1", home, plan, read)


def facts(checked):
    return json.loads(checked.observed.model_dump_json(exclude={"seconds"}))


def test_logged_predictions(bundle, home, cluster, tmp_path):
    url = f"sqlite:///{home.root / 'predictions.db'}"
    log = BoatLog(url, tmp_path / "spool", load_runtime(bundle, "1"))
    log.add(boats(400, 21), NOW - 2 * HOUR, name="a", labelled=400)
    log.add(boats(500, 22, mast=2), NOW - HOUR, name="b", labelled=50)
    dask = {"scheduler": cluster.address}
    use_case = boats_case(window={"span": "6h", "rows": None}, partitions=3, dask=dask)
    found = observe_on_dask(use_case, bundle, "1", home, now=NOW)
    expected = in_steps(use_case, bundle, home, tmp_path, now=NOW)
    assert found.observed.rows == 900
    assert found.observed.verdict.drifted
    assert facts(found) == facts(expected)
    assert found.sample.equals(expected.sample)
    assert not list(home.scratch.iterdir())


def test_a_table_of_unknown_length(bundle, home, cluster, tmp_path):
    boats(300, 11).to_csv(tmp_path / "window.csv", index=False)
    dask = {"scheduler": cluster.address}
    use_case = boats_case(source=str(tmp_path / "window.csv"), partitions=2, dask=dask)
    with pytest.raises(InputError, match=r"monitoring\.partitions: .* Leave partitions out"):
        observe_on_dask(use_case, bundle, "1", home)


@pytest.mark.long
def test_a_killed_workers_part_is_counted_by_the_other(bundle, home, tmp_path):
    pieces = 6
    source = table(tmp_path / "window.parquet", pieces * window_source.PIECE_ROWS)
    policy = {"source": source, "segments": ("harbour",), "partitions": pieces}
    (tmp_path / "dask").mkdir()
    with dask_cluster(tmp_path / "dask", "one", "two") as cluster:
        killed = []

        def kill():
            with Client(cluster.address, set_as_default=False) as observer:
                workers = observer.scheduler_info(-1)["workers"]
                (one,) = (at for at, each in workers.items() if each["name"] == "one")
                wait_until(lambda: observer.processing().get(one), 120)
                killed.extend(observer.processing()[one])
            cluster.processes["one"].kill()

        for name in ("one", "two"):
            wait_until(partial(lambda name: "Registered to" in cluster.said(name), name), 60)
        killer = threading.Thread(target=kill)
        killer.start()
        use_case = boats_case(**policy, dask={"scheduler": cluster.address})
        found = observe_on_dask(use_case, bundle, "1", home)
        killer.join()
        assert killed
        assert cluster.processes["one"].wait(20) == -9
    whole = observe(boats_case(**{**policy, "partitions": 1}), bundle, "1", home)
    assert found.observed.rows == whole.observed.rows == pieces * window_source.PIECE_ROWS
    assert found.observed.verdict.drifted == whole.observed.verdict.drifted
    assert found.observed.quality == whole.observed.quality
    assert len(found.observed.segments) == len(whole.observed.segments) > 0
