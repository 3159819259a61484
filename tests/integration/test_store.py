"""MLflow's local store is made in its own folder, whole or not at all, and nowhere else."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from evergreen.errors import UnreachableError
from evergreen.paths import Home
from evergreen.promotion.store import ensure_experiment, open_client, prepare_store, shown

ROOT = Path(__file__).resolve().parents[2]


def _python(script, cwd, **environment):
    return subprocess.run(
        [sys.executable, "-c", script],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    root = tmp_path_factory.mktemp("store") / "home"
    prepare_store(Home(root), "boats")
    return root


@pytest.fixture
def home(template, tmp_path):
    shutil.copytree(template, tmp_path / "home")
    return Home(tmp_path / "home")


def test_the_working_directory_stays_empty(tmp_path):
    """Store, experiment, run, figures, upload and download: all of it leaves no trace there."""
    working = tmp_path / "working"
    working.mkdir()
    script = (
        "from pathlib import Path\n"
        "from evergreen.paths import Home\n"
        "from evergreen.promotion import tracking\n"
        "from evergreen.promotion.store import prepare_store\n"
        "from tests.support.models import write_small_bundle\n"
        "from tests.support.registries import Place, settle_bundle\n"
        f"root = Path({str(tmp_path / 'home')!r})\n"
        "experiment = prepare_store(Home(root), 'boats')\n"
        "registry = Place(root, experiment, '').registry()\n"
        "run = registry.client.create_run(experiment).info.run_id\n"
        "place = Place(root, experiment, run)\n"
        "tracking.log_figures(registry.client, run, {'roc': '<svg/>'})\n"
        "settle_bundle(place, write_small_bundle(root / 'bundle').folder, None, False)\n"
        "registry.fetch_bundle('boats', 'champion', root / 'fetched')\n"
    )
    done = _python(script, working)
    assert done.returncode == 0, done.stderr
    assert list(working.iterdir()) == []
    assert {path.name for path in (tmp_path / "home" / "mlflow").iterdir()} == {
        "mlflow.db",
        "artifacts",
    }


def test_every_experiment_keeps_its_files_in_the_home(home):
    client = open_client(home.mlflow_uri)
    artifacts = home.mlflow_artifacts.as_uri()
    other = Home(home.root)
    prepare_store(other, "cars")
    locations = [
        each.artifact_location for each in client.search_experiments() if each.name == "cars"
    ]
    assert locations == [f"{artifacts}/cars"]


def test_the_default_experiment_too(template):
    client = open_client(Home(template).mlflow_uri)
    for experiment in client.search_experiments():
        assert experiment.artifact_location.startswith(Home(template).mlflow_artifacts.as_uri())


def test_preparing_again_changes_nothing(home):
    client = open_client(home.mlflow_uri)
    before = client.get_experiment_by_name("boats").experiment_id
    assert prepare_store(home, "boats") == before


def test_a_deleted_experiment_is_restored(home):
    client = open_client(home.mlflow_uri)
    experiment = client.get_experiment_by_name("boats").experiment_id
    client.delete_experiment(experiment)
    assert ensure_experiment(client, "boats") == experiment
    assert client.get_experiment(experiment).lifecycle_stage == "active"


def test_killed_while_making_the_store_the_next_run_makes_it(tmp_path):
    home = Home(tmp_path / "home")
    process = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "from pathlib import Path\n"
            "from evergreen.paths import Home\n"
            "from evergreen.promotion.store import prepare_store\n"
            f"prepare_store(Home(Path({str(home.root)!r})), 'boats')\n",
        ],
        cwd=ROOT,
        stderr=subprocess.DEVNULL,
    )
    tables = 0
    deadline = time.monotonic() + 60
    while tables < 10 and time.monotonic() < deadline:  # in the middle of the migrations
        tables = max([_tables(path) for path in home.root.glob("mlflow/.making-*/*.db")] or [0])
        assert process.poll() is None, "the store was made before it could be killed"
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (home.root / "mlflow" / "mlflow.db").exists()

    experiment = prepare_store(home, "boats")

    assert open_client(home.mlflow_uri).get_experiment(experiment).name == "boats"


def _tables(path):
    try:
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=0)
        try:
            query = "SELECT count(*) FROM sqlite_master WHERE type = 'table'"
            return connection.execute(query).fetchone()[0]
        finally:
            connection.close()
    except sqlite3.Error:
        return 0


def test_two_that_make_the_store_at_once_get_the_same(tmp_path):
    script = (
        "from pathlib import Path\n"
        "from evergreen.paths import Home\n"
        "from evergreen.promotion.store import prepare_store\n"
        f"print(prepare_store(Home(Path({str(tmp_path / 'home')!r})), 'boats'))\n"
    )
    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(lambda _: _python(script, tmp_path), range(2)))
    assert [each.returncode for each in done] == [0, 0], [each.stderr for each in done]
    assert len({each.stdout for each in done}) == 1


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "home").write_text("a file")
    with pytest.raises(UnreachableError, match="Cannot make MLflow's folder"):
        prepare_store(Home(tmp_path / "home"), "boats")


def test_a_store_that_is_no_database(home):
    Path(home.mlflow_uri.removeprefix("sqlite:///")).write_text("no database, no database at all")
    with pytest.raises(UnreachableError, match="not a database"):
        open_client(home.mlflow_uri)


def test_passwords_are_not_shown():
    assert shown("postgresql://ada:s3cret@host/db") == "postgresql://ada:***@host/db"
    assert shown("https://host:5000") == "https://host:5000"
