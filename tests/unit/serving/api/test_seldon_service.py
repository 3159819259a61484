"""Seldon's messages, answered in this process by the small model with columns of every type."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import sqlalchemy as sa

from evergreen.errors import RefusedError, UnreachableError
from evergreen.serving.holder import ModelHolder
from evergreen.serving.prediction_log import PredictionLog
from evergreen.serving.problems import Problem
from evergreen.serving.runtime import load_runtime
from evergreen.serving.seldon_service import SeldonService, model_metadata
from evergreen.serving.settings import ServingConfig
from tests.support.contract_api import ROW

NAMES = list(ROW)
VALUES = list(ROW.values())
OTHER = [None, 2, False, None, "2001-02-03"]


def service_of(folder, log=None, **settings) -> SeldonService:
    holder = ModelHolder()
    service = SeldonService(holder, ServingConfig(**settings), log)
    holder.swap(load_runtime(folder), "3", "champion")
    return service


@pytest.fixture(scope="module")
def service(class_bundle):
    return service_of(class_bundle)


@pytest.fixture
def database(tmp_path):
    return f"sqlite:///{tmp_path / 'predictions.db'}"


@pytest.fixture
def log(database, tmp_path):
    log = PredictionLog(database, "boats", spool=tmp_path / "spool")
    yield log
    log.close()


def test_an_array_is_answered_with_probabilities_in_the_order_of_the_labels(service, api):
    answer = service.predict({"data": {"ndarray": [VALUES, OTHER]}})
    asked = api.post("/predict/batch", {"features": [VALUES, OTHER]}).json()
    expected = [list(row["probabilities"].values()) for row in asked["predictions"]]
    assert np.asarray(answer.data).tolist() == expected
    assert answer.tags["model"] == "boats"
    assert answer.tags["model_version"] == "3"


def test_names_may_stand_in_any_order(service):
    straight = service.predict({"data": {"ndarray": [VALUES]}})
    turned = service.predict({"data": {"names": NAMES[::-1], "ndarray": [VALUES[::-1]]}})
    assert np.array_equal(straight.data, turned.data)


def test_json_is_answered_as_the_api_answers_batches(service, api):
    answer = service.predict({"jsonData": [ROW, dict(zip(NAMES, OTHER, strict=True))]})
    asked = api.post("/predict/batch", {"features": [VALUES, OTHER]}).json()
    assert answer.data["predictions"] == asked["predictions"]
    assert answer.data["rows"] == 2
    json.dumps(answer.data)


@pytest.mark.parametrize(
    "content", [ROW, [ROW], [VALUES], {"features": VALUES}, {"features": [VALUES]}]
)
def test_json_may_hold_one_row_or_many(service, content):
    assert service.predict({"jsonData": content}).data["rows"] == 1


def test_a_regression_answers_one_column(number_bundle):
    answer = service_of(number_bundle).predict({"data": {"ndarray": [VALUES, VALUES]}})
    assert answer.data.shape == (2, 1)
    assert math.isfinite(answer.data[0, 0])


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (None, "The message must be an object"),
        ([], "The message must be an object, but is a list"),
        ({}, "must hold one of data, jsonData"),
        ({"data": {}, "jsonData": {}}, "has data and jsonData"),
        ({"strData": "a,b"}, "strData is not understood"),
        ({"data": []}, "data must be an object"),
        ({"data": {"tftensor": {}}}, "tftensor is not understood"),
        ({"data": {"ndarray": 3}}, "must be a list of rows"),
        ({"data": {"ndarray": VALUES}}, "row 0 is the number"),
        ({"data": {"ndarray": []}}, "no rows"),
        ({"data": {"ndarray": [[1]]}}, "Row 0 has 1 values; the model takes 5"),
        ({"data": {"names": 3, "ndarray": [VALUES]}}, "names must be a list of texts"),
        ({"data": {"names": ["crew", "crew"], "ndarray": [[1, 2]]}}, "a name twice"),
        ({"data": {"names": ["crew"], "ndarray": [[1, 2]]}}, "data.names 1 names"),
        ({"data": {"names": ["crew"], "ndarray": [[1]]}}, "licensed: the column is missing"),
        ({"data": {"names": [*NAMES, "kru"], "ndarray": [[*VALUES, 1]]}}, "is not a field"),
        ({"data": {"tensor": {"shape": [5], "values": []}}}, "shape must be"),
        ({"data": {"tensor": {"shape": [1, True], "values": [1]}}}, "shape must be"),
        ({"data": {"tensor": {"shape": [1, 5], "values": [1]}}}, "has 1 values"),
        ({"data": {"tensor": {"shape": [1, 5], "values": "x"}}}, "values must be a list"),
        ({"jsonData": 3}, "jsonData must be a row or a list of rows"),
        ({"jsonData": {**ROW, "crew": "four"}}, "crew: must be a whole number"),
        ({"jsonData": [ROW, 7]}, "Row 1 must be an object"),
        ({"jsonData": ROW, "meta": []}, "meta must be an object"),
        ({"jsonData": ROW, "meta": {"tags": 1}}, "meta.tags must be an object"),
        ({"jsonData": ROW, "meta": {"puid": 1}}, "meta.puid must be text"),
    ],
)
def test_what_breaks_the_format_or_the_contract_is_said(service, message, said):
    with pytest.raises(Problem) as caught:
        service.predict(message)
    assert said in caught.value.detail


def test_a_missing_number_of_a_tensor_is_nan(service):
    row = [math.nan, 4.0, 1.0, 0.0, 0.0]
    with pytest.raises(Problem, match="harbour: must be text"):
        service.predict({"data": {"tensor": {"shape": [1, 5], "values": row}}})
    with pytest.raises(Problem, match="crew"):
        service.predict(
            {
                "data": {
                    "names": ["crew", "licensed"],
                    "tensor": {"shape": [1, 2], "values": row[:2]},
                }
            }
        )
    answer = service.predict(
        {
            "data": {
                "names": ["mast / height", "crew", "licensed"],
                "tensor": {"shape": [1, 3], "values": row[:3]},
            }
        }
    )
    plain = service.predict({"jsonData": {"crew": 4, "licensed": True}})
    assert answer.data[0].tolist() == list(plain.data["predictions"][0]["probabilities"].values())


def test_more_rows_than_allowed_are_refused(class_bundle):
    service = service_of(class_bundle, batch_rows=2)
    assert service.predict({"jsonData": [ROW, ROW]}).data["rows"] == 2
    for message in ({"jsonData": [ROW] * 3}, {"data": {"ndarray": [VALUES] * 3}}):
        with pytest.raises(Problem, match="may have 2 rows"):
            service.predict(message)


def test_flags_are_told_and_counted(class_bundle):
    service = service_of(class_bundle, missing="flag")
    answer = service.predict({"data": {"ndarray": [VALUES, [10.0, None, True, "Kiel", None]]}})
    assert answer.tags["flags"] == {"1": ["missing:crew"]}
    counted = [one for one in answer.metrics if one["key"] == "evergreen_flags"]
    assert [(one["value"], one["tags"]) for one in counted] == [(1, {"flag": "missing"})]
    assert "flags" not in service.predict({"data": {"ndarray": [VALUES]}}).tags


def test_ids_are_unique_and_begin_with_the_clients(service):
    ids = [
        service.predict({"jsonData": ROW, "meta": meta}).tags["request_id"]
        for meta in ({}, {"puid": "order-7"}, {"puid": "order-7"}, {"puid": "no good: \n"})
    ]
    assert len(set(ids)) == 4
    assert [one.startswith("order-7.") for one in ids] == [False, True, True, False]


def test_predictions_and_labels_reach_the_log(class_bundle, log, database):
    service = service_of(class_bundle, log)
    first = service.predict({"data": {"ndarray": [VALUES, VALUES]}})
    told = {"response": {"meta": {"tags": first.tags}}, "truth": {"data": {"ndarray": [["calm"]]}}}
    assert service.feedback(told) == 1
    log.close()
    engine = sa.create_engine(database)
    with engine.connect() as connection:
        rows = connection.execute(
            sa.text("SELECT request_id, request_row, version, inputs FROM predictions")
        ).all()
        labels = connection.execute(sa.text("SELECT request_id, label FROM feedback")).all()
    engine.dispose()
    number = first.tags["request_id"]
    assert [(row.request_id, row.request_row, row.version) for row in rows] == [
        (number, 0, "3"),
        (number, 1, "3"),
    ]
    assert json.loads(rows[0].inputs)["harbour"] == "Kiel"
    assert [tuple(label) for label in labels] == [(number, '"calm"')]


@pytest.mark.parametrize(
    ("truth", "labels"),
    [
        ({"data": {"ndarray": ["calm", "gale"]}}, 2),
        ({"data": {"ndarray": [["calm"], ["gale"]]}}, 2),
        ({"jsonData": "calm"}, 1),
        ({"jsonData": ["calm", "gale", "storm"]}, 3),
        ({"strData": "storm"}, 1),
    ],
)
def test_labels_may_come_in_several_forms(class_bundle, log, truth, labels):
    service = service_of(class_bundle, log)
    response = {"meta": {"tags": {"request_id": "one"}}}
    assert service.feedback({"response": response, "truth": truth}) == labels


def test_a_regressions_labels_may_be_a_tensor(number_bundle, log):
    service = service_of(number_bundle, log)
    response = {"meta": {"tags": {"request_id": "one"}}}
    truth = {"data": {"tensor": {"shape": [2, 1], "values": [1.5, 2.5]}}}
    assert service.feedback({"response": response, "truth": truth}) == 2


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"truth": {"strData": "calm"}}, "request_id"),
        ({"response": 3, "truth": {"strData": "calm"}}, "request_id"),
        ({"response": {"meta": {"tags": {"request_id": "a"}}}}, "truth must be an object"),
        (
            {"response": {"meta": {"tags": {"request_id": "a"}}}, "truth": {"strData": "fog"}},
            "is the text 'fog'",
        ),
        (
            {"response": {"meta": {"tags": {"request_id": "a"}}}, "truth": {"jsonData": []}},
            "no label",
        ),
    ],
)
def test_feedback_that_cannot_be_kept_is_refused(class_bundle, log, told, said):
    with pytest.raises(Problem, match=said):
        service_of(class_bundle, log).feedback(told)


def test_without_a_log_feedback_says_so(service):
    response = {"meta": {"tags": {"request_id": "one"}}}
    with pytest.raises(RefusedError, match="keeps no prediction log"):
        service.feedback({"response": response, "truth": {"strData": "calm"}})


def test_health_and_gauges_tell_whether_a_model_is_there(class_bundle, log):
    empty = SeldonService(ModelHolder(), ServingConfig())
    assert empty.health()["status"] == "unavailable"
    assert {one["key"]: one["value"] for one in empty.gauges()}["evergreen_model_ready"] == 0
    with pytest.raises(UnreachableError):
        empty.predict({"jsonData": ROW})
    full = service_of(class_bundle, log)
    assert full.health() == {
        "status": "ok",
        "model": "boats",
        "model_version": "3",
        "problems": [],
    }
    full.holder.report("4", "broken")
    assert full.health()["status"] == "degraded"
    values = {one["key"]: one["value"] for one in full.gauges()}
    assert values["evergreen_model_ready"] == values["evergreen_model_swap_failing"] == 1


def test_a_swapped_model_answers_by_its_own_contract(class_bundle):
    service = service_of(class_bundle)
    service.predict({"jsonData": ROW})
    service.holder.swap(load_runtime(class_bundle), "4", "champion")
    assert service.predict({"jsonData": ROW}).tags["model_version"] == "4"


def test_metadata_names_fields_and_labels(service):
    contract = service.holder.current.contract
    metadata = model_metadata(contract, "3", "onnx_onnxv1")
    assert metadata["name"] == "boats"
    assert metadata["versions"] == ["3"]
    assert metadata["inputs"][0]["schema"]["names"] == NAMES
    assert metadata["outputs"][0]["schema"]["names"] == ["calm", "gale", "storm"]
