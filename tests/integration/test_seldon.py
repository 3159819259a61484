"""seldon-core's own server with our class, started as Seldon starts it: REST, gRPC, metrics."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import time

import httpx
import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa

from evergreen.paths import Home
from evergreen.promotion.store import prepare_store
from tests.support.contract_api import ROW
from tests.support.models import write_small_bundle
from tests.support.seldon import HERE, ROOT, seldon_server, start
from tests.support.served import bundle_of
from tests.support.server_process import kill
from tests.support.stores import Store

NESTED = b'{"jsonData":' + b"[" * 100_000


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundles") / "wine"
    return bundle_of("wine.yaml", "decision_tree", folder, {"max_depth": 4})


@pytest.fixture(scope="module")
def row(bundle):
    columns = [column.name for column in bundle.contract.features]
    return {name: float(bundle.golden[name].iloc[0]) for name in columns}


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    return f"sqlite:///{tmp_path_factory.mktemp('log') / 'predictions.db'}"


@pytest.fixture(scope="module")
def server(bundle, database, tmp_path_factory):
    settings = json.dumps({"log": {"url": database}})
    with seldon_server(
        tmp_path_factory.mktemp("seldon"),
        {"model_uri": str(bundle.folder), "settings": settings},
        {"EVERGREEN_MODEL_VERSION": "7", "INCLUDE_METRICS_IN_CLIENT_RESPONSE": "false"},
    ) as server:
        yield server


@pytest.fixture(scope="module")
def unlogged(bundle, tmp_path_factory):
    home = tmp_path_factory.mktemp("unlogged")
    with seldon_server(home, {}, {"EVERGREEN_MODEL_URI": str(bundle.folder)}) as server:
        yield server


def status_of(response: httpx.Response) -> dict:
    assert response.status_code == 400, response.text
    return response.json()["status"]


def logged(database: str, table: str, number: str, rows: int = 1) -> list[sa.Row]:
    """Return a request's rows once they are there."""
    engine = sa.create_engine(database)
    question = sa.text(f"SELECT * FROM {table} WHERE request_id = :number ORDER BY request_row")
    deadline = time.monotonic() + 30
    try:
        while time.monotonic() < deadline:
            with engine.connect() as connection:
                if sa.inspect(connection).has_table(table):
                    found = connection.execute(question, {"number": number}).all()
                    if len(found) >= rows:
                        return list(found)
            time.sleep(0.05)
    finally:
        engine.dispose()
    raise AssertionError(f"nothing in {table} for {number}")


def test_an_answer_names_its_classes_its_model_and_its_request(server, row):
    values = list(row.values())
    answer = server.post({"data": {"ndarray": [values]}, "meta": {"puid": "order-7"}}).json()
    assert answer["data"]["names"] == ["class_0", "class_1", "class_2"]
    assert sum(answer["data"]["ndarray"][0]) == pytest.approx(1)
    assert answer["meta"]["puid"] == "order-7"
    tags = answer["meta"]["tags"]
    assert (tags["model"], tags["model_version"]) == ("wine", "7")
    assert tags["request_id"].startswith("order-7.")
    assert not answer["meta"].get("metrics")


def test_tags_of_a_graph_s_earlier_components_are_handed_on(server, row):
    tags = {"cleaned": True, "model_version": "not ours"}
    message = {"jsonData": row, "meta": {"tags": tags, "requestPath": {"cleaner": "image:1"}}}
    answers = [server.post(message).json(), *server.call([message])]
    for answer in answers:
        assert answer["meta"]["tags"]["cleaned"] is True
        assert answer["meta"]["tags"]["model_version"] == "7"
        assert answer["meta"]["requestPath"] == {"cleaner": "image:1"}


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (b"", "JSON"),
        (b"{", "JSON"),
        (b"\xff\xfe", "JSON"),
        (NESTED, "nested too deeply"),
        ([], "must be an object"),
        ({}, "must hold one of data"),
        ({"strData": "1,2"}, "strData is not understood"),
        ({"data": {"ndarray": [[1.0]]}}, "the model takes 13"),
        ({"data": {"ndarray": [["strong"] * 13]}}, "alcohol: must be a number"),
        (
            {"data": {"names": ["alcohol"], "ndarray": [[12.0]]}},
            "malic_acid: the column is missing",
        ),
        ({"jsonData": {"alcool": 12.0}}, "did you mean 'alcohol'"),
        ({"jsonData": [], "meta": {"tags": 1}}, "meta.tags"),
    ],
)
def test_bad_input_is_answered_400_with_the_reason(server, message, said):
    status = status_of(server.post(message))
    assert said in status["info"]
    assert status["status"] in ("FAILURE", 1)  # the number where seldon-core itself refuses
    assert "Traceback" not in server.log.read_text()


def test_a_value_out_of_range_is_told_what_is_allowed(server, row):
    status = status_of(server.post({"jsonData": {**row, "alcohol": 400.0}}))
    assert status["code"] == 400
    assert status["reason"] == "invalid-input"
    assert "at least 0 and at most 100, in % vol" in status["info"]


def test_other_ways_of_sending_json_that_is_none_are_answered_400(server):
    url = f"{server.url}/api/v1.0/predictions"
    assert "no JSON" in status_of(httpx.post(url, params={"json": "{"}))["info"]
    assert "no JSON" in status_of(httpx.post(url, data={"json": "{"}))["info"]
    text = httpx.post(url, content=b"{}", headers={"content-type": "text/plain"})
    assert "JSON" in status_of(text)["info"]


def test_grpc_says_what_is_wrong_in_the_message_s_status(server, row):
    values = list(row.values())
    good, bad, empty, odd = server.call(
        [
            {"data": {"ndarray": [values]}},
            {"data": {"ndarray": [["strong", *values[1:]]]}},
            {},
            {"binData": "AAAA"},
        ]
    )
    assert "status" not in good
    assert sum(good["data"]["ndarray"][0]) == pytest.approx(1)
    for answer, said in ((bad, "alcohol: must be"), (empty, "must hold"), (odd, "binData is not")):
        assert "data" not in answer
        assert answer["status"]["status"] == "FAILURE"
        assert answer["status"]["code"] == 400
        assert said in answer["status"]["info"]
    assert "Traceback" not in server.log.read_text()


def test_predictions_and_labels_of_both_protocols_reach_one_log(server, database, row):
    message = {"data": {"ndarray": [list(row.values())] * 2}}
    by_rest = server.post(message).json()
    (by_grpc,) = server.call([message])
    for answer in (by_rest, by_grpc):
        number = answer["meta"]["tags"]["request_id"]
        rows = logged(database, "predictions", number, rows=2)
        assert [one.request_row for one in rows] == [0, 1]
        assert {one.version for one in rows} == {"7"}
        assert json.loads(rows[0].inputs) == row
        at = int(np.argmax(answer["data"]["ndarray"][0]))
        assert json.loads(rows[0].prediction) == answer["data"]["names"][at]

    truth = {"data": {"ndarray": [["class_0"], ["class_2"]]}}
    told = server.post({"response": by_rest, "truth": truth}, "/api/v1.0/feedback")
    assert told.status_code == 200, told.text
    assert told.json()["jsonData"] == {"accepted": 2}
    (receipt,) = server.call([{"response": by_grpc, "truth": truth}], "SendFeedback")
    assert receipt["jsonData"] == {"accepted": 2}
    for answer in (by_rest, by_grpc):
        labels = logged(database, "feedback", answer["meta"]["tags"]["request_id"], rows=2)
        assert [json.loads(one.label) for one in labels] == ["class_0", "class_2"]


def test_a_label_that_is_none_is_refused(server, row):
    answer = server.post({"jsonData": row}).json()
    told = {"response": {"meta": answer["meta"]}, "truth": {"strData": "class_9"}}
    status = status_of(server.post(told, "/api/v1.0/feedback"))
    assert "one of 'class_0', 'class_1', 'class_2'" in status["info"]
    nameless = server.post({"truth": {"strData": "class_1"}}, "/api/v1.0/feedback")
    assert "request_id" in status_of(nameless)["info"]
    (refused,) = server.call([told], "SendFeedback")
    assert refused["status"]["code"] == 400


def test_without_a_log_feedback_is_refused_and_says_so(unlogged, row):
    answer = unlogged.post({"jsonData": row}).json()
    told = {"response": {"meta": answer["meta"]}, "truth": {"strData": "class_1"}}
    response = unlogged.post(told, "/api/v1.0/feedback")
    assert response.status_code == 501
    assert "keeps no prediction log" in response.json()["status"]["info"]
    (refused,) = unlogged.call([told], "SendFeedback")
    assert refused["status"]["code"] == 501


def test_metadata_health_and_metrics(server, row):
    metadata = httpx.get(f"{server.url}/metadata").json()
    assert metadata["name"] == "wine"
    assert metadata["versions"] == ["7"]
    assert metadata["inputs"][0]["schema"]["names"] == list(row)
    health = httpx.get(f"{server.url}/health/status").json()["jsonData"]
    assert health == {"status": "ok", "model": "wine", "model_version": "7", "problems": []}

    def figure(pattern: str) -> float:
        text = httpx.get(server.metrics).text
        found = re.findall(rf"^{pattern} (\S+)$", text, re.MULTILINE)
        assert found, text
        return sum(map(float, found))

    server.post({"jsonData": row})
    before = figure(r"evergreen_predictions_total\{.*\}")
    server.post({"jsonData": [row] * 5})
    assert figure(r"evergreen_predictions_total\{.*\}") == before + 5
    assert figure(r"evergreen_request_duration_seconds_count\{.*\}") > 0
    assert figure(r"evergreen_model_ready\{.*method=\"predict\".*\}") == 1


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"model_uri": "/not/there"}, "There is no bundle folder /not/there."),
        ({"model_uri": "models:/wine"}, "models:/NAME@ALIAS"),
        ({"model_uri": "", "settings": '{"missing": "guess"}'}, "serving.missing"),
    ],
)
def test_what_cannot_be_served_ends_with_one_message(tmp_path, parameters, said):
    process, _, log = start(tmp_path, parameters, {"EVERGREEN_MODEL_URI": "/not/there/either"})
    try:
        assert process.wait(60) == 2
    finally:
        kill(process)
    assert said in log.read_text()
    assert "Traceback" not in log.read_text()


def test_a_bundle_that_answers_otherwise_is_not_served(bundle, tmp_path):
    folder = tmp_path / "bundle"
    shutil.copytree(bundle.folder, folder)
    golden = pd.read_parquet(folder / "golden.parquet")
    golden["evergreen.probability.class_0"] += 0.01
    golden.to_parquet(folder / "golden.parquet", index=False)
    manifest = json.loads((folder / "manifest.json").read_text())
    content = (folder / "golden.parquet").read_bytes()
    manifest["files"]["golden.parquet"] = hashlib.sha256(content).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))
    process, _, log = start(tmp_path / "home", {"model_uri": str(folder)})
    try:
        assert process.wait(60) != 0
    finally:
        kill(process)
    assert "cannot be served" in log.read_text()


def test_sigterm_ends_every_process_and_loses_no_row(bundle, row, tmp_path):
    database = f"sqlite:///{tmp_path / 'predictions.db'}"
    settings = json.dumps({"log": {"url": database}})
    parameters = {"model_uri": str(bundle.folder), "settings": settings}
    with seldon_server(tmp_path / "home", parameters) as server:
        (by_grpc,) = server.call([{"jsonData": [row] * 3}])
        by_rest = server.post({"jsonData": [row] * 3}).json()
        assert server.stop() == 0
        for url in (server.url, server.metrics, f"http://{server.grpc}"):
            with pytest.raises(httpx.ConnectError):
                httpx.get(url)
    for answer in (by_grpc, by_rest):
        number = answer["meta"]["tags"]["request_id"]
        assert len(logged(database, "predictions", number, rows=3)) == 3


def test_locked_versions_are_those_of_the_project_where_seldon_core_lets_them():
    def locked(path):
        found: dict[str, set[str]] = {}  # several where they differ by Python's version
        for name, version in re.findall(
            r"^([a-z0-9_.-]+)==([^ ;\\]+)", path.read_text(), re.MULTILINE
        ):
            found.setdefault(name, set()).add(version)
        return found

    ours, seldons = locked(ROOT / "requirements.txt"), locked(HERE / "requirements.txt")
    named = re.findall(r"^([a-z-]+)", (HERE / "requirements.in").read_text(), re.MULTILINE)
    held_back = {"numpy", "protobuf", "setuptools", "click", "onnxruntime"}
    shared = {name for name in named if name in ours} - held_back
    assert len(shared) >= 10
    assert {name for name in shared if not seldons[name] <= ours[name]} == set()


@pytest.fixture
def store(tmp_path):
    home = Home(tmp_path / "store")
    experiment = prepare_store(home, "boats")
    store = Store(home.mlflow_uri, experiment, tmp_path / "log.db", tmp_path / "locks")
    yield store
    store.registry.log.close()


def test_an_alias_is_followed_without_a_failed_request(store, tmp_path):
    bundles = [
        write_small_bundle(tmp_path / f"bundle-{seed}", seed=seed, training_key=f"key-{seed}")
        for seed in (1, 2)
    ]
    store.add(bundles[0])
    message = {"jsonData": ROW}
    parameters = {"model_uri": "models:/boats@champion"}
    with seldon_server(tmp_path / "home", parameters, {"MLFLOW_TRACKING_URI": store.uri}) as server:
        assert server.post(message).json()["meta"]["tags"]["model_version"] == "1"
        assert httpx.get(f"{server.url}/metadata").json()["versions"] == ["1"]
        store.add(bundles[1])
        deadline = time.monotonic() + 60
        versions = ["1"]
        while versions[-1] == "1" and time.monotonic() < deadline:
            response = server.post(message)
            assert response.status_code == 200, response.text
            versions.append(response.json()["meta"]["tags"]["model_version"])
            time.sleep(0.05)
        assert set(versions) == {"1", "2"}
        (by_grpc,) = server.call([message])
        while by_grpc["meta"]["tags"]["model_version"] == "1" and time.monotonic() < deadline:
            (by_grpc,) = server.call([message])
        assert by_grpc["meta"]["tags"]["model_version"] == "2"
