"""A store of each test's own, in which trainings settle bundles that are made once."""

from __future__ import annotations

import shutil

import pytest

from evergreen.paths import Home
from evergreen.promotion.settlement import settle
from evergreen.promotion.store import prepare_store
from evergreen.serving.traffic import TrafficConfig
from tests.support.models import write_small_bundle
from tests.support.stores import Store
from tests.support.verdicts import verdict

CONFIG = TrafficConfig()


@pytest.fixture(scope="session")
def template(tmp_path_factory):
    home = Home(tmp_path_factory.mktemp("store"))
    experiment = prepare_store(home, "boats")
    folder = tmp_path_factory.mktemp("bundles")
    bundles = [
        write_small_bundle(folder / str(seed), seed=seed, training_key=f"key-{seed}")
        for seed in (1, 2, 3)
    ]
    return home, experiment, bundles


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path / "home")


@pytest.fixture
def store(template, home):
    original, experiment, _ = template
    home.mlflow_database.parent.mkdir(parents=True)
    shutil.copy(original.mlflow_database, home.mlflow_database)
    store = Store(home.mlflow_uri, experiment, home.root / "evergreen.db", home.locks)
    yield store
    store.registry.log.close()


@pytest.fixture
def registry(store):
    return store.registry


@pytest.fixture
def train(store, template):
    """Do what the end of a training does: settle bundle 1, 2 or 3."""

    def settled(number, approval="manual", traffic=CONFIG):
        champion = store.registry.champion("boats")
        judged = verdict(None if champion is None else champion.version)
        judged = judged.model_copy(update={"approval": approval})
        return settle(
            store.registry,
            template[2][number - 1],
            judged,
            run_id=store.run,
            who="ada",
            traffic=traffic,
        )

    return settled
