"""A trained model answers its golden rows alike wherever it is asked: offline and by every door.

Every shipped use case is trained for real, with few trials. California housing is read from a
small table in the format of scikit-learn's cache, so that nothing is fetched.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import pytest

from evergreen.data.conform import conform, model_frame
from evergreen.data.dataset import Dataset
from evergreen.data.infer import infer_contract
from evergreen.data.sources import read_source
from evergreen.data.splits import split_holdout
from evergreen.monitoring.profile import make_profile
from evergreen.promotion.bundle import Bundle, Figures, Origin, write_bundle
from evergreen.promotion.golden import (
    PREDICTION,
    PROBABILITY,
    answers,
    compare_columns,
    golden_inputs,
)
from evergreen.provenance import environment
from evergreen.training.candidates import BASELINE, BY_NAME
from evergreen.training.evaluation import evaluate
from evergreen.training.predictions import predict
from evergreen.training.search import fit_candidate, search_candidates
from evergreen.use_case import load_use_case
from tests.support.contract_api import Api, make_api
from tests.support.housing import write_housing_cache
from tests.support.mlflow_servers import scoring_server

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
# One candidate each, so that every way of writing a graph is among them.
CANDIDATES = {
    "wine": "random_forest",
    "iris": "logistic_regression",
    "breast_cancer": "xgboost",
    "diabetes": "lightgbm",
    "housing": "xgboost",
}


def train(name: str, home: Path) -> Bundle:
    """Take a use case from its file to a bundle, as a training does."""
    candidate = CANDIDATES[name]
    use_case = load_use_case(
        CONFIGS / f"{name}.yaml",
        [f"training.candidates=[{candidate}]", "training.trials=2", "evaluation.bootstrap=100"],
    )
    how = {"features": use_case.features, "training": use_case.training, "split": use_case.split}
    raw = read_source(use_case.data.source)
    contract = infer_contract(raw, use_case)
    table = conform(raw, contract)
    table = table[table[contract.target].notna()].reset_index(drop=True)
    split = split_holdout(table, contract, use_case.split)
    rows, holdout = table.iloc[split.train], table.iloc[split.holdout]
    dataset = Dataset.write(rows, home / "train.parquet", str(use_case.data.source))

    search = search_candidates(dataset, contract, **how)
    assert search.best == candidate != BASELINE
    result = next(one for one in search.candidates if one.name == candidate)
    model = fit_candidate(dataset, contract, result, **how)

    found = predict(model, holdout, contract)
    metrics = evaluate(found, holdout, contract, use_case.evaluation, 1).metrics
    return write_bundle(
        home / "bundle",
        model=model,
        contract=contract,
        profile=make_profile(rows, contract, predict(model, rows, contract)),
        figures=Figures(metric=search.metric, rows=len(holdout), confidence=0.95, metrics=metrics),
        card=f"# {name}\n",
        inputs=model_frame(holdout, contract),
        origin=Origin(
            candidate=candidate,
            title=BY_NAME[candidate].title,
            params=result.params,
            training_key="key-1",
            data_fingerprint=dataset.fingerprint,
            data_source=dataset.source,
            rows=len(rows),
        ),
        environment=environment(),
    )


def natively(bundle: Bundle, folder: Path) -> Path:
    """Copy a bundle for the runtime that loads the scikit-learn pipeline."""
    shutil.copytree(bundle.folder, folder)
    manifest = folder / "manifest.json"
    changed = {**json.loads(manifest.read_text()), "runtime": "native", "runtime_reason": "a test"}
    manifest.write_text(json.dumps(changed))
    return folder


@dataclass
class Case:
    """A trained use case, and its API on each runtime."""

    name: str
    bundle: Bundle
    apis: dict[str, Api]

    @property
    def columns(self) -> list[str]:
        return [column.name for column in self.bundle.contract.features]

    @property
    def rows(self) -> list[list]:
        """The golden rows as JSON has them, with every digit."""
        inputs = golden_inputs(self.bundle.golden, self.bundle.contract)
        lists = inputs.astype(object).where(inputs.notna(), None).to_numpy().tolist()
        assert all(isinstance(value, float | str | None) for row in lists for value in row)
        return lists

    @property
    def records(self) -> list[dict]:
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]


@pytest.fixture(scope="module", params=list(CANDIDATES))
def case(request, tmp_path_factory):
    home = tmp_path_factory.mktemp(request.param)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SCIKIT_LEARN_DATA", str(home / "cache"))
        if request.param == "housing":
            write_housing_cache(home / "cache")
        bundle = train(request.param, home)
    folders = {"onnx": bundle.folder, "native": natively(bundle, home / "native")}
    apis = {}
    for kind, folder in folders.items():
        (home / f"api-{kind}").mkdir()
        apis[kind] = make_api(folder, home / f"api-{kind}", promises={})
    yield Case(request.param, bundle, apis)
    for api in apis.values():
        api.close()


def by_row(case: Case, api: Api) -> dict[str, list]:
    return as_columns([ask(api, "/predict", record) for record in case.records])


def by_batch(case: Case, api: Api) -> dict[str, list]:
    return as_columns(ask(api, "/predict/batch", case.records)["predictions"])


def by_invocations(case: Case, api: Api) -> dict[str, list]:
    return {PREDICTION: ask(api, "/invocations", split_body(case))["predictions"]}


def by_inference_protocol(case: Case, api: Api) -> dict[str, list]:
    tensors = [
        {
            "name": column.name,
            "shape": [len(case.rows), 1],
            "datatype": "BYTES" if column.type == "category" else "FP64",
            "data": list(values),
        }
        for column, values in zip(
            case.bundle.contract.features, zip(*case.rows, strict=True), strict=True
        )
    ]
    answer = ask(api, f"/v2/models/{case.name}/infer", {"inputs": tensors})
    outputs = {output["name"]: output for output in answer["outputs"]}
    found = {PREDICTION: outputs["prediction"]["data"]}
    labels = case.bundle.contract.labels
    if labels is not None:
        shares = np.reshape(outputs["probabilities"]["data"], outputs["probabilities"]["shape"])
        found |= {f"{PROBABILITY}{label}": shares[:, at] for at, label in enumerate(labels)}
    return found


def ask(api: Api, path: str, content) -> dict:
    response = api.post(path, content)
    assert response.status_code == 200, response.text
    return response.json()


def as_columns(answered: list[dict]) -> dict[str, list]:
    """Name what /predict says as golden rows do."""
    found = {PREDICTION: [one["prediction"] for one in answered]}
    for label in answered[0].get("probabilities") or ():
        found[f"{PROBABILITY}{label}"] = [one["probabilities"][label] for one in answered]
    return found


def split_body(case: Case) -> dict:
    return {"dataframe_split": {"columns": case.columns, "data": case.rows}}


def assert_golden(case: Case, found, *, labels_alone: bool = False) -> None:
    """Compare answers with the golden ones: within the tolerance, and labels without any."""
    golden = {name: case.bundle.golden[name].to_numpy() for name in case.bundle.golden}
    shares = [name for name in golden if name.startswith(PROBABILITY)]
    if case.bundle.contract.task == "classification":
        assert shares
        assert list(found[PREDICTION]) == golden[PREDICTION].tolist()
    if labels_alone:
        golden = {name: values for name, values in golden.items() if name not in shares}
    replay = compare_columns(
        golden, {name: np.asarray(values) for name, values in found.items()}, case.bundle.contract
    )
    assert replay.passed, replay.message


def test_the_golden_rows_can_tell_models_apart(case):
    assert case.bundle.manifest.runtime == "onnx", case.bundle.manifest.runtime_reason
    assert {kind: api.runtime.kind for kind, api in case.apis.items()} == {
        "onnx": "onnx",
        "native": "native",
    }
    golden = case.bundle.golden
    assert len(golden) >= 25
    least = len(case.bundle.contract.labels or range(10))
    assert golden[PREDICTION].nunique() >= least


def test_other_answers_do_not_agree(case):
    golden = case.bundle.golden
    if case.bundle.contract.task == "regression":
        moved = {PREDICTION: golden[PREDICTION] + 1e-5 * golden[PREDICTION].abs().max()}
    else:
        moved = {PREDICTION: golden[PREDICTION].to_numpy()[::-1]}
        shares = {name: golden[name] + 1e-5 for name in golden if name.startswith(PROBABILITY)}
        with pytest.raises(AssertionError):
            assert_golden(case, {PREDICTION: golden[PREDICTION], **shares})
    with pytest.raises(AssertionError):
        assert_golden(case, moved, labels_alone=True)


def test_offline(case):
    inputs = golden_inputs(case.bundle.golden, case.bundle.contract)
    assert_golden(case, answers(case.bundle.model(), inputs))


@pytest.mark.parametrize("kind", ["onnx", "native"])
@pytest.mark.parametrize(
    "door", [by_row, by_batch, by_invocations, by_inference_protocol], ids=lambda one: one.__name__
)
def test_the_api(case, kind, door):
    found = door(case, case.apis[kind])
    assert_golden(case, found, labels_alone=door is by_invocations)


def test_mlflows_own_server(case, tmp_path):
    with scoring_server(case.bundle.folder, tmp_path) as url:
        answer = httpx.post(f"{url}/invocations", json=split_body(case), timeout=30)
    assert answer.status_code == 200, answer.text
    found = {PREDICTION: answer.json()["predictions"]}
    assert_golden(case, found, labels_alone=True)
