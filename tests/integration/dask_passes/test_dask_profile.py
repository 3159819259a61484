"""The reference profile that Dask workers make is that of one process, also when one is killed."""

from __future__ import annotations

import pytest
from distributed import Client

from evergreen.dask.tables import passes_of
from evergreen.data import dataset as datasets
from evergreen.data.engine import Engine
from evergreen.monitoring.profile import make_profile
from evergreen.monitoring.profile_by_groups import profile_by_groups
from evergreen.paths import Home
from evergreen.training.predictions import predict
from tests.support.dask_pieces import FallingOnce
from tests.support.engines import chosen, fitted, prepared, sales
from tests.support.profiles import assert_same_profile

pytestmark = pytest.mark.timeout(300)
DASK = Engine(name="dask", reason="the test says so")


@pytest.fixture(autouse=True)
def several_row_groups(monkeypatch):
    monkeypatch.setattr(datasets, "ROW_GROUP", 701)


@pytest.fixture
def rows(tmp_path):
    """Return a contract, the training rows on Dask, and predictions of them."""
    use_case, contract, frame, (side, table) = prepared(sales(3_000), "kind", tmp_path, DASK)
    (model,) = fitted([side], contract, use_case, chosen("baseline"))
    return contract, table, predict(model, frame, contract)


@pytest.mark.parametrize("most", [3_000, 1_234], ids=["all rows", "some rows"])
def test_workers_make_the_profile_of_one_process(most, rows, config, cluster):
    contract, table, predictions = rows
    drawn = table.read_some(most, seed=2)
    expected = make_profile(drawn, contract, predictions)
    with Client(cluster.address, set_as_default=False) as observer:
        observer.get_task_stream()
        with passes_of(table, config) as way:
            found = profile_by_groups(drawn, contract, predictions, way)
        assert len({each["worker"] for each in observer.get_task_stream()}) == 2
    assert found.rows == most
    assert_same_profile(found, expected)
    assert not list(Home.locate().scratch.iterdir())


def test_what_a_killed_worker_had_is_looked_at_by_another(rows, config, tmp_path):
    contract, table, predictions = rows
    with passes_of(table, config) as way:
        falling = FallingOnce(way, tmp_path)
        found = profile_by_groups(table.read(), contract, predictions, falling)
    assert falling.mark.exists()
    assert_same_profile(found, make_profile(table.read(), contract, predictions))
