"""Bodies that no client should send: always a 4xx with problem details, never an answer."""

from __future__ import annotations

import json

import pytest

from evergreen.serving.settings import ServingConfig
from tests.support.contract_api import ROW

POSTS = (
    "/predict",
    "/predict/batch",
    "/explain",
    "/feedback",
    "/invocations",
    "/v2/models/boats/infer",
)
GOOD = json.dumps(ROW).encode()
TWICE = GOOD[:-1] + b', "crew": 12}'
ESCAPED = GOOD[:-1] + b', "cr\\u0065w": 12}'
BODIES = {
    "empty": b"",
    "blank": b"  ",
    "no JSON": b"hello",
    "cut short": GOOD[:-5],
    "two of them": GOOD + GOOD,
    "NaN": GOOD.replace(b"10.5", b"NaN") + b" ",
    "Infinity": GOOD.replace(b"10.5", b"-Infinity"),
    "too large a number": GOOD.replace(b"10.5", b"1e400"),
    "a huge integer": GOOD.replace(b"10.5", b"9" * 5000),
    "a name twice": TWICE,
    "a name twice, escaped": ESCAPED,
    "invalid UTF-8": GOOD.replace(b"Kiel", b"\xff\xfe"),
    "lone surrogate": GOOD.replace(b"Kiel", b"\\ud800"),
    "UTF-16": GOOD.decode().encode("utf-16"),
    "byte order mark": b"\xef\xbb\xbf" + GOOD,
    "comment": GOOD + b"// hello",
    "single quotes": GOOD.replace(b'"', b"'"),
    "deep lists": b"[" * 100_000,
    "closed deep lists": b"[" * 100_000 + b"]" * 100_000,
    "deep objects": b'{"crew":' * 100_000,
    "null": b"null",
    "a number": b"5",
    "a text": b'"row"',
    "a list of numbers": b"[1, 2, 3]",
    "a list of lists": b"[[1], [2]]",
    "an empty object": b"{}",
}


@pytest.mark.parametrize("path", POSTS)
def test_bad_bodies_are_refused_and_nothing_is_logged(api, path):
    for name, body in BODIES.items():
        response = api.post(path, body)
        if path == "/invocations" and name == "NaN":
            continue  # there it means a missing value, but this is no invocation either
        assert 400 <= response.status_code < 500, (name, response.text)
        problem = response.json()
        assert problem["status"] == response.status_code
        assert problem["instance"].startswith("urn:evergreen:request:")
    assert api.rows_logged() == []


@pytest.mark.parametrize("path", POSTS)
def test_ten_megabytes_are_refused_or_read_without_harm(api, path):
    junk = b'{"crew": "' + b"x" * 10_000_000 + b'"}'
    response = api.post(path, junk)
    expected = {413} if path in {"/predict", "/explain", "/feedback"} else {400, 422}
    assert response.status_code in expected, response.text[:300]
    assert len(response.content) < 5000  # nobody gets ten megabytes back


def test_a_body_without_a_declared_length_is_counted(api_of, class_bundle):
    api = api_of(class_bundle, ServingConfig(body_limit=1024))

    async def parts():
        for _ in range(100):
            yield b" " * 100

    assert api.post("/predict", GOOD).status_code == 200
    response = api.request(
        "POST", "/predict", content=parts(), headers={"content-type": "application/json"}
    )
    assert response.status_code == 413
    assert response.headers["connection"] == "close"


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/xml", "multipart/form-data", "x" * 5000, "é"]
)
def test_other_content_types_are_refused(api, path, content_type):
    response = api.post(path, GOOD, headers={"content-type": content_type.encode()})
    assert response.status_code == 415


def test_json_with_a_charset_is_json(api):
    headers = {"content-type": "Application/JSON; charset=utf-8"}
    assert api.post("/predict", GOOD, headers=headers).status_code == 200


@pytest.mark.parametrize("path", [*POSTS, "/health", "/contract"])
def test_other_methods_are_refused_with_what_is_taken(api, path):
    response = api.request("PUT", path)
    assert response.status_code == 405
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["allow"]


@pytest.mark.parametrize(
    "path", ["/nope", "/predict/", "/v2/models/cars", "/%2e%2e/etc/passwd", "/page/../x"]
)
def test_other_paths_are_not_found(api, path):
    response = api.get(path)
    assert response.status_code == 404
    assert response.json()["type"] == "urn:evergreen:problem:not-found"


def test_without_a_content_type_only_programs_may_infer(api):
    names = [{"name": "crew", "shape": [1], "datatype": "INT64", "data": [1]}]
    body = json.dumps({"inputs": names}).encode()
    infer = "/v2/models/boats/infer"
    assert api.request("POST", infer, content=body).status_code == 422  # it was read
    origin = {"origin": "https://evil.example"}
    assert api.request("POST", infer, content=body, headers=origin).status_code == 415
    for path in POSTS[:-1]:
        assert api.request("POST", path, content=body).status_code == 415
