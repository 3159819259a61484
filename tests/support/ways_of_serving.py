"""Every way of asking a trained model: a function each, from rows to answers like golden ones.

A way of serving that is new gets a function here and an entry in `WAYS`; what needs containers has
its own list in tests/containers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd

from evergreen.batch.run import run_batch
from evergreen.promotion.golden import PREDICTION, PROBABILITY, answers
from evergreen.serving.runtime import load_runtime
from tests.support.batch import job
from tests.support.contract_api import Api, make_api
from tests.support.mlflow_servers import scoring_server
from tests.support.seldon import SeldonServer, seldon_server
from tests.support.trained_cases import Answers, Case, Rows


@dataclass(frozen=True)
class Way:
    """A way of serving. ``ask`` starts what it needs by `Case.once`."""

    name: str
    ask: Callable[[Case, Rows], Answers]
    labels_alone: bool = False  # it answers without probabilities


# --- offline -----------------------------------------------------------------------------------


def offline(case: Case, rows: Rows) -> Answers:
    frame = pd.DataFrame(rows, columns=case.columns)
    types = {name: case.bundle.golden[name].dtype for name in case.columns}
    found = answers(case.bundle.model(), frame.astype(types))
    return {str(name): found[name].tolist() for name in found}


# --- batch scoring -----------------------------------------------------------------------------


def by_table(case: Case, rows: Rows, form: str, kind: str) -> Answers:
    """Score a table in chunks, from and to files of one form."""
    folder = case.home / f"batch-{form}-{kind}"
    folder.mkdir()
    frame = pd.DataFrame(rows, columns=case.columns)
    source, output = folder / f"rows.{form}", folder / f"scored.{form}"
    frame.to_parquet(source) if form == "parquet" else frame.to_csv(source, index=False)
    runtime = load_runtime(case.folders[kind])
    run_batch(job(runtime, str(source), str(output), folder / "records", chunk_rows=7))
    scored = pd.read_parquet(output) if form == "parquet" else pd.read_csv(output)
    assert scored["row"].tolist() == list(range(len(rows)))
    labels = case.bundle.contract.labels or ()
    return {
        PREDICTION: scored["prediction"].tolist(),
        **{f"{PROBABILITY}{label}": scored[f"probability_{label}"].tolist() for label in labels},
    }


# --- the contract API --------------------------------------------------------------------------


def by_row(case: Case, rows: Rows, kind: str) -> Answers:
    api = api_of(case, kind)
    return as_columns([ask(api, "/predict", record) for record in case.records(rows)])


def by_batch(case: Case, rows: Rows, kind: str) -> Answers:
    answer = ask(api_of(case, kind), "/predict/batch", case.records(rows))
    return as_columns(answer["predictions"])


def by_invocations(case: Case, rows: Rows, kind: str) -> Answers:
    answer = ask(api_of(case, kind), "/invocations", as_split(case, rows))
    return {PREDICTION: answer["predictions"]}


def by_inference_protocol(case: Case, rows: Rows, kind: str) -> Answers:
    tensors = [
        {
            "name": column.name,
            "shape": [len(rows), 1],
            "datatype": "BYTES" if column.type == "category" else "FP64",
            "data": list(values),
        }
        for column, values in zip(
            case.bundle.contract.features, zip(*rows, strict=True), strict=True
        )
    ]
    answer = ask(api_of(case, kind), f"/v2/models/{case.name}/infer", {"inputs": tensors})
    outputs = {output["name"]: output for output in answer["outputs"]}
    found = {PREDICTION: outputs["prediction"]["data"]}
    labels = case.bundle.contract.labels
    if labels is not None:
        shares = np.reshape(outputs["probabilities"]["data"], outputs["probabilities"]["shape"])
        found |= {f"{PROBABILITY}{label}": shares[:, at] for at, label in enumerate(labels)}
    return found


def api_of(case: Case, kind: str) -> Api:
    @contextmanager
    def start(folder: Path) -> Iterator[Api]:
        api = make_api(case.folders[kind], folder, promises={})
        try:
            assert api.runtime is not None and api.runtime.kind == kind
            yield api
        finally:
            api.close()

    return case.once(f"api-{kind}", start)


def ask(api: Api, path: str, content: Any) -> Any:
    response = api.post(path, content)
    assert response.status_code == 200, response.text
    return response.json()


def as_columns(answered: list[dict[str, Any]]) -> Answers:
    """Name what /predict says as golden rows do."""
    found = {PREDICTION: [one["prediction"] for one in answered]}
    for label in answered[0].get("probabilities") or ():
        found[f"{PROBABILITY}{label}"] = [one["probabilities"][label] for one in answered]
    return found


# --- MLflow's own server -----------------------------------------------------------------------


def by_mlflow(case: Case, rows: Rows) -> Answers:
    url = case.once("mlflow", lambda folder: scoring_server(case.bundle.folder, folder))
    answer = httpx.post(f"{url}/invocations", json=as_split(case, rows), timeout=30)
    assert answer.status_code == 200, answer.text
    return {PREDICTION: answer.json()["predictions"]}


def as_split(case: Case, rows: Rows) -> dict[str, Any]:
    return {"dataframe_split": {"columns": case.columns, "data": [list(row) for row in rows]}}


# --- Seldon's wrapper --------------------------------------------------------------------------


def by_seldon(case: Case, rows: Rows, protocol: str, form: str, kind: str = "onnx") -> Answers:
    server = seldon_of(case, kind)
    if protocol == "gRPC" and any(isinstance(value, str) for row in rows for value in row):
        form = form.replace("tensor", "ndarray")  # protobuf's tensors hold numbers alone
    message = seldon_message(case, rows, form)
    if protocol == "gRPC":
        (answer,) = server.call([message])
        assert "status" not in answer, answer
    else:
        response = server.post(message)
        assert response.status_code == 200, response.text
        answer = response.json()
    return (
        as_columns(answer["jsonData"]["predictions"])
        if form == "jsonData"
        else arrays(case, answer["data"], form)
    )


def seldon_message(case: Case, rows: Rows, form: str) -> dict[str, Any]:
    """Write rows as a message; the tensor has its columns in another order, by name."""
    if form == "jsonData":
        return {"jsonData": case.records(rows)}
    if form == "ndarray":
        return {"data": {"ndarray": [list(row) for row in rows]}}
    turned = [list(row)[::-1] for row in rows]
    values = ["NaN" if value is None else value for row in turned for value in row]
    tensor = {"shape": [len(rows), len(case.columns)], "values": values}
    return {"data": {"names": case.columns[::-1], "tensor": tensor}}


def arrays(case: Case, data: dict[str, Any], form: str) -> Answers:
    """Name a message's array as golden rows do; the class is the most probable one."""
    found = data[form]
    array = np.reshape(found["values"], found["shape"]) if form == "tensor" else np.array(found)
    labels = case.bundle.contract.labels
    if labels is None:
        assert data["names"] == [case.bundle.contract.target]
        return {PREDICTION: array[:, 0]}
    assert data["names"] == [str(label) for label in labels]
    return {
        PREDICTION: [labels[at] for at in array.argmax(axis=1)],
        **{f"{PROBABILITY}{label}": array[:, at] for at, label in enumerate(labels)},
    }


def seldon_of(case: Case, kind: str) -> SeldonServer:
    parameters = {"model_uri": str(case.folders[kind])}
    return case.once(f"seldon-{kind}", lambda folder: seldon_server(folder, parameters))


DOORS = {
    "predict": by_row,
    "predict/batch": by_batch,
    "invocations": by_invocations,
    "v2/infer": by_inference_protocol,
}
WAYS = (
    Way("offline", offline),
    *(
        Way(f"batch-{kind} {form}", partial(by_table, form=form, kind=kind))
        for kind in ("onnx", "native")
        for form in ("parquet", "csv")
    ),
    *(
        Way(f"api-{kind} {door}", partial(ask_it, kind=kind), ask_it is by_invocations)
        for kind in ("onnx", "native")
        for door, ask_it in DOORS.items()
    ),
    Way("mlflow", by_mlflow, labels_alone=True),
    *(
        Way(f"seldon {protocol} {form}", partial(by_seldon, protocol=protocol, form=form))
        for protocol in ("REST", "gRPC")
        for form in ("ndarray", "tensor", "jsonData")
    ),
    Way("seldon-native", partial(by_seldon, protocol="REST", form="ndarray", kind="native")),
)
