"""The whole of deploy/compose.yaml: trained into, served from, logged and watched."""

from __future__ import annotations

import json
import time

import httpx
import pytest

from tests.support.containers import composed, podman

pytestmark = pytest.mark.timeout(3000)  # the first test builds images
QUICK = "--set training.trials=2 --set training.candidates=[random_forest]"


@pytest.fixture(scope="module")
def stack(server_images, readable):
    (readable / "secrets").mkdir()
    with composed(readable / "secrets") as stack:
        stack("up", "-d", "postgres", "s3", "mlflow", "zenml", "prometheus")
        stack.wait_for("mlflow", "/health")
        stack.wait_for("zenml", "/health")
        yield stack


@pytest.fixture(scope="module")
def key(stack, readable) -> str:
    run = ("run", "--rm", "--no-deps", "-T", "--entrypoint", "python", "api")
    done = stack(
        *run, "-m", "evergreen.serving.keys", "create", "--name", "test", "--scope", "admin"
    )
    key = done.stdout.split()[-1]
    (readable / "secrets" / "api_key").write_text(key)
    return key


@pytest.fixture(scope="module")
def api(stack, key) -> httpx.Client:
    """The API, started before there is a model: it waits for one."""
    stack("up", "-d", "api")
    stack("run", "--rm", "--no-deps", "-T", "-e", f"TRAIN_ARGS={QUICK}", "train")
    stack.wait_for("api", "/health/ready")
    headers = {"authorization": f"Bearer {key}"}
    with httpx.Client(base_url=stack.url("api"), headers=headers, timeout=30) as client:
        yield client


def query(stack, database: str, text: str, *, check: bool = True) -> str:
    """Ask PostgreSQL in its container, as an administrator would."""
    name = f"{stack.name}_postgres_1"
    user = ("--username", "evergreen", "--dbname", database)
    return podman("exec", name, "psql", "-tA", *user, "--command", text, check=check).stdout.strip()


def test_what_was_trained_is_served_and_logged(stack, api):
    info = api.get("/model/info").json()
    assert (info["model"], info["version"]) == ("wine", "1")
    example = api.get("/contract/example").json()
    answers = [api.post("/predict", json=example).json() for _ in range(3)]
    assert {answer["model_version"] for answer in answers} == {"1"}

    wanted = {answer["request_id"] for answer in answers}
    deadline = time.monotonic() + 120
    logged: set[str] = set()
    asked = "SELECT request_id FROM predictions"
    while not wanted <= logged and time.monotonic() < deadline:
        # The log makes its table with the first row, a moment after the answer.
        logged = set(query(stack, "evergreen", asked, check=False).split())
        time.sleep(0.2)
    assert logged == wanted

    where = query(stack, "mlflow", "SELECT storage_location FROM model_versions")
    assert where.startswith("mlflow-artifacts:")
    aliases = query(stack, "mlflow", "SELECT alias, version FROM registered_model_aliases")
    assert "champion|1" in aliases.splitlines()


def test_the_bundle_is_in_s3(stack, api):
    listing = (
        "import boto3, os; client = boto3.client('s3', endpoint_url="
        "os.environ['MLFLOW_S3_ENDPOINT_URL']); print([one['Key'] for one in "
        "client.list_objects_v2(Bucket=os.environ['BUCKET'])['Contents']])"
    )
    files = podman("exec", f"{stack.name}_mlflow_1", "python", "-c", listing).stdout
    assert "model.onnx" in files
    assert "contract.json" in files


def test_prometheus_reads_the_api(stack, api):
    deadline = time.monotonic() + 90
    found: list = []
    while not found and time.monotonic() < deadline:
        asked = {"query": "evergreen_model_info"}
        answer = httpx.get(f"{stack.url('prometheus')}/api/v1/query", params=asked)
        found = answer.json()["data"]["result"]
        time.sleep(1)
    assert found[0]["metric"]["model"] == "wine"
    rules = httpx.get(f"{stack.url('prometheus')}/api/v1/rules").json()["data"]["groups"]
    states = {rule["name"]: rule["health"] for group in rules for rule in group["rules"]}
    assert states["EvergreenErrors"] == "ok"


def test_the_run_is_in_zenmls_server(stack, api):
    login = {"username": "admin", "password": stack.env["ZENML_PASSWORD"]}
    base = f"{stack.url('zenml')}/api/v1"
    token = httpx.post(f"{base}/login", data=login, timeout=30).json()["access_token"]
    headers = {"authorization": f"Bearer {token}"}
    runs = httpx.get(f"{base}/runs", headers=headers, timeout=30).json()["items"]
    assert [run["body"]["status"] for run in runs] == ["completed"], json.dumps(runs)[:2000]
