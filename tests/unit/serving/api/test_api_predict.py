"""POST /predict: answers, refusals, policies and what the log keeps."""

from __future__ import annotations

import json

import numpy as np
import pytest

from evergreen.data.conform import model_frame
from evergreen.promotion.bundle import open_bundle
from evergreen.serving.settings import ServingConfig
from tests.support.contract_api import ROW


def test_answers_with_label_probabilities_version_and_id(api, class_bundle):
    response = api.post("/predict", ROW)
    assert response.status_code == 200
    answer = response.json()
    assert answer["prediction"] == answer["label"] in {"calm", "gale", "storm"}
    assert answer["prediction"] == max(answer["probabilities"], key=answer["probabilities"].get)
    assert sum(answer["probabilities"].values()) == pytest.approx(1)
    assert answer["model_version"] == "3"
    assert answer["flags"] == []
    bundle = open_bundle(class_bundle)
    import pandas as pd

    frame = model_frame(pd.DataFrame([ROW]), bundle.contract)
    expected = bundle.model().predict_proba(frame)[0]
    assert list(answer["probabilities"].values()) == pytest.approx(expected.tolist(), abs=1e-9)


def test_answers_a_regression_with_a_number(number_api):
    answer = number_api.post("/predict", ROW).json()
    assert isinstance(answer["prediction"], float)
    assert answer["interval"] == [answer["prediction"] - 1.5, answer["prediction"] + 1.5]
    assert "probabilities" not in answer


def test_takes_values_alone_in_contract_order(api):
    values = api.post("/predict", {"features": list(ROW.values())})
    assert values.status_code == 200
    assert values.json()["probabilities"] == api.post("/predict", ROW).json()["probabilities"]
    short = api.post("/predict", {"features": [1, 2]})
    assert short.status_code == 422
    assert "in this order: 'mast / height', 'crew'" in short.json()["detail"]


@pytest.mark.parametrize(
    ("change", "field", "message"),
    [
        ({"mast / height": True}, "mast / height", "must be a number, but is true"),
        ({"mast / height": "10"}, "mast / height", "must be a number, but is the text '10'"),
        ({"mast / height": 1e39}, "mast / height", "must be finite"),
        ({"mast / height": 10**400}, "mast / height", "must be finite"),
        ({"mast / height": -1}, "mast / height", "is -1, below 0"),
        ({"mast / height": [1]}, "mast / height", "but is a list"),
        ({"crew": 2.5}, "crew", "must be a whole number, but is 2.5"),
        ({"crew": 13}, "crew", "is 13, above 12"),
        ({"crew": None}, "crew", "is missing"),
        ({"licensed": 2}, "licensed", "must be true or false, but is the number '2'"),
        ({"licensed": "yes"}, "licensed", "must be true or false"),
        ({"harbour": 3}, "harbour", "must be text, but is the number '3' (write \"3\")"),
        ({"harbour": "Atlantis"}, "harbour", "is 'Atlantis', an unknown category"),
        ({"harbour": {"a": 1}}, "harbour", "must be text, but is an object"),
        ({"built": "yesterday"}, "built", "must be a moment such as"),
        ({"built": "2026-13-01"}, "built", "must be a moment such as"),
        ({"built": False}, "built", "must be a moment such as"),
        ({"crwe": 3}, "crwe", "is not a field of this model; did you mean 'crew'?"),
    ],
    ids=str,
)
def test_refuses_and_says_what_is_allowed(api, change, field, message):
    response = api.post("/predict", {**ROW, **change})
    assert response.status_code == 422
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert problem["type"] == "urn:evergreen:problem:invalid-input"
    error = problem["errors"][0]
    assert error["field"] == field
    assert message in error["message"]
    assert field in problem["detail"]
    assert api.rows_logged() == []


def test_names_every_mistake_with_what_is_allowed(api):
    problem = api.post("/predict", {"mast / height": -1, "crew": "x", "built": None}).json()
    errors = {error["field"]: error for error in problem["errors"]}
    assert set(errors) == {"mast / height", "crew", "licensed"}
    assert errors["mast / height"]["allowed"] == (
        "a number, at least 0 and at most 60, in m, or null"
    )
    assert errors["crew"]["allowed"] == "a whole number, at least 1 and at most 12"


@pytest.mark.parametrize("change", [{"harbour": None}, {"harbour": " "}, {"built": None}])
def test_nullable_fields_may_be_missing(api, change):
    assert api.post("/predict", {**ROW, **change}).status_code == 200
    rest = {name: value for name, value in ROW.items() if name not in change}
    assert api.post("/predict", rest).status_code == 200


def test_flags_what_the_policies_let_through(api_of, class_bundle):
    lenient = ServingConfig(
        out_of_range="flag", unknown_category="flag", missing="flag", extra_fields="ignore"
    )
    api = api_of(class_bundle, lenient)
    odd = {"mast / height": 99, "harbour": "Atlantis", "licensed": True, "new": 1}
    answer = api.post("/predict", odd).json()
    flags = ["out_of_range:mast / height", "missing:crew", "unknown_category:harbour"]
    assert answer["flags"] == flags
    (row,) = api.rows_logged()
    stored = row["flags"] if isinstance(row["flags"], list) else json.loads(row["flags"])
    assert stored == flags
    assert 'evergreen_flags_total{flag="missing"} 1.0' in api.get("/metrics").text


def test_accepts_missing_values_without_a_flag_where_told(api_of, class_bundle):
    api = api_of(class_bundle, ServingConfig(missing="accept"))
    assert api.post("/predict", {**ROW, "crew": None}).json()["flags"] == []


def test_flags_what_training_never_saw(api_of, class_bundle):
    recorded = {
        "mast / height": {"minimum": 5.0, "maximum": 15.0},
        "harbour": {"categories": ("Kiel", "Åbo")},
    }
    api = api_of(class_bundle, promises=recorded)
    answer = api.post("/predict", {**ROW, "mast / height": 15.5, "harbour": "Riga"}).json()
    assert answer["flags"] == ["beyond_training:mast / height", "new_category:harbour"]
    assert api.post("/predict", ROW).json()["flags"] == []


def test_logs_what_the_model_got_and_said(api):
    answer = api.post("/predict", ROW).json()
    (row,) = api.rows_logged()
    assert row["request_id"] == answer["request_id"]
    inputs = row["inputs"] if isinstance(row["inputs"], dict) else json.loads(row["inputs"])
    assert inputs["mast / height"] == 10.5
    assert inputs["licensed"] == 1
    assert inputs["harbour"] == "Kiel"
    assert inputs["built"].startswith("1995-06-01T12:30:00")


def test_a_client_may_name_its_requests_more_than_once(api):
    answers = [api.post("/predict", ROW, headers={"X-Request-ID": "order-7"}) for _ in range(2)]
    assert [answer.headers["x-request-id"] for answer in answers] == ["order-7", "order-7"]
    ids = {answer.json()["request_id"] for answer in answers}
    assert len(ids) == 2
    assert all(number.startswith("order-7.") for number in ids)
    assert {row["request_id"] for row in api.rows_logged()} == ids


@pytest.mark.parametrize("odd", ["", "a b", "x" * 65, "é".encode(), "a\tb"])
def test_odd_request_ids_are_replaced(api, odd):
    response = api.post("/predict", ROW, headers={"X-Request-ID": odd})
    assert response.status_code == 200
    given = odd.decode("latin-1") if isinstance(odd, bytes) else odd
    assert response.headers["x-request-id"] != given
    assert response.json()["request_id"] == response.headers["x-request-id"]


def test_values_too_extreme_for_an_answer_are_refused(api_of, class_bundle):
    class Overflowing:
        """A real model's inputs, with an answer that is no number."""

        def __init__(self, runtime):
            self.runtime = runtime

        def __call__(self, batch):
            outputs = self.runtime._runtime.predict(batch)
            outputs.probabilities[:] = np.nan
            return outputs

    api = api_of(class_bundle)
    api.runtime.predict = Overflowing(api.runtime)
    response = api.post("/predict", ROW)
    assert response.status_code == 422
    assert response.json()["type"].endswith("no-answer")


def test_without_a_model_the_answer_is_503(api_of):
    api = api_of(None)
    response = api.post("/predict", ROW)
    assert response.status_code == 503
    assert response.headers["retry-after"] == "1"
    assert api.get("/health").status_code == 503
    assert api.get("/health/ready").status_code == 503
    assert api.get("/health/live").status_code == 200
    assert api.get("/openapi.json").status_code == 200
    assert api.get("/metrics").status_code == 200


def test_durable_answers_are_on_disk_first(api_of, class_bundle):
    api = api_of(class_bundle, durable=True)
    assert api.post("/predict", ROW).status_code == 200
    assert len(api.rows_logged()) == 1


def test_a_closed_log_acknowledges_nothing(api):
    api.log.close()
    response = api.post("/predict", ROW)
    assert response.status_code == 503
