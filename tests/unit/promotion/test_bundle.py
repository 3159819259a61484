"""A bundle holds everything, appears whole or not at all, and notices every damage."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from evergreen.data.conform import model_frame
from evergreen.data.dataset import Dataset
from evergreen.errors import InputError
from evergreen.promotion.bundle import PARTS, PARTS_TO_READ, open_bundle
from evergreen.promotion.golden import PREDICTION
from tests.support.models import (
    small_contract,
    small_model,
    small_table,
    write_small_bundle,
)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return write_small_bundle(tmp_path_factory.mktemp("bundles") / "bundle")


@pytest.fixture
def folder(written, tmp_path):
    shutil.copytree(written.folder, tmp_path / "bundle")
    return tmp_path / "bundle"


def _rewrite_manifest(folder, **changes):
    path = folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def _replace(folder, name, content):
    """Replace a file, and its checksum with it."""
    (folder / name).write_bytes(content)
    files = json.loads((folder / "manifest.json").read_text())["files"]
    _rewrite_manifest(folder, files={**files, name: hashlib.sha256(content).hexdigest()})


def test_everything_is_there(written):
    names = {path.name for path in written.folder.iterdir()}
    assert {*PARTS, *PARTS_TO_READ, "manifest.json", "requirements.txt", "code"} <= names
    assert not [name for name in written.manifest.files if name.endswith((".pkl", ".pyc"))]


def test_opening_gives_what_was_written(folder):
    bundle = open_bundle(folder)
    assert bundle.contract == small_contract()
    assert bundle.profile.rows == 120
    assert bundle.figures.metrics["accuracy"].low == 0.8
    assert bundle.card.startswith("# Boats")
    assert bundle.training_key == "key-1"
    assert bundle.manifest.origin.params == {"max_depth": 3}
    assert bundle.manifest.runtime == "onnx"
    assert len(bundle.golden) == 50


def test_the_model_predicts_alike(folder):
    inputs = model_frame(small_table(), small_contract())
    np.testing.assert_array_equal(
        open_bundle(folder).model().predict(inputs), small_model().predict(inputs)
    )


@pytest.mark.parametrize("candidate", ["ridge", "random_forest", "xgboost", "lightgbm"])
def test_replay_passes_on_every_kind_of_regression(tmp_path, candidate):
    bundle = write_small_bundle(tmp_path / "bundle", "regression", candidate)
    replay = open_bundle(bundle.folder).replay()
    assert replay.passed
    assert replay.difference == 0


def test_replay_notices_another_model(folder):
    bundle = open_bundle(folder)
    other = small_model("classification", "logistic_regression")
    replay = bundle.replay(other)
    assert not replay.passed
    assert "not give the answers" in replay.message


def test_integer_labels_come_back_as_integers(tmp_path):
    from evergreen.data.conform import target_values
    from evergreen.training.predictions import predict

    contract = small_contract().model_copy(update={"labels": (0, 1)})
    frame = small_table()
    frame["wind"] = np.array(frame["wind"] == "calm", dtype=int).astype(object)
    model = small_model().fit(model_frame(frame, contract), target_values(frame, contract))
    bundle = write_small_bundle(tmp_path / "bundle", model=model, contract=contract)
    golden = open_bundle(bundle.folder).golden
    assert golden[PREDICTION].dtype == np.int64
    assert predict(bundle.model(), frame, contract).predicted.dtype == np.int64
    assert '"type": "long"' in (bundle.folder / "MLmodel").read_text()


def test_every_file_has_its_checksum(folder, written):
    on_disk = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert on_disk - {"manifest.json"} == set(written.manifest.files)


@pytest.mark.parametrize("name", ["model.skops", "contract.json", "golden.parquet", "card.md"])
def test_a_changed_byte_is_noticed(folder, name):
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(bytes(content))
    with pytest.raises(InputError, match=f"damaged: {name} "):
        open_bundle(folder)


@pytest.mark.parametrize("name", ["model.skops", "profile.json", "MLmodel"])
def test_a_missing_file_is_noticed(folder, name):
    (folder / name).unlink()
    with pytest.raises(InputError, match=f"incomplete: {name} is missing"):
        open_bundle(folder)


def test_a_part_that_the_manifest_lacks_is_noticed(folder):
    files = json.loads((folder / "manifest.json").read_text())["files"]
    del files["golden.parquet"]
    _rewrite_manifest(folder, files=files)
    with pytest.raises(InputError, match=r"manifest lacks golden\.parquet"):
        open_bundle(folder)


def test_another_format_is_noticed(folder):
    _rewrite_manifest(folder, format=99)
    with pytest.raises(InputError, match="has format 99; this version reads format 1"):
        open_bundle(folder)


@pytest.mark.parametrize("text", ["{", "[]", "null", '{"format": 1}'])
def test_a_damaged_manifest_is_noticed(folder, text):
    (folder / "manifest.json").write_text(text)
    with pytest.raises(InputError, match=r"bundle|manifest\.json"):
        open_bundle(folder)


def test_a_folder_without_a_manifest_is_no_bundle(tmp_path):
    with pytest.raises(InputError, match=r"is none: it has no manifest\.json"):
        open_bundle(tmp_path)


def test_a_file_outside_of_the_folder_is_refused(folder):
    (folder.parent / "secret").write_text("x")
    files = json.loads((folder / "manifest.json").read_text())["files"]
    _rewrite_manifest(folder, files={**files, "../secret": "0" * 64})
    with pytest.raises(InputError, match="outside of itself"):
        open_bundle(folder)


def test_a_contract_of_another_version_is_an_input_error(folder):
    content = json.loads((folder / "contract.json").read_text())
    _replace(folder, "contract.json", json.dumps({**content, "novelty": 1}).encode())
    with pytest.raises(InputError, match=r"contract\.json is not what this version reads"):
        _ = open_bundle(folder).contract


def test_golden_rows_that_the_model_contradicts_fail(folder):
    golden = Dataset.open(folder / "golden.parquet").read()
    golden[PREDICTION] = "storm"
    Dataset.write(golden, folder / "golden.parquet", "golden rows")
    _replace(folder, "golden.parquet", (folder / "golden.parquet").read_bytes())
    assert not open_bundle(folder).replay().passed


def test_files_that_a_download_adds_do_no_harm(folder):
    (folder / "registered_model_meta").write_text("model_name: boats")
    assert open_bundle(folder).training_key == "key-1"


def test_a_bundle_is_never_overwritten(folder):
    with pytest.raises(InputError, match="never overwritten"):
        write_small_bundle(folder)


def test_a_failed_bundle_leaves_nothing(tmp_path):
    contract = small_contract()
    with pytest.raises(InputError, match="there are none"):
        write_small_bundle(tmp_path / "a", inputs=model_frame(small_table(), contract).head(0))
    with pytest.raises(InputError, match="cannot be saved"):
        write_small_bundle(tmp_path / "b", model=_with_stranger())
    assert list(tmp_path.iterdir()) == []


def _with_stranger():
    from sklearn.pipeline import Pipeline

    model = small_model()
    return Pipeline([("stranger", Stranger()), *model.steps])


class Stranger:
    """A step whose type nobody trusts."""

    def fit(self, X, y=None):
        return self

    def transform(self, X):
        return X


def test_requirements_name_what_the_estimator_needs(written, tmp_path):
    plain = (written.folder / "requirements.txt").read_text()
    assert "scikit-learn==" in plain
    assert "xgboost" not in plain
    boosted = write_small_bundle(tmp_path / "bundle", "classification", "xgboost")
    assert "xgboost-cpu==" in (boosted.folder / "requirements.txt").read_text()


def test_reading_a_bundle_imports_nothing_heavy(folder):
    script = (
        "import sys\n"
        "from evergreen.promotion.bundle import open_bundle\n"
        f"bundle = open_bundle({str(folder)!r})\n"
        "bundle.contract, bundle.profile, bundle.figures, bundle.card\n"
        "heavy = {'pandas', 'sklearn', 'mlflow', 'skops', 'pyarrow', 'zenml'} & set(sys.modules)\n"
        "sys.exit(', '.join(sorted(heavy)) or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_input_example_is_a_model_frame(written):
    from mlflow.models import Model

    model = Model.load(str(written.folder))
    example = model.load_input_example(str(written.folder))
    assert list(example.columns) == [column.name for column in small_contract().features]
    assert isinstance(example, pd.DataFrame)
