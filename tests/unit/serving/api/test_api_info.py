"""What is served: contract, model, health, metrics, documentation, explanations, feedback."""

from __future__ import annotations

import random

import jsonschema
import pytest

from evergreen.serving.api.schema import random_row, row_schema
from evergreen.serving.settings import ServingConfig
from tests.support.contract_api import ROW


def test_the_contract_is_shown_with_policies_and_schema(api):
    answer = api.get("/contract").json()
    assert answer["use_case"] == "boats"
    assert answer["policies"]["out_of_range"] == "reject"
    height = answer["schema"]["properties"]["mast / height"]
    assert height == {
        "type": ["number", "null"],
        "description": "In m.",
        "x-unit": "m",
        "minimum": 0.0,
        "maximum": 60.0,
        "examples": [0.0],
    }
    assert answer["schema"]["properties"]["harbour"]["enum"] == ["Kiel", "Åbo", "", None]


def test_random_examples_are_answered(api):
    contract = api.runtime.contract
    for seed in range(20):
        row = random_row(contract, ServingConfig(), random.Random(seed))
        assert api.post("/predict", row).status_code == 200, row
    assert api.post("/predict", api.get("/contract/example").json()).status_code == 200


def test_the_model_tells_where_it_comes_from(api):
    answer = api.get("/model/info").json()
    assert answer["model"] == "boats"
    assert (answer["version"], answer["alias"]) == ("3", "champion")
    assert answer["trained"] == "2026-05-01T00:00:00+00:00"
    assert answer["data"] == {"source": "boats.csv", "fingerprint": "f" * 64, "rows": 120}
    assert answer["figures"]["metrics"]["accuracy"]["estimate"] == 0.9
    assert answer["runtime"] in {"onnx", "native"}


def test_health_tells_of_a_version_that_cannot_be_loaded(api):
    assert api.get("/health").json()["status"] == "ok"
    api.holder.report("4", "its file /srv/secret/place is damaged")
    answer = api.get("/health")
    assert answer.status_code == 200
    assert answer.json()["status"] == "degraded"
    assert "secret" not in answer.text
    assert "secret" in api.get("/model/info").text
    assert "evergreen_model_swap_failing 1.0" in api.get("/metrics").text


def test_metrics_count_requests_rows_and_versions(api):
    api.post("/predict", ROW)
    api.post("/predict", {})
    api.post("/predict/batch", [ROW, ROW])
    api.get("/nope")
    api.rows_logged()
    text = api.get("/metrics").text
    for line in (
        'evergreen_requests_total{route="/predict",status="200"} 1.0',
        'evergreen_requests_total{route="/predict",status="422"} 1.0',
        'evergreen_predictions_total{route="/predict"} 1.0',
        'evergreen_predictions_total{route="/predict/batch"} 2.0',
        'evergreen_request_duration_seconds_count{route="/predict"} 2.0',
        "evergreen_model_ready 1.0",
        "evergreen_model_swaps 0.0",
        'evergreen_prediction_log_rows{state="logged"} 3.0',
        "evergreen_requests_in_flight 1.0",
    ):
        assert line in text, line
    kind = api.runtime.kind
    info = f'alias="champion",model="boats",runtime="{kind}",version="3"'
    assert f"evergreen_model_info{{{info}}} 1.0" in text


def test_a_swap_shows_in_answers_and_metrics(api):
    api.get("/metrics")
    api.holder.swap(api.runtime, "4", "champion")
    assert api.post("/predict", ROW).json()["model_version"] == "4"
    text = api.get("/metrics").text
    assert "evergreen_model_swaps 1.0" in text
    assert 'version="3"} 0.0' in text
    assert 'version="4"} 1.0' in text


def test_the_schema_takes_what_the_api_takes_and_refuses_what_it_refuses(api):
    schema = row_schema(api.runtime.contract, ServingConfig())
    check = jsonschema.Draft202012Validator(schema)
    check.check_schema(schema)
    for change in [{}, {"harbour": None}, {"crew": 13}, {"crew": 2.5}, {"harbour": "x"}, {"z": 1}]:
        row = {**ROW, **change}
        assert check.is_valid(row) == (api.post("/predict", row).status_code == 200), change


def test_the_documentation_has_the_fields(api):
    document = api.get("/openapi.json").json()
    assert document["openapi"] == "3.1.0"
    row = document["components"]["schemas"]["Row"]
    assert list(row["properties"]) == list(ROW)
    assert row["additionalProperties"] is False
    for path in ("/predict", "/predict/batch", "/explain", "/feedback", "/invocations"):
        assert "post" in document["paths"][path]
    assert "/v2/models/{name}/versions/{version}/infer" in document["paths"]


def test_an_explanation_names_every_field_the_greatest_first(api, number_api):
    answer = api.post("/explain", ROW).json()
    assert {field["field"] for field in answer["fields"]} == set(ROW)
    assert answer["outputs"] == ["calm", "gale", "storm"]
    sizes = [max(map(abs, field["contributions"])) for field in answer["fields"]]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > 0
    assert api.post("/explain", {}).status_code == 422
    assert number_api.post("/explain", ROW).json()["outputs"] == ["wind"]


def test_feedback_reaches_the_log(api):
    number = api.post("/predict", ROW).json()["request_id"]
    one = api.post("/feedback", {"request_id": number, "label": "storm"})
    assert (one.status_code, one.json()) == (202, {"accepted": 1})
    many = [{"request_id": "x", "row": row, "label": "calm"} for row in range(3)]
    assert api.post("/feedback", many).json() == {"accepted": 3}
    whole = {"request_id": "y", "label": "calm", "row": 2.0e9}
    assert api.post("/feedback", whole).status_code == 202
    stored = api.rows_logged("feedback")
    assert {row["request_id"] for row in stored} == {number, "x", "y"}


@pytest.mark.parametrize(
    ("entry", "field"),
    [
        ({"label": "calm"}, "request_id"),
        ({"request_id": "a b", "label": "calm"}, "request_id"),
        ({"request_id": "a"}, "label"),
        ({"request_id": "a", "label": "hurricane"}, "label"),
        ({"request_id": "a", "label": 1}, "label"),
        ({"request_id": "a", "label": "calm", "row": -1}, "row"),
        ({"request_id": "a", "label": "calm", "row": True}, "row"),
        ({"request_id": "a", "label": "calm", "row": 1.5}, "row"),
        ({"request_id": "a", "label": "calm", "row": 1e300}, "row"),
        ({"request_id": "a", "label": "calm", "note": ""}, "note"),
    ],
    ids=str,
)
def test_feedback_that_fits_nothing_is_refused(api, entry, field):
    response = api.post("/feedback", entry)
    assert response.status_code == 422
    assert response.json()["errors"][0]["field"] == field
    assert api.rows_logged("feedback") == []


def test_true_numbers_are_taken_for_a_regression(number_api):
    assert number_api.post("/feedback", {"request_id": "a", "label": 12.5}).status_code == 202
    assert number_api.post("/feedback", {"request_id": "a", "label": True}).status_code == 422
    assert number_api.post("/feedback", {"request_id": "a", "label": 10**400}).status_code == 422
