"""Stored tables: put into an artifact store under a second name, or copied where that cannot be."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from zenml.artifact_stores import LocalArtifactStoreConfig
from zenml.artifact_stores.local_artifact_store import LocalArtifactStore

from evergreen.data.dataset import Dataset
from evergreen.data.dataset_writer import NUMBER, join, writing
from evergreen.data.engine import Engine
from evergreen.data.fingerprint import BLOCK_ROWS
from steps import materializers
from steps.materializers import DatasetMaterializer


@pytest.fixture
def materializer(tmp_path):
    """What keeps a table in a local store."""
    place = tmp_path / "store" / "raw_table"
    place.mkdir(parents=True)

    class Store:
        config = LocalArtifactStoreConfig(path=str(tmp_path / "store"))
        open = staticmethod(LocalArtifactStore.open)
        makedirs = staticmethod(LocalArtifactStore.makedirs)

    return DatasetMaterializer(str(place), artifact_store=Store())  # type: ignore[arg-type]


def written(folder, engine: Engine) -> Dataset:
    return Dataset.write(pd.DataFrame({"a": [1.5, 2.5]}), folder / "a.parquet", "x", engine)


def in_parts(folder) -> Dataset:
    """Return a table of two parts beside it."""
    layout = {"a": NUMBER}
    hashed = {}
    (folder / "parts").mkdir()
    for name in ("parts/0.parquet", "parts/1.parquet"):
        with writing(folder / name, layout) as part:
            part.add(pd.DataFrame({"a": np.arange(BLOCK_ROWS, dtype="float64")}))
        hashed[name] = part.hashed
    return join(folder / "a.parquet", layout, hashed, "x", Engine(name="dask"))


def test_parts_go_along(materializer, tmp_path):
    dataset = in_parts(tmp_path)
    expected = dataset.read()
    materializer.save(dataset)
    stored = [file.stat().st_ino for file in dataset.files("").values()]
    loaded = materializer.load(Dataset)
    assert [file.stat().st_ino for file in loaded.files("").values()] == stored
    shutil.rmtree(tmp_path / "parts")
    pd.testing.assert_frame_equal(loaded.read(), expected)


def test_parts_stay_whole_where_the_store_is_named_from_here(materializer, tmp_path, monkeypatch):
    dataset = in_parts(tmp_path)
    materializer.save(dataset)
    monkeypatch.chdir(tmp_path)
    materializer.uri = "store/raw_table"
    pd.testing.assert_frame_equal(materializer.load(Dataset).read(), dataset.read())


def test_on_one_disk_a_table_is_not_copied(materializer, tmp_path):
    dataset = written(tmp_path, Engine())
    materializer.save(dataset)
    loaded = materializer.load(Dataset)
    assert loaded.path.stat().st_ino == dataset.path.stat().st_ino
    pd.testing.assert_frame_equal(loaded.read(), dataset.read())
    written(tmp_path, Engine())  # takes the scratch file's name, and leaves the stored one alone
    dataset.path.unlink()
    assert loaded.read()["a"].tolist() == [1.5, 2.5]


def test_on_another_disk_it_is_copied(materializer, tmp_path, monkeypatch):
    def refuse(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(materializers.os, "link", refuse)
    dataset = written(tmp_path, Engine())
    materializer.save(dataset)
    loaded = materializer.load(Dataset)
    assert loaded.path.stat().st_ino != dataset.path.stat().st_ino
    pd.testing.assert_frame_equal(loaded.read(), dataset.read())


@pytest.mark.parametrize("made", [in_parts, partial(written, engine=Engine())])
def test_the_copy_from_a_remote_store_goes_with_the_step(materializer, tmp_path, monkeypatch, made):
    gone_with_the_step: list[str] = []
    register = "_register_directory_for_deletion_after_step_execution"
    monkeypatch.setattr(materializer, register, gone_with_the_step.append)
    dataset = made(tmp_path)
    materializer.save(dataset)
    place, materializer.uri = materializer.uri, "remote://raw_table"

    def opened(path: str, mode: str):
        return Path(path.replace("remote://raw_table", place)).open(mode)

    materializer.artifact_store.open = opened
    loaded = materializer.load(Dataset)
    pd.testing.assert_frame_equal(loaded.read(), dataset.read())
    assert [str(loaded.path.parent)] == gone_with_the_step


def test_the_cache_tells_engines_apart(materializer, tmp_path):
    memory = written(tmp_path, Engine())
    disk = written(tmp_path, Engine(name="external", reason="the test says so"))
    assert materializer.compute_content_hash(memory) == memory.fingerprint
    assert materializer.compute_content_hash(disk) != memory.fingerprint
