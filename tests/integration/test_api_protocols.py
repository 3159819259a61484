"""The protocols that other clients speak, checked with those clients' own code."""

from __future__ import annotations

import io
import json
import socket
import threading
import time

import numpy as np
import pandas as pd
import pytest

from evergreen.data.conform import model_frame
from evergreen.promotion.bundle import open_bundle
from evergreen.promotion.golden import PREDICTION, golden_inputs
from tests.support.contract_api import make_api
from tests.support.models import write_small_bundle

SHARES = "evergreen.probability."


@pytest.fixture(scope="module", params=["classification", "regression"])
def api(request, tmp_path_factory):
    home = tmp_path_factory.mktemp(request.param)
    write_small_bundle(home / "bundle", request.param)
    made = make_api(home / "bundle", home, promises={})
    yield made
    made.close()


@pytest.fixture(scope="module")
def golden(api):
    return open_bundle(api.runtime.bundle.folder).golden


@pytest.fixture(scope="module")
def inputs(api, golden):
    return golden_inputs(golden, api.runtime.contract)


def as_golden(found, golden):
    if golden[PREDICTION].dtype == object or golden[PREDICTION].dtype == "str":
        assert list(found) == golden[PREDICTION].tolist()
    else:
        assert list(found) == pytest.approx(golden[PREDICTION].tolist(), rel=1e-6)


# --- MLflow ------------------------------------------------------------------------------------


def mlflow_bodies(inputs: pd.DataFrame) -> dict[str, tuple[str, bytes]]:
    plain = json.loads(inputs.to_json(orient="split", date_format="iso", date_unit="us"))
    records = json.loads(inputs.to_json(orient="records", date_format="iso", date_unit="us"))
    columns = {name: [row[name] for row in records] for name in inputs}
    parquet = io.BytesIO()
    inputs.to_parquet(parquet)
    bodies = {
        "dataframe_split": ("application/json", {"dataframe_split": plain}),
        "dataframe_records": ("application/json", {"dataframe_records": records}),
        "instances": ("application/json", {"instances": records}),
        "inputs": ("application/json", {"inputs": columns}),
    }
    found = {name: (kind, json.dumps(body).encode()) for name, (kind, body) in bodies.items()}
    found["csv"] = ("text/csv", inputs.to_csv(index=False).encode())
    found["parquet"] = ("application/vnd.apache.parquet", parquet.getvalue())
    return found


FORMATS = ["dataframe_split", "dataframe_records", "instances", "inputs", "csv", "parquet"]


@pytest.mark.parametrize("name", FORMATS)
def test_invocations_read_every_format_as_mlflow_does(api, golden, inputs, name):
    content_type, body = mlflow_bodies(inputs)[name]
    response = api.request(
        "POST", "/invocations", content=body, headers={"content-type": content_type}
    )
    assert response.status_code == 200, response.text
    as_golden(response.json()["predictions"], golden)
    contract = api.runtime.contract
    theirs = model_frame(parsed_by_mlflow(content_type, body), contract)
    ours = model_frame(pd.DataFrame(dict(api.runtime.asked[-1])), contract)
    pd.testing.assert_frame_equal(ours, theirs)


def parsed_by_mlflow(content_type: str, body: bytes) -> pd.DataFrame:
    from mlflow.pyfunc import scoring_server

    if content_type == "text/csv":
        return scoring_server.parse_csv_input(io.StringIO(body.decode()))
    if content_type != "application/json":
        return scoring_server.parse_parquet_input(io.BytesIO(body))
    data, _ = scoring_server._split_data_and_params(body.decode())
    frame = pd.DataFrame(scoring_server.infer_and_parse_data(data))
    # `instances` come as arrays without dimensions, which hold the value.
    return frame.map(lambda value: value.item() if isinstance(value, np.ndarray) else value)


def test_mlflows_own_client_gets_predictions(api, golden, inputs, url):
    from mlflow.pyfunc.scoring_server.client import ScoringServerClient

    host, port = url.removeprefix("http://").split(":")
    client = ScoringServerClient(host, int(port))
    client.ping()
    sent = inputs.assign(built=inputs["built"].astype("str"))
    as_golden(client.invoke(sent).get_predictions().iloc[:, 0].tolist(), golden)


# --- the Open Inference Protocol ---------------------------------------------------------------


@pytest.fixture(scope="module")
def url(api):
    import uvicorn

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = uvicorn.Config(api.app, port=port, log_level="error", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 20
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.02)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(10)


def tensors(inputs: pd.DataFrame, *, binary: bool):
    from tritonclient.http import InferInput

    made = []
    for name in inputs:
        column = inputs[name]
        if name == "licensed":
            values, kind = column.to_numpy() > 0, "BOOL"
        elif name == "harbour":
            texts = ["" if value is None else value for value in column]
            values, kind = np.array([text.encode() for text in texts], dtype=object), "BYTES"
        elif name == "built":
            values = np.array([moment.isoformat().encode() for moment in column], dtype=object)
            kind = "BYTES"
        else:
            values, kind = column.to_numpy(np.float64), "FP64"
        tensor = InferInput(name, [len(inputs), 1], kind)
        tensor.set_data_from_numpy(values.reshape(-1, 1), binary_data=binary)
        made.append(tensor)
    return made


@pytest.mark.parametrize("binary", [False, True])
def test_tritons_client_gets_the_golden_answers(api, golden, inputs, url, binary):
    from tritonclient.http import InferenceServerClient, InferRequestedOutput

    known = inputs if binary else inputs.dropna(subset=["mast / height"])
    expected = golden.loc[known.index]
    with InferenceServerClient(url.removeprefix("http://")) as client:
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready("boats")
        assert client.is_model_ready("boats", "3")
        metadata = client.get_model_metadata("boats")
        assert [one["name"] for one in metadata["inputs"]] == list(inputs)
        outputs = [InferRequestedOutput("prediction", binary_data=False)]
        if len(metadata["outputs"]) == 2:
            outputs.append(InferRequestedOutput("probabilities", binary_data=False))
        answer = client.infer(
            "boats", tensors(known, binary=binary), outputs=outputs, request_id="order 7"
        )
        response = answer.get_response()
        assert response["id"] == "order 7"
        assert response["model_version"] == "3"
        found = answer.as_numpy("prediction").reshape(-1).tolist()
        as_golden([f.decode() if isinstance(f, bytes) else f for f in found], expected)
        if len(outputs) == 2:
            shares = expected.filter(like=SHARES).to_numpy()
            assert np.allclose(answer.as_numpy("probabilities"), shares, atol=1e-6)


def test_tritons_client_is_told_what_is_wrong(inputs, url):
    from tritonclient.http import InferenceServerClient
    from tritonclient.utils import InferenceServerException

    with InferenceServerClient(url.removeprefix("http://")) as client:
        with pytest.raises(InferenceServerException, match="There is no model 'cars'"):
            client.infer("cars", tensors(inputs, binary=False))
        with pytest.raises(InferenceServerException, match="All inputs must have the same"):
            client.infer(
                "boats", tensors(inputs, binary=True)[:1] + tensors(inputs[:3], binary=True)[1:]
            )
        assert not client.is_model_ready("boats", "99")
