"""schemathesis against /openapi.json: what the document promises is what the API does."""

from __future__ import annotations

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from tests.support.contract_api import make_api
from tests.support.models import write_small_bundle

EXACT = {"/predict", "/predict/batch", "/feedback"}  # the document says precisely what they take
CHECKED: list[str] = []


@pytest.fixture(scope="module")
def document(tmp_path_factory):
    home = tmp_path_factory.mktemp("schema")
    write_small_bundle(home / "bundle")
    api = make_api(home / "bundle", home)
    yield schemathesis.openapi.from_asgi("/openapi.json", api.app)
    api.close()


@pytest.mark.parametrize("positive", [True, False], ids=["as documented", "otherwise"])
def test_does_what_the_document_says(document, positive):
    mode = GenerationMode.POSITIVE if positive else GenerationMode.NEGATIVE
    for found in document.get_all_operations():
        operation = found.ok()
        if operation.path == "/explain":
            continue  # seconds of SHAP values; its body is that of /predict

        @settings(
            max_examples=25,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def check(case):
            response = case.call()
            excluded = []
            # What a text or a tensor must hold is beyond JSON Schema.
            if case.media_type != "application/json" or case.path not in EXACT:
                excluded.append(positive_data_acceptance)
            # Moments need no zone, and blank text is missing: more than the document promises.
            if case.path != "/feedback":
                excluded.append(negative_data_rejection)
            if response.status_code == 413:  # too many: a refusal, too
                excluded.append(negative_data_rejection)
            case.validate_response(response, excluded_checks=excluded)
            assert response.status_code < 500

        try:
            check()
        except Unsatisfiable:
            assert not positive  # nothing can be wrong with a request that has no input
        CHECKED.append(operation.label)


def test_every_operation_was_checked(document):
    assert len(set(CHECKED)) == 22
