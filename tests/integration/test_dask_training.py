"""Fits on a Dask cluster of real processes: the same model, also when one of them is killed."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time

import numpy as np
import pytest
from distributed import Client
from sklearn.metrics import log_loss, root_mean_squared_error

from evergreen.data import dataset as datasets
from evergreen.data.conform import model_frame, target_values
from evergreen.data.engine import Engine
from evergreen.errors import UnreachableError
from evergreen.onnx_export import check_parity, export_onnx
from evergreen.paths import Home
from evergreen.promotion.serialization import load_model, save_model
from evergreen.training import bins, on_dask
from tests.support.dask_cluster import dask_cluster
from tests.support.engines import TARGETS, chosen, fitted, prepared, sales
from tests.support.waiting import wait_until

pytestmark = pytest.mark.timeout(600)  # processes start, are killed, and start again
DASK = Engine(name="dask", reason="the test says so")
TOLERANCE = 0.01  # of a metric, relative: what docs/scale.md promises


@pytest.fixture(autouse=True)
def several_row_groups(monkeypatch):
    monkeypatch.setattr(datasets, "ROW_GROUP", 1_300)


@pytest.fixture(scope="module")
def table():
    return sales()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with dask_cluster(tmp_path_factory.mktemp("dask"), "one", "two") as running:
        with Client(running.address, set_as_default=False) as client:
            client.wait_for_workers(2, timeout=60)  # with one of them, another model is learned
        yield running


@pytest.fixture(scope="module")
def observer(cluster):
    """Return a client that sees which worker does what."""
    with Client(cluster.address, set_as_default=False) as client:
        client.get_task_stream()  # from now on it is taken down
        yield client


def learns(key):
    """Whether a task of this name is one worker's part of what XGBoost or LightGBM learns."""
    return str(key).startswith(("fn-", "_train_part-"))


def learning(keys):
    """Whether such a part is among a worker's tasks."""
    return any(map(learns, keys))


def metric(model, frame, contract):
    inputs, actual = model_frame(frame, contract), target_values(frame, contract)
    if contract.labels is None:
        return root_mean_squared_error(actual, model.predict(inputs))
    return log_loss(actual, model.predict_proba(inputs), labels=model.classes_)


def rounds_of(model):
    estimator = model[-1]
    if hasattr(estimator, "get_booster"):
        return estimator.get_booster().num_boosted_rounds()
    return estimator.booster_.num_trees() // estimator.booster_.num_model_per_iteration()


SMALL = {
    "xgboost": {"max_depth": 4, "learning_rate": 0.2},
    "lightgbm": {"num_leaves": 15, "learning_rate": 0.2, "n_estimators": 40},
}


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("target", TARGETS)
def test_a_cluster_learns_the_model_of_one_machine(
    table, target, name, cluster, observer, tmp_path
):
    use_case, contract, frame, sides = prepared(table, target, tmp_path, DASK)
    candidate = chosen(name, **SMALL[name])
    dask = {"scheduler": cluster.address}
    settings = {"balance": target == "kind", "dask": dask}
    memory, found = fitted(sides, contract, use_case, candidate, **settings)
    expected = metric(memory, frame, contract)
    assert metric(found, frame, contract) == pytest.approx(expected, rel=TOLERANCE)
    assert rounds_of(found) == rounds_of(memory) == 40
    assert vars(found[-1]).keys() == vars(memory[-1]).keys()
    assert found[-1].get_params() == memory[-1].get_params()
    if name == "lightgbm":
        assert "127.0.0.1" not in found[-1].booster_.model_to_string()
    assert len({each["worker"] for each in observer.get_task_stream() if learns(each["key"])}) == 2

    # It is a model like any other: saved, loaded and written as a graph.
    inputs = model_frame(frame, contract)
    save_model(found, tmp_path / "model.skops")
    again = load_model(tmp_path / "model.skops")
    np.testing.assert_array_equal(again.predict(inputs), found.predict(inputs))
    graph = export_onnx(found, contract)
    parity = check_parity(found, graph, inputs.iloc[:300], contract)
    assert parity.passed, parity.reason
    assert not list(Home.locate().scratch.iterdir())


@pytest.mark.parametrize("target", TARGETS)
def test_of_a_large_table_the_bins_and_so_the_trees_are_those_of_one_machine(
    table, target, cluster, tmp_path, monkeypatch
):
    monkeypatch.setattr(bins, "BIN_ROWS", 1_000)  # so that few rows are many
    use_case, contract, _, sides = prepared(table, target, tmp_path, DASK)
    candidate = chosen("xgboost", **SMALL["xgboost"])
    settings = {"balance": target == "kind", "dask": {"scheduler": cluster.address}}
    memory, found = fitted(sides, contract, use_case, candidate, **settings)

    ours, theirs = (
        model[-1].get_booster().trees_to_dataframe()[["Feature", "Split", "Cover"]]
        for model in (found, memory)
    )
    # Sums of gradients come in another order, which may turn a split whose gain ties.
    same = (ours.Feature == theirs.Feature) & (ours.Split.isna() | (ours.Split == theirs.Split))
    assert len(ours) == len(theirs)
    assert same.mean() > 0.99


@pytest.mark.parametrize("name", SMALL)
def test_the_same_cluster_learns_the_same_model_again(table, name, cluster, tmp_path):
    use_case, contract, frame, (_, side) = prepared(table, "truth", tmp_path, DASK)
    candidate = chosen(name, **SMALL[name], subsample=0.8, colsample_bytree=0.7)
    dask = {"scheduler": cluster.address}
    first, second = fitted([side, side], contract, use_case, candidate, dask=dask)
    inputs = model_frame(frame, contract)
    np.testing.assert_array_equal(first.predict_proba(inputs), second.predict_proba(inputs))


def test_the_baseline_needs_no_cluster(table, tmp_path):
    use_case, contract, frame, sides = prepared(table, "kind", tmp_path, DASK)
    dask = {"scheduler": "tcp://127.0.0.1:1"}
    memory, found = fitted(sides, contract, use_case, chosen("baseline"), dask=dask)
    inputs = model_frame(frame.iloc[:50], contract)
    np.testing.assert_array_equal(found.predict(inputs), memory.predict(inputs))


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "delay"),
    [("xgboost", 0), ("xgboost", 1), ("lightgbm", 0), ("lightgbm", 0.5)],
)
def test_a_training_begins_anew_when_a_worker_is_killed(name, delay, table, tmp_path, caplog):
    """Its peer then waits in C++ for what it would send, or is told that nobody is there."""
    use_case, contract, frame, sides = prepared(table, "truth", tmp_path, DASK)
    candidate = chosen(name, **{**SMALL[name], "learning_rate": 0.02})
    candidate = candidate.model_copy(update={"rounds": 600})
    (tmp_path / "dask").mkdir()
    with dask_cluster(tmp_path / "dask", "one", "two", nanny=True) as cluster:

        def kill() -> None:
            with Client(cluster.address, set_as_default=False) as observer:
                wait_until(lambda: sum(map(learning, observer.processing().values())) == 2, 120)
                time.sleep(delay)
                os.kill(next(iter(observer.run(os.getpid).values())), signal.SIGKILL)

        killer = threading.Thread(target=kill)
        killer.start()
        with caplog.at_level(logging.WARNING, logger="evergreen"):
            dask = {"scheduler": cluster.address}
            (found,) = fitted(sides[1:], contract, use_case, candidate, dask=dask)
        killer.join()
    (memory,) = fitted(sides[:1], contract, use_case, candidate)
    (warning,) = [each.message for each in caplog.records if each.name == on_dask.__name__]
    assert "Attempt 1 of 3 to learn on Dask lost 1 of 2 Dask workers" in warning
    assert metric(found, frame, contract) == pytest.approx(
        metric(memory, frame, contract), rel=TOLERANCE
    )
    assert rounds_of(found) == 600


@pytest.mark.long
def test_workers_that_die_each_time_are_told_of_once(table, tmp_path, monkeypatch):
    """Their limit is less than they need, so each is ended by its own watcher."""
    monkeypatch.setattr(on_dask, "ATTEMPTS", 2)
    use_case, contract, _, sides = prepared(table, "price", tmp_path, DASK)
    dask = {"workers": 1, "memory": "250Mi"}
    message = "Each of 2 attempts to learn on 1 Dask worker on this machine lost workers"
    with pytest.raises(UnreachableError, match=message):
        fitted(sides[1:], contract, use_case, chosen("xgboost"), dask=dask)
    assert not list(Home.locate().scratch.iterdir())
