"""Keys, scopes, rates, origins and headers."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from click.testing import CliRunner

from evergreen.errors import InputError
from evergreen.serving.api.rate_limit import RateLimiter
from evergreen.serving.keys import KeyRing, key_of
from evergreen.serving.keys_command import main
from evergreen.serving.settings import ServingConfig
from tests.support.contract_api import ROW


@pytest.fixture
def ring(tmp_path, monkeypatch):
    monkeypatch.setattr("evergreen.serving.keys.LOOK_AGAIN", 0.0)
    return KeyRing(tmp_path / "keys" / "keys.json")


def bearer(secret):
    return {"authorization": f"Bearer {secret}"}


def test_without_a_key_only_pages_and_health_answer(api_of, class_bundle, ring):
    api = api_of(class_bundle, auth=ring)
    for path in ("/health", "/health/live", "/health/ready", "/ping", "/v2/health/live", "/docs"):
        assert api.get(path).status_code == 200, path
    for path in ("/contract", "/model/info", "/metrics", "/v2/models/boats"):
        response = api.get(path)
        assert response.status_code == 401, path
        assert response.headers["www-authenticate"].startswith("Bearer")
    for path in ("/predict", "/predict/batch", "/explain", "/feedback", "/invocations"):
        assert api.post(path, ROW).status_code == 401, path
    assert api.post("/v2/models/boats/infer", ROW).status_code == 401


def test_a_key_lets_in_by_either_header_and_is_logged_by_its_id(api_of, class_bundle, ring):
    key, secret = ring.create("shop")
    api = api_of(class_bundle, auth=ring)
    assert api.post("/predict", ROW, headers=bearer(secret)).status_code == 200
    assert api.post("/predict", ROW, headers={"x-api-key": secret}).status_code == 200
    assert {row["key_id"] for row in api.rows_logged()} == {key.id}


@pytest.mark.parametrize("change", ["", "x", "prefix", "case", "space", "é"])
def test_a_key_that_is_nearly_right_is_wrong(api_of, class_bundle, ring, change):
    _, secret = ring.create("shop")
    api = api_of(class_bundle, auth=ring)
    wrong = {
        "": "",
        "x": secret[:-1] + ("A" if secret[-1] != "A" else "B"),
        "prefix": secret[:-1],
        "case": secret.swapcase(),
        "space": f"{secret[:20]} {secret[20:]}",
        "é": secret + "é",
    }[change]
    headers = {"authorization": f"Bearer {wrong}".encode("latin-1")}
    assert api.post("/predict", ROW, headers=headers).status_code == 401


def test_scopes_keep_predicting_from_administering(api_of, class_bundle, ring):
    _, shop = ring.create("shop")
    _, boss = ring.create("boss", ("admin",))
    api = api_of(class_bundle, auth=ring)
    assert api.get("/metrics", headers=bearer(shop)).status_code == 403
    assert api.get("/metrics", headers=bearer(boss)).status_code == 200
    assert api.post("/predict", ROW, headers=bearer(boss)).status_code == 200


def test_keys_rotate_without_a_restart(api_of, class_bundle, ring):
    old, first = ring.create("shop")
    api = api_of(class_bundle, auth=KeyRing(ring.path))
    _, second = ring.create("shop, new")
    assert api.post("/predict", ROW, headers=bearer(first)).status_code == 200
    assert api.post("/predict", ROW, headers=bearer(second)).status_code == 200
    ring.revoke(old.id)
    assert api.post("/predict", ROW, headers=bearer(first)).status_code == 401
    assert api.post("/predict", ROW, headers=bearer(second)).status_code == 200


def test_keys_end_by_themselves(api_of, class_bundle, ring):
    _, secret = ring.create("trial", lifetime=timedelta(microseconds=1))
    api = api_of(class_bundle, auth=ring)
    assert api.post("/predict", ROW, headers=bearer(secret)).status_code == 401
    assert len(ring) == 0


def test_the_file_holds_no_key_and_is_for_its_owner(ring):
    _, secret = ring.create("shop")
    text = ring.path.read_text()
    assert secret not in text
    assert secret.split("_", 2)[2] not in text
    assert ring.path.stat().st_mode & 0o777 == 0o600


def test_a_damaged_file_lets_nobody_new_in(ring):
    _, secret = ring.create("shop")
    ring.path.write_text("{")
    assert ring.find(secret) is not None  # who was in stays in, and the log says why
    with pytest.raises(InputError, match="is no key file"):
        KeyRing(ring.path)


def test_the_command_creates_lists_and_revokes(tmp_path):
    file = tmp_path / "keys.json"
    run = CliRunner()
    made = run.invoke(
        main,
        ["--file", str(file), "create", "--name", "shop", "--scope", "admin", "--expires", "90d"],
    )
    assert made.exit_code == 0, made.output
    secret = made.stdout.strip()
    key = KeyRing(file).find(secret)
    assert key.scopes == ("admin",)
    listed = run.invoke(main, ["--file", str(file), "list"])
    assert key.id in listed.output
    assert "holds" in listed.output
    assert secret not in listed.output
    assert run.invoke(main, ["--file", str(file), "revoke", key.id]).exit_code == 0
    assert KeyRing(file).find(secret) is None
    assert run.invoke(main, ["--file", str(file), "revoke", "nobody"]).exit_code == 2
    assert (
        run.invoke(main, ["--file", str(file), "create", "--name", "a", "--expires", "1"]).exit_code
        == 2
    )
    actions = [json.loads(line) for line in (tmp_path / "admin.log").read_text().splitlines()]
    assert [action["action"] for action in actions] == ["key created", "key revoked"]
    assert secret not in (tmp_path / "admin.log").read_text()


def test_a_bucket_empties_and_fills():
    now = [0.0]
    limiter = RateLimiter(rate=2, burst=3, clock=lambda: now[0])
    assert [limiter.take("a") for _ in range(3)] == [0, 0, 0]
    assert limiter.take("a") == pytest.approx(0.5)
    assert limiter.take("b") == 0
    now[0] = 0.5
    assert limiter.take("a") == 0
    assert limiter.take("a") > 0
    now[0] = 1000
    assert [bool(limiter.take("a")) for _ in range(4)] == [False, False, False, True]


def test_too_many_requests_are_told_when_to_come_back(api_of, class_bundle, ring):
    _, first = ring.create("first")
    _, second = ring.create("second")
    api = api_of(class_bundle, ServingConfig(rate_limit=0.1, rate_burst=2), auth=ring)
    codes = [api.post("/predict", ROW, headers=bearer(first)) for _ in range(3)]
    assert [response.status_code for response in codes] == [200, 200, 429]
    assert 1 <= int(codes[2].headers["retry-after"]) <= 11
    assert api.post("/predict", ROW, headers=bearer(second)).status_code == 200
    assert api.get("/health").status_code == 200


def test_other_origins_are_off_by_default(api):
    response = api.post("/predict", ROW, headers={"origin": "https://evil.example"})
    assert not [name for name in response.headers if name.startswith("access-control")]
    asked = {"origin": "https://evil.example", "access-control-request-method": "POST"}
    assert api.request("OPTIONS", "/predict", headers=asked).status_code == 405


def test_only_named_origins_may_call(api_of, class_bundle):
    api = api_of(class_bundle, ServingConfig(cors_origins=("https://app.example.org",)))
    response = api.post("/predict", ROW, headers={"origin": "https://app.example.org"})
    assert response.headers["access-control-allow-origin"] == "https://app.example.org"
    other = api.post("/predict", ROW, headers={"origin": "https://evil.example"})
    assert "access-control-allow-origin" not in other.headers
    asked = {"origin": "https://app.example.org", "access-control-request-method": "POST"}
    assert api.request("OPTIONS", "/predict", headers=asked).status_code == 200


@pytest.mark.parametrize("path", ["/health", "/nope", "/docs", "/openapi.json", "/contract"])
def test_every_answer_carries_security_headers(api, path):
    headers = api.get(path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert "'unsafe-eval'" not in headers["content-security-policy"]
    assert "script-src 'unsafe-inline'" not in headers["content-security-policy"]


def test_the_documentation_loads_nothing_from_elsewhere(api):
    page = api.get("/docs").text
    assert "http://" not in page
    assert "https://" not in page
    assert "<script>" not in page
    assert api.get("/docs/start.js").status_code == 200
    assert api.get("/docs/files/swagger-ui-bundle.js").status_code == 200
    assert api.get("/docs/files/../../core.py").status_code == 404


def test_a_key_that_the_server_was_given_holds_beside_those_of_the_file(tmp_path, ring):
    _, shop = ring.create("shop")
    given = f"eg_0123abcd_{43 * 'x'}"
    both = KeyRing(ring.path, (key_of(given, "given", ("admin",)),))
    assert len(both) == 2
    assert both.find(given).scopes == ("admin",)
    assert both.find(shop).name == "shop"
    assert both.find(given[:-1] + "y") is None
    assert ring.find(given) is None  # it is in no file
    with pytest.raises(InputError, match="no API key"):
        key_of("secret", "given", ("predict",))
