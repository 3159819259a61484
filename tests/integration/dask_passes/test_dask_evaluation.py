"""A holdout whose rows Dask workers score is judged as by one process, also when one is killed."""

from __future__ import annotations

import pytest
from distributed import Client

from evergreen.dask.settings import DaskConfig
from evergreen.dask.tables import passes_of
from evergreen.data import dataset as datasets
from evergreen.data.dataset import Dataset
from evergreen.data.engine import Engine
from evergreen.errors import UnreachableError
from evergreen.paths import Home
from evergreen.training.judged_rows import judge_by_groups, rows_to_judge
from tests.support.dask_pieces import FallingOnce
from tests.support.engines import EXTERNAL, TARGETS
from tests.support.judged import CONFIG, judged, results

pytestmark = pytest.mark.timeout(300)
DASK = Engine(name="dask", reason="the test says so")


@pytest.fixture(autouse=True)
def several_row_groups(monkeypatch):
    monkeypatch.setattr(datasets, "ROW_GROUP", 700)


def as_external(holdout, contract, arms, folder):
    """Return what the engine `external` looks at."""
    here = Dataset.write(holdout.read(), folder / "here.parquet", "rows", EXTERNAL)
    return rows_to_judge(here, contract, arms, CONFIG, DaskConfig(), 3)


@pytest.mark.parametrize("target", TARGETS)
def test_what_workers_score_is_judged_as_by_one_process(target, config, cluster, tmp_path):
    contract, holdout, arms = judged(target, tmp_path, engine=DASK)
    model = arms["challenger"].model
    expected = results(as_external(holdout, contract, arms, tmp_path), contract, target, model)
    with Client(cluster.address, set_as_default=False) as observer:
        observer.get_task_stream()
        found = rows_to_judge(holdout, contract, arms, CONFIG, config, 3)
        assert len({each["worker"] for each in observer.get_task_stream()}) == 2
    assert results(found, contract, target, model) == expected
    assert not list(Home.locate().scratch.iterdir())


def test_rows_of_a_killed_worker_are_scored_by_another(config, tmp_path):
    contract, holdout, arms = judged("truth", tmp_path, engine=DASK)
    model = arms["challenger"].model
    with passes_of(holdout, config) as way:
        falling = FallingOnce(way, tmp_path)
        found = judge_by_groups(holdout, contract, arms, CONFIG, 3, falling)
    assert falling.mark.exists()
    expected = as_external(holdout, contract, arms, tmp_path)
    assert results(found, contract, "truth", model) == results(expected, contract, "truth", model)


def test_without_its_cluster_nothing_is_judged(tmp_path):
    contract, holdout, arms = judged("price", tmp_path, engine=DASK)
    nowhere = DaskConfig(scheduler="tcp://127.0.0.1:1")
    with pytest.raises(UnreachableError, match="does not answer"):
        rows_to_judge(holdout, contract, arms, CONFIG, nowhere, 3)
