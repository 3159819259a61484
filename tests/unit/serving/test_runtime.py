from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from evergreen.errors import InputError, RefusedError
from evergreen.promotion import graph_part
from evergreen.promotion.bundle import open_bundle
from evergreen.promotion.golden import PREDICTION, read_golden
from evergreen.serving.runtime import load_runtime
from tests.support.models import small_contract, small_table, write_small_bundle

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return write_small_bundle(tmp_path_factory.mktemp("runtime") / "bundle")


@pytest.fixture
def folder(written, tmp_path):
    shutil.copytree(written.folder, tmp_path / "bundle")
    return tmp_path / "bundle"


@pytest.fixture
def native(folder):
    """The same bundle, served by its scikit-learn pipeline."""
    change_manifest(folder, runtime="native", runtime_reason="a test wants it")
    return load_runtime(folder)


def change_manifest(folder, **changes):
    path = folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def replace_file(folder, name, content):
    """Forge a file together with its checksum."""
    (folder / name).write_bytes(content)
    files = json.loads((folder / "manifest.json").read_text())["files"]
    change_manifest(folder, files={**files, name: hashlib.sha256(content).hexdigest()})


def some_inputs(task="classification", rows=40):
    frame, contract = small_table(task, seed=3, rows=rows), small_contract(task)
    return {column.name: frame[column.name].to_numpy(copy=True) for column in contract.features}


def assert_alike(found, expected):
    assert found.predictions.tolist() == expected.predictions.tolist()
    np.testing.assert_allclose(found.probabilities, expected.probabilities, atol=1e-9)


def test_a_trained_bundle_is_served_by_its_graph(written):
    runtime = load_runtime(written.folder, version="7")
    assert (runtime.kind, runtime.bundle_version) == ("onnx", "7")
    assert written.parity is not None
    assert written.parity.passed
    outputs = runtime.predict(some_inputs())
    assert outputs.labels == ("calm", "gale", "storm")
    assert set(outputs.predictions) <= set(outputs.labels)
    assert outputs.probabilities.shape == (40, 3)
    assert outputs.intervals is None


def test_both_runtimes_give_the_same(written, native):
    graph = load_runtime(written.folder)
    assert (graph.kind, native.kind) == ("onnx", "native")
    assert_alike(graph.predict(some_inputs()), native.predict(some_inputs()))


def test_both_runtimes_take_nothing_and_strange_values(written, native):
    inputs = some_inputs(rows=4)
    inputs["mast / height"][:] = [np.nan, np.inf, 1e300, -1e300]
    inputs["harbour"][:] = [None, "Ystad\0", "\ud800", ""]
    inputs["built"][:2] = [np.datetime64("NaT"), np.datetime64("9999-12-31")]
    graph = load_runtime(written.folder)
    assert_alike(graph.predict(inputs), native.predict(inputs))
    nothing = {name: values[:0] for name, values in inputs.items()}
    assert_alike(graph.predict(nothing), native.predict(nothing))


def test_regressions_give_numbers(tmp_path):
    bundle = write_small_bundle(tmp_path / "bundle", "regression", "ridge")
    runtime = load_runtime(bundle.folder)
    outputs = runtime.predict(some_inputs("regression"))
    frame = small_table("regression", seed=3, rows=40)
    expected = bundle.model().predict(frame[[c.name for c in runtime.contract.features]])
    np.testing.assert_allclose(outputs.predictions, expected, rtol=1e-12)
    assert (outputs.labels, outputs.probabilities) == (None, None)


def test_several_threads_may_predict(written):
    runtime = load_runtime(written.folder)
    inputs = some_inputs()
    expected = runtime.predict(inputs)
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: runtime.predict(inputs), range(200)):
            assert_alike(found, expected)


CHECK = """
import sys
unpickled = []
sys.addaudithook(lambda event, _: unpickled.append(event) if event == "pickle.find_class" else None)
from evergreen.serving.runtime import load_runtime
runtime = load_runtime(sys.argv[1])
assert runtime.kind == "onnx"
heavy = ("pandas", "sklearn", "scipy", "joblib", "skops", "mlflow", "zenml", "onnx", "shap")
print([name for name in heavy if name in sys.modules], unpickled)
"""


def test_the_graph_is_served_without_heavy_libraries(written):
    done = subprocess.run(
        [sys.executable, "-c", CHECK, str(written.folder)],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    assert done.stdout.split() == ["[]", "[]"]


@pytest.mark.parametrize("name", ["model.onnx", "golden.parquet", "contract.json", "parity.json"])
def test_a_damaged_file_is_not_served(folder, name):
    (folder / name).write_bytes((folder / name).read_bytes()[:-1])
    with pytest.raises(InputError, match=f"damaged: {name}"):
        load_runtime(folder)


def test_a_missing_graph_is_not_served(folder):
    (folder / "model.onnx").unlink()
    with pytest.raises(InputError, match=r"incomplete: model\.onnx is missing"):
        load_runtime(folder)
    files = json.loads((folder / "manifest.json").read_text())["files"]
    change_manifest(folder, files={k: v for k, v in files.items() if k != "model.onnx"})
    with pytest.raises(InputError, match=r"manifest lacks model\.onnx"):
        load_runtime(folder)


@pytest.mark.parametrize("content", [b"", b"no graph at all", b"\x08\x0a\x12\x03abc"])
def test_a_file_that_is_no_graph_is_not_served(folder, content):
    replace_file(folder, "model.onnx", content)
    with pytest.raises(InputError, match=r"model\.onnx cannot be loaded"):
        load_runtime(folder)


def test_another_models_graph_is_not_served(folder, tmp_path):
    other = write_small_bundle(tmp_path / "other", candidate="logistic_regression")
    replace_file(folder, "model.onnx", (other.folder / "model.onnx").read_bytes())
    with pytest.raises(InputError, match="does not give the answers that it gave at training"):
        load_runtime(folder)


def test_a_graph_of_another_contract_is_not_served(folder):
    contract = json.loads((folder / "contract.json").read_text())
    for column in contract["columns"]:
        if column["name"] == "crew":
            column["name"] = "sailors"
    replace_file(folder, "contract.json", json.dumps(contract).encode())
    with pytest.raises(InputError, match="reads a column 'crew' that the contract does not know"):
        load_runtime(folder)
    change_manifest(folder, runtime="native")
    with pytest.raises(InputError, match="lack the column 'sailors'"):
        load_runtime(folder)


def test_a_graph_with_another_interface_is_not_served(folder):
    import onnx

    model = onnx.load(folder / "model.onnx")
    del model.metadata_props[:]
    replace_file(folder, "model.onnx", model.SerializeToString())
    with pytest.raises(InputError, match="has an input 'numbers' that"):
        load_runtime(folder)


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("numbers", '["mast / height", "sails", "licensed"]', "reads a column 'sails'"),
        ("labels", '["calm", "storm"]', "has labels that the contract does not know"),
        ("numbers", '["crew"]', "cannot be served"),
    ],
)
def test_a_graph_that_says_otherwise_is_not_served(folder, key, value, reason):
    import onnx

    model = onnx.load(folder / "model.onnx")
    told = {**{entry.key: entry.value for entry in model.metadata_props}, key: value}
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, told)
    replace_file(folder, "model.onnx", model.SerializeToString())
    with pytest.raises(InputError, match=reason):
        load_runtime(folder)


def test_golden_rows_that_cannot_be_read_are_one_message(folder):
    replace_file(folder, "golden.parquet", b"PAR1 no more")
    with pytest.raises(InputError, match=r"golden rows .* cannot be read"):
        load_runtime(folder)


def test_golden_rows_come_as_a_model_takes_them(written):
    golden = read_golden(written.folder / "golden.parquet", written.contract)
    frame = written.golden
    assert golden[PREDICTION].tolist() == frame[PREDICTION].tolist()
    for column in written.contract.features:
        dtype = frame[column.name].dtype
        np.testing.assert_array_equal(
            golden[column.name].astype(dtype), frame[column.name].to_numpy()
        )


def test_a_model_without_a_graph_is_served_natively_and_says_why(tmp_path):
    from sklearn.ensemble import ExtraTreesClassifier

    from evergreen.data.conform import model_frame, target_values
    from tests.support.models import small_model

    model = small_model()
    frame, contract = small_table(), small_contract()
    model.steps[-1] = ("estimator", ExtraTreesClassifier(3, random_state=1))
    model.fit(model_frame(frame, contract), target_values(frame, contract))
    bundle = write_small_bundle(tmp_path / "bundle", model=model)
    assert bundle.manifest.runtime == "native"
    assert "no ONNX form of ExtraTreesClassifier" in bundle.manifest.runtime_reason
    assert bundle.parity is None
    assert "model.onnx" not in bundle.manifest.files
    assert load_runtime(bundle.folder).kind == "native"


def test_a_graph_that_answers_otherwise_is_not_kept(tmp_path, monkeypatch):
    from evergreen.onnx_export import trees

    monkeypatch.setattr(trees, "largest_single", lambda values: values.astype(np.float32) + 1)
    bundle = write_small_bundle(tmp_path / "bundle")
    assert bundle.manifest.runtime == "native"
    assert "does not answer as the model does" in bundle.manifest.runtime_reason
    assert not open_bundle(bundle.folder).parity.passed
    assert not (bundle.folder / "model.onnx").exists()


def test_a_fault_in_writing_the_graph_does_not_lose_the_model(tmp_path, monkeypatch):
    def broken(*_):
        raise ZeroDivisionError("oh")

    monkeypatch.setattr("evergreen.onnx_export.export_onnx", broken)
    bundle = write_small_bundle(tmp_path / "bundle")
    assert bundle.manifest.runtime_reason == "writing the graph failed (ZeroDivisionError: oh)"
    assert not (Path(bundle.folder) / graph_part.PARITY).exists()


def test_shap_values_tell_rows_apart(written):
    runtime, inputs = load_runtime(written.folder), some_inputs()
    values = runtime.explain(inputs)
    assert set(values) == set(inputs)
    total = sum(values.values())
    moved = runtime.predict(inputs).probabilities - total
    np.testing.assert_allclose(moved, np.broadcast_to(moved[0], moved.shape), atol=1e-6)


def test_linear_models_are_explained_against_the_golden_rows(tmp_path):
    bundle = write_small_bundle(tmp_path / "bundle", "regression", "ridge")
    runtime, inputs = load_runtime(bundle.folder), some_inputs("regression", rows=2)
    one = {name: values[:1] for name, values in inputs.items()}
    values = runtime.explain(one)
    total = sum(float(column[0, 0]) for column in values.values())
    golden = bundle.golden[PREDICTION].mean()
    assert total == pytest.approx(runtime.predict(one).predictions[0] - golden)


def test_a_baseline_cannot_be_explained(tmp_path):
    bundle = write_small_bundle(tmp_path / "bundle", candidate="baseline")
    with pytest.raises(RefusedError, match="cannot be explained: there is no quick method"):
        load_runtime(bundle.folder).explain(some_inputs())
