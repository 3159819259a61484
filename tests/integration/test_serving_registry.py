"""Following an alias in real registries: MLflow's tables, and a tracking server."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
import time
from pathlib import Path

import pytest

from evergreen.data.contract import Column
from evergreen.errors import InputError, UnreachableError
from evergreen.paths import Home
from evergreen.promotion.store import prepare_store
from evergreen.serving.artifacts import bundle_folder
from evergreen.serving.holder import ModelHolder, require_compatible
from evergreen.serving.registry_reader import ModelState, locate, open_registry
from evergreen.serving.registry_tables import TableRegistry
from evergreen.serving.runtime import load_runtime
from evergreen.serving.traffic import TAG
from evergreen.serving.watcher import Watcher, load_folder
from tests.support.mlflow_servers import tracking_server
from tests.support.models import small_contract, write_small_bundle
from tests.support.server_process import kill
from tests.support.stores import BROKEN, Store, corrupt
from tests.support.verdicts import verdict


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    root = tmp_path_factory.mktemp("bundles")
    return {
        "first": write_small_bundle(root / "first", seed=1, training_key="key-1"),
        "second": write_small_bundle(root / "second", seed=2, training_key="key-2"),
        "ships": write_small_bundle(root / "ships", use_case="ships"),
        "regression": write_small_bundle(root / "regression", "regression"),
    }


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    home = Home(tmp_path_factory.mktemp("store"))
    return home, prepare_store(home, "boats")


@pytest.fixture
def store(template, tmp_path):
    home, experiment = template
    copy = tmp_path / "mlflow.db"
    shutil.copy(home.root / "mlflow" / "mlflow.db", copy)
    store = Store(f"sqlite:///{copy}", experiment, tmp_path / "log.db", tmp_path / "locks")
    yield store
    store.registry.log.close()


@pytest.fixture
def follow(store, tmp_path):
    watchers = []

    def start(**settings):
        holder = ModelHolder()
        watcher = Watcher(
            holder,
            open_registry(store.uri),
            "boats",
            load_runtime,
            cache=tmp_path / "cache",
            **settings,
        )
        watcher.load_first()
        watchers.append(watcher)
        return watcher

    yield start
    for watcher in watchers:
        watcher.stop()


def test_what_the_registry_says_is_what_mlflow_says(store, bundles):
    version = store.add(bundles["first"])
    store.add(bundles["second"], alias=None)
    reader = open_registry(store.uri)
    assert reader.models() == ("boats",)
    assert reader.state("boats").aliases == {"champion": version}
    located = locate(reader, "boats")
    assert located.source == store.registry.version("boats", version).bundle_uri
    assert locate(reader, "boats", version="2").version == "2"


def test_what_is_unknown_is_named(store, bundles):
    reader = open_registry(store.uri)
    with pytest.raises(InputError, match=r"no model 'boats' in the registry .*, which is empty"):
        locate(reader, "boats")
    store.add(bundles["first"], alias="challenger")
    with pytest.raises(InputError, match=r"no model 'boots'.* Did you mean 'boats'"):
        locate(reader, "boots")
    with pytest.raises(InputError, match="No version of 'boats' is 'champion' yet"):
        locate(reader, "boats")
    with pytest.raises(InputError, match=r"'challanger'. Did you mean 'challenger'"):
        locate(reader, "boats", alias="challanger")
    with pytest.raises(InputError, match="no version '7'"):
        locate(reader, "boats", version="7")
    with pytest.raises(InputError, match="no version 'latest'"):
        locate(reader, "boats", version="latest")


def test_a_deleted_version_is_unknown(store, bundles):
    store.add(bundles["first"])
    second = store.add(bundles["second"], alias=None)
    store.client.delete_model_version("boats", second)
    with pytest.raises(InputError, match="no version '2'"):
        locate(open_registry(store.uri), "boats", version=second)


def test_tables_of_another_mlflow_are_refused(store, tmp_path):
    with sqlite3.connect(store.uri.removeprefix("sqlite:///")) as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'abc'")
    with pytest.raises(InputError, match=r"another version of MLflow \(its tables .* abc;"):
        locate(open_registry(store.uri), "boats")
    sqlite3.connect(tmp_path / "empty.db").execute("CREATE TABLE one (two)").connection.close()
    with pytest.raises(InputError, match="holds no registry of MLflow"):
        locate(open_registry(f"sqlite:///{tmp_path / 'empty.db'}"), "boats")


@pytest.mark.parametrize(
    ("uri", "error", "message"),
    [
        ("sqlite:////nowhere/mlflow.db", UnreachableError, "no such file. A training run makes"),
        ("postgresql://ada:secret@127.0.0.1:1/x", UnreachableError, r"ada:\*\*\*@.* refused"),
        ("http://127.0.0.1:1", UnreachableError, "http://127.0.0.1:1 cannot be reached"),
        ("databricks://x", InputError, "no address of an MLflow registry"),
    ],
)
def test_registries_that_do_not_answer_are_named(uri, error, message):
    with pytest.raises(error, match=message):
        locate(open_registry(uri), "boats")


def test_the_alias_is_followed_there_and_back(store, bundles, follow):
    first = store.add(bundles["first"], alias=None)
    store.registry.promote("boats", first, verdict(), "ada")
    watcher = follow()
    holder = watcher.holder
    before = holder.current
    assert (before.name, before.version, before.alias) == ("boats", "1", "champion")
    assert watcher.check() is False
    second = store.add(bundles["second"], alias=None)
    assert watcher.check() is False
    store.registry.promote("boats", second, verdict("1"), "ada")
    assert watcher.check() is True
    assert holder.current.version == "2"
    assert holder.current.runtime.manifest.origin.training_key == "key-2"
    assert before.runtime.manifest.origin.training_key == "key-1"  # for requests under way
    store.registry.roll_back("boats", "ada")
    assert watcher.check() is True
    assert (holder.current.version, holder.swaps) == ("1", 2)


def test_the_thread_swaps_by_itself(store, bundles, follow):
    store.add(bundles["first"])
    watcher = follow(interval=0.05)
    watcher.start()
    store.add(bundles["second"])
    end = time.monotonic() + 10
    while watcher.holder.current.version != "2":
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_fixed_version_stays(store, bundles, follow):
    store.add(bundles["first"])
    watcher = follow(version="1")
    watcher.start()
    store.add(bundles["second"])
    watcher.check()
    assert (watcher.holder.current.version, watcher.holder.current.alias) == ("1", None)


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_bundle_never_becomes_current(store, bundles, follow, how, tmp_path, caplog):
    store.add(bundles["first"])
    watcher = follow()
    folder = store.files(store.add(bundles["second"]))
    sound = shutil.copytree(folder, tmp_path / "sound")
    breaking, message = BROKEN[how]
    breaking(folder)
    for _ in range(3):
        assert watcher.check() is False
    holder = watcher.holder
    assert (holder.current.version, holder.swaps) == ("1", 0)
    assert (holder.failure.version, message in holder.failure.reason) == ("2", True)
    assert "\n" not in holder.failure.reason
    assert caplog.text.count("Version 1 stays") == 1  # said once, not every few seconds
    with pytest.raises((InputError, UnreachableError), match=message):
        Watcher(
            ModelHolder(), open_registry(store.uri), "boats", load_runtime, cache=tmp_path / "c"
        ).load_first()
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(sound, folder)
    watcher._refused_at -= 3600
    assert watcher.check() is True
    assert (holder.current.version, holder.failure) == ("2", None)


def test_a_process_that_replaces_another_starts_with_what_served_last(
    store, bundles, follow, tmp_path
):
    store.add(bundles["first"])
    memory = tmp_path / "served.json"
    follow(memory=memory)
    folder = store.files(store.add(bundles["second"]))
    corrupt(folder)
    with pytest.raises(InputError, match="damaged"):
        follow()
    watcher = follow(memory=memory)
    assert watcher.holder.current.version == "1"
    assert watcher.holder.failure.version == "2"
    store.client.set_registered_model_alias("boats", "champion", "1")
    assert watcher.check() is False
    assert watcher.holder.failure is None


def test_a_mended_alias_clears_the_failure(store, bundles, follow):
    store.add(bundles["first"])
    watcher = follow()
    shutil.rmtree(store.files(store.add(bundles["second"])))
    watcher.check()
    assert watcher.holder.failure is not None
    store.client.set_registered_model_alias("boats", "champion", "1")
    assert watcher.check() is False
    assert watcher.holder.failure is None


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("ships", "holds a model of 'ships': it was registered under the wrong name"),
        ("regression", "does regression; the one that is served, classification"),
    ],
)
def test_another_model_never_becomes_current(store, bundles, follow, kind, message):
    store.add(bundles["first"])
    watcher = follow()
    store.add(bundles[kind])
    assert watcher.check() is False
    assert watcher.holder.current.version == "1"
    assert message in watcher.holder.failure.reason


def test_a_registry_that_goes_away_and_comes_back(store, bundles, follow):
    store.add(bundles["first"])
    watcher = follow()
    path = Path(store.uri.removeprefix("sqlite:///"))
    path.rename(path.with_suffix(".away"))
    assert watcher.check() is False
    assert watcher.holder.failure.version is None
    assert "no such file" in watcher.holder.failure.reason
    path.with_suffix(".away").rename(path)
    assert watcher.check() is False
    assert watcher.holder.failure is None


def test_an_alias_that_is_taken_away_leaves_the_model(store, bundles, follow):
    store.add(bundles["first"])
    watcher = follow()
    store.client.delete_registered_model_alias("boats", "champion")
    assert watcher.check() is False
    assert watcher.holder.current.version == "1"
    assert "No version of 'boats' is 'champion'" in watcher.holder.failure.reason


def test_a_folder_is_served_as_it_is(bundles, tmp_path):
    holder = ModelHolder()
    with pytest.raises(UnreachableError, match="No model is loaded"):
        _ = holder.current
    load_folder(holder, bundles["first"].folder, load_runtime, "boats")
    assert (holder.current.name, holder.current.version) == ("boats", None)
    with pytest.raises(InputError, match="is of 'ships', not of 'boats'"):
        load_folder(ModelHolder(), bundles["ships"].folder, load_runtime, "boats")
    with pytest.raises(InputError, match="no bundle folder"):
        load_folder(ModelHolder(), tmp_path / "nowhere", load_runtime)


def test_contracts_that_clients_cannot_tell_apart_are_compatible():
    contract = small_contract()
    columns = contract.columns
    wider = [c.model_copy(update={"maximum": 99.0, "example": 3}) for c in columns]
    require_compatible(contract, contract.model_copy(update={"columns": tuple(wider)}))
    more = (*columns, Column(name="sail", type="number", role="feature", nullable=True))
    with pytest.raises(InputError, match="'sail' is new"):
        require_compatible(contract, contract.model_copy(update={"columns": more}))
    with pytest.raises(InputError, match="'crew' is gone"):
        fewer = tuple(column for column in columns if column.name != "crew")
        require_compatible(contract, contract.model_copy(update={"columns": fewer}))
    with pytest.raises(InputError, match="another order"):
        turned = tuple(reversed(columns))
        require_compatible(contract, contract.model_copy(update={"columns": turned}))
    with pytest.raises(InputError, match="knows the labels 'calm', 'storm'"):
        require_compatible(contract, contract.model_copy(update={"labels": ("calm", "storm")}))


def test_a_tracking_server_is_followed(bundles, tmp_path, monkeypatch):
    with tempfile.TemporaryDirectory() as folder, tracking_server(Path(folder)) as (url, process):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", url)
        store = Store(url, "0", tmp_path / "log.db", tmp_path / "locks")
        reader = open_registry(url)
        with pytest.raises(InputError, match=r"no model 'boats' in the registry"):
            locate(reader, "boats")
        store.add(bundles["first"], alias=None)
        with pytest.raises(InputError, match="No version of 'boats' is 'champion' yet"):
            locate(reader, "boats")
        with pytest.raises(InputError, match="no version '9'"):
            locate(reader, "boats", version="9")
        store.add(bundles["second"])
        located = locate(reader, "boats")
        assert located.version == "2"
        assert located.source.startswith("mlflow-artifacts:")
        assert reader.state("boats") == ModelState({"champion": "2"})
        store.client.set_registered_model_tag("boats", "another", "tag")
        store.client.set_registered_model_tag("boats", TAG, "a plan")
        assert reader.state("boats") == ModelState({"champion": "2"}, "a plan")
        cache = tmp_path / "cache"
        found = bundle_folder(reader, located, cache)
        assert {path.name for path in found.iterdir()} == {
            path.name for path in bundles["second"].folder.iterdir()
        }
        (found / "card.md").write_text("damaged meanwhile")
        assert bundle_folder(reader, located, cache) == found  # fetched anew
        watcher = Watcher(ModelHolder(), reader, "boats", load_runtime, cache=cache)
        assert watcher.load_first().version == "2"
        store.client.set_registered_model_alias("boats", "champion", "1")
        assert watcher.check() is True
        assert watcher.holder.current.runtime.manifest.origin.training_key == "key-1"
        with pytest.raises(InputError, match="kept by a tracking server; give its address"):
            TableRegistry(f"sqlite:///{folder}/mlflow.db").download(located.source, tmp_path)
        kill(process)
        assert watcher.check() is False
        assert watcher.holder.current.version == "1"
        assert f"{url} cannot be reached" in watcher.holder.failure.reason
        watcher.stop()
