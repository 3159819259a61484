"""The serving image as operations run it: read-only, without rights, and stopped at any time."""

from __future__ import annotations

import json
import secrets
import shutil
import sqlite3
import subprocess
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest

from evergreen.promotion.golden import PREDICTION, PROBABILITY, compare_columns, golden_inputs
from tests.support.containers import podman, run_to_end, running

pytestmark = pytest.mark.timeout(2400)  # the first test builds the image
LARGEST = 400_000_000  # bytes, unpacked
HOME = "/var/lib/evergreen"


@contextmanager
def a_volume():
    name = f"evergreen-test-{secrets.token_hex(6)}"
    podman("volume", "create", name)
    yield name
    podman("volume", "rm", "--force", name, check=False)


@pytest.fixture
def volume():
    with a_volume() as name:
        yield name


def state(volume: str) -> tuple[str, ...]:
    return ("--volume", f"{volume}:{HOME}")


def mounted(bundle: Path) -> tuple[str, ...]:
    return ("--volume", f"{bundle}:/bundle:ro")


def make_key(image: str, volume: str) -> str:
    done = run_to_end(
        image,
        *("-m", "evergreen.serving.keys", "create", "--name", "test"),
        options=(*state(volume), "--entrypoint", "python"),
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def headers(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


@pytest.fixture(scope="module")
def shared_volume():
    with a_volume() as name:
        yield name


@pytest.fixture(scope="module")
def key(serve_image, shared_volume):
    return make_key(serve_image, shared_volume)


@pytest.fixture(scope="module")
def served(serve_image, wine, shared_volume, key):
    options = (*state(shared_volume), *mounted(wine.folder))
    with running(serve_image, "--bundle", "/bundle", options=options) as container:
        print(f"ready {container.wait_ready():.2f} s after `podman run`")
        yield container


def records(bundle) -> list[dict]:
    inputs = golden_inputs(bundle.golden, bundle.contract)
    return inputs.astype(object).where(inputs.notna(), None).to_dict("records")


def assert_golden(bundle, answers: list[dict]) -> None:
    found = {PREDICTION: np.array([one["prediction"] for one in answers], dtype=object)}
    for label in bundle.contract.labels:
        shares = [one["probabilities"][str(label)] for one in answers]
        found[f"{PROBABILITY}{label}"] = np.array(shares)
    golden = {name: bundle.golden[name].to_numpy() for name in bundle.golden}
    replay = compare_columns(golden, found, bundle.contract)
    assert replay.passed, replay.message


def test_it_answers_as_the_model_did_at_training(served, wine, key):
    answer = httpx.post(
        f"{served.url}/predict/batch", json=records(wine), headers=headers(key), timeout=30
    )
    assert answer.status_code == 200, answer.text
    assert_golden(wine, answer.json()["predictions"])
    one = httpx.post(f"{served.url}/predict", json=records(wine)[0], headers=headers(key))
    assert_golden(wine, [one.json(), *answer.json()["predictions"][1:]])


def test_without_a_key_nobody_is_answered(served, wine):
    assert httpx.post(f"{served.url}/predict", json=records(wine)[0]).status_code == 401


def test_it_is_small_and_holds_no_tools(serve_image):
    size = json.loads(podman("inspect", serve_image).stdout)[0]["Size"]
    print(f"{size / 1e6:.0f} MB")
    assert size <= LARGEST
    search = "for tool in pip pip3 uv gcc cc make curl wget; do command -v $tool; done; true"
    tools = run_to_end(serve_image, "-c", search, options=("--entrypoint", "sh"))
    assert tools.stdout == ""
    # The same search finds what is there.
    there = run_to_end(serve_image, "-c", "command -v python", options=("--entrypoint", "sh"))
    assert there.stdout.strip() == "/opt/evergreen/bin/python"
    for module in ("pip", "setuptools", "sklearn", "pandas", "mlflow", "zenml"):
        options = ("--entrypoint", "python")
        done = run_to_end(serve_image, "-c", f"import {module}", options=options)
        assert "ModuleNotFoundError" in done.stderr, module


def test_its_user_has_no_rights(served):
    assert served.exec("id", "-u").stdout.strip() == "10001"
    for place in ("/opt/evergreen/app/x", "/etc/x", "/usr/x"):
        done = served.exec("touch", place, check=False)
        assert "Read-only file system" in done.stderr
    assert served.exec("touch", f"{HOME}/x").returncode == 0


def test_its_health_is_checked(serve_image, served):
    check = json.loads(podman("image", "inspect", serve_image).stdout)[0]["Healthcheck"]
    assert check["Interval"] == 30 * 10**9
    assert podman("healthcheck", "run", served.name).returncode == 0
    dead = served.exec(
        *("env", "EVERGREEN_SERVING_PORT=9", "python", "-m", "evergreen.serving.probe"), check=False
    )
    assert dead.returncode == 1
    assert "Port 9 does not answer" in dead.stderr


def test_the_page_works_without_the_internet(served):
    assert "html" in httpx.get(f"{served.url}/").text
    docs = httpx.get(f"{served.url}/docs").text
    assert "https://" not in docs.replace("https://www.w3.org", "")


def test_stopped_under_load_it_loses_no_prediction(serve_image, wine, volume, tmp_path):
    key = make_key(serve_image, volume)
    options = (*state(volume), *mounted(wine.folder))
    with running(serve_image, "--bundle", "/bundle", options=options) as container:
        container.wait_ready()
        answered = ask_until_stopped(container, records(wine)[0], key)
        assert container.inspect()["State"]["ExitCode"] == 0
    assert len(answered) >= 200
    assert set(answered) <= logged_requests(volume, tmp_path)


def ask_until_stopped(container, row: dict, key: str) -> list[str]:
    """Stop a container while four clients ask; return the requests that were answered."""
    answered: list[str] = []

    def ask() -> None:
        with httpx.Client(base_url=container.url, headers=headers(key)) as client:
            try:
                while (answer := client.post("/predict", json=row)).status_code == 200:
                    answered.append(answer.json()["request_id"])
            except httpx.TransportError:
                pass

    clients = [threading.Thread(target=ask) for _ in range(4)]
    for client in clients:
        client.start()
    while len(answered) < 200:
        assert any(client.is_alive() for client in clients), container.logs()
        time.sleep(0.01)
    podman("stop", "--time", "30", container.name)
    for client in clients:
        client.join()
    return answered


def logged_requests(volume: str, folder: Path) -> set[str]:
    where = Path(podman("volume", "inspect", "--format", "{{.Mountpoint}}", volume).stdout.strip())
    for path in where.glob("predictions.db*"):
        shutil.copy(path, folder)
    with sqlite3.connect(folder / "predictions.db") as database:
        return {name for (name,) in database.execute("SELECT request_id FROM predictions")}


def test_settings_come_from_the_environment(serve_image, wine, readable, tmp_path_factory):
    keys = readable / "keys"
    keys.mkdir()
    keys.chmod(0o777)
    made = run_to_end(
        serve_image,
        *("-m", "evergreen.serving.keys", "--file", "/keys/keys.json", "create", "--name", "test"),
        options=("--volume", f"{keys}:/keys", "--entrypoint", "python"),
    )
    env = {
        "EVERGREEN_SERVING_KEYS": "/keys/keys.json",
        "EVERGREEN_SERVING_MODEL": wine.contract.use_case,
    }
    options = (*mounted(wine.folder), "--volume", f"{keys}:/keys:ro")
    with running(serve_image, "--bundle", "/bundle", options=options, env=env) as container:
        container.wait_ready()
        answer = httpx.post(
            f"{container.url}/predict", json=records(wine)[0], headers=headers(made.stdout.strip())
        )
        assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ((), 2, "Say what to serve"),
        (("--bundle", "/bundle"), 2, "callers need an API key"),
        (("--model", "wine", "--registry", "http://127.0.0.1:9", "--host", "127.0.0.1"), 3, "9"),
    ],
)
def test_what_lacks_is_said_at_once(serve_image, wine, arguments, code, said):
    done = run_to_end(serve_image, *arguments, options=mounted(wine.folder))
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def as_native(bundle, folder: Path) -> Path:
    shutil.copytree(bundle.folder, folder)
    manifest = folder / "manifest.json"
    changed = {**json.loads(manifest.read_text()), "runtime": "native", "runtime_reason": "a test"}
    manifest.write_text(json.dumps(changed))
    subprocess.run(["chmod", "-R", "a+rX", str(folder)], check=True)
    return folder


def test_a_native_bundle_is_refused_with_its_cure(serve_image, wine, readable):
    folder = as_native(wine, readable / "native-refused")
    done = run_to_end(
        serve_image, *("--bundle", "/bundle", "--host", "127.0.0.1"), options=mounted(folder)
    )
    assert done.returncode == 2
    assert "EXTRAS=native" in done.stderr
    assert "Traceback" not in done.stderr


def test_explanations_are_refused_with_their_cure(served, wine, key):
    answer = httpx.post(f"{served.url}/explain", json=records(wine)[0], headers=headers(key))
    assert answer.status_code == 422, answer.text
    assert "EXTRAS=native" in answer.json()["detail"]


def test_the_larger_image_has_both(native_image, wine, readable, volume):
    key, folder = make_key(native_image, volume), as_native(wine, readable / "native")
    options = (*state(volume), *mounted(folder))
    with running(native_image, "--bundle", "/bundle", options=options) as container:
        container.wait_ready()
        rows = httpx.post(
            f"{container.url}/predict/batch", json=records(wine), headers=headers(key), timeout=60
        )
        assert_golden(wine, rows.json()["predictions"])
        why = httpx.post(
            f"{container.url}/explain", json=records(wine)[0], headers=headers(key), timeout=120
        )
        assert why.status_code == 200, why.text
        assert {one["field"] for one in why.json()["fields"]} == set(records(wine)[0])
