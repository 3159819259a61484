"""Both serving images answer golden rows as the model did at training.

Every use case is asked of the serving image, one of them of Seldon's: its wrapper is asked for all,
without containers, in tests/integration/test_answers_agree.py.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from evergreen.promotion.golden import PREDICTION
from tests.support.containers import Container, build, podman, run_to_end, running
from tests.support.trained_cases import CANDIDATES, assert_golden, trained_case
from tests.support.ways_of_serving import arrays, as_columns, as_split, seldon_message

pytestmark = pytest.mark.timeout(2400)  # the first test of each image builds it
FORMS = ("ndarray", "tensor", "jsonData")


@pytest.fixture(scope="module")
def seldon_image():
    return build("evergreen-seldon:test", "seldon/Dockerfile")


@pytest.fixture(scope="module")
def keys(serve_image, readable):
    """Return a folder with a file of API keys, and the key in it."""
    folder = readable / "agreeing-keys"
    folder.mkdir()
    folder.chmod(0o777)
    done = run_to_end(
        serve_image,
        *("-m", "evergreen.serving.keys", "--file", "/keys/keys.json", "create", "--name", "test"),
        options=("--volume", f"{folder}:/keys", "--entrypoint", "python"),
    )
    assert done.returncode == 0, done.stderr
    return folder, done.stdout.strip()


@pytest.fixture(scope="module", params=list(CANDIDATES))
def case(request, tmp_path_factory):
    for found in trained_case(request, tmp_path_factory):
        for folder in (found.home, *list(found.home.parents)[:2]):
            folder.chmod(0o755)
        subprocess.run(["chmod", "-R", "a+rX", str(found.home)], check=True)
        yield found


def mounted(bundle: Path) -> tuple[str, ...]:
    return ("--volume", f"{bundle}:/mnt/models:ro")


def test_the_serving_image(case, serve_image, keys):
    folder, key = keys
    options = (*mounted(case.bundle.folder), "--volume", f"{folder}:/keys:ro")
    variables = {"EVERGREEN_SERVING_KEYS": "/keys/keys.json"}
    with running(serve_image, "--bundle", "/mnt/models", options=options, env=variables) as served:
        served.wait_ready()
        authorized = {"authorization": f"Bearer {key}"}

        def ask(path, content):
            response = httpx.post(
                f"{served.url}{path}", json=content, headers=authorized, timeout=60
            )
            assert response.status_code == 200, response.text
            return response.json()["predictions"]

        assert_golden(case, as_columns(ask("/predict/batch", case.records(case.rows))))
        found = {PREDICTION: ask("/invocations", as_split(case, case.rows))}
        assert_golden(case, found, labels_alone=True)


@contextmanager
def seldon(image: str, bundle: Path) -> Iterator[Container]:
    """Run the wrapper's image, with REST where `running` publishes it."""
    variables = {"PREDICTIVE_UNIT_HTTP_SERVICE_PORT": "8000", "EVERGREEN_MODEL_VERSION": "7"}
    with running(image, options=mounted(bundle), env=variables) as container:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            try:
                if httpx.get(f"{container.url}/health/status", timeout=5).is_success:
                    break
            except httpx.TransportError:
                time.sleep(0.1)
        else:
            raise AssertionError(container.logs())
        yield container


@pytest.mark.parametrize("case", ["diabetes"], indirect=True)
def test_seldons_image(case, seldon_image):
    with seldon(seldon_image, case.folders["onnx"]) as container:
        for form in FORMS:
            response = httpx.post(
                f"{container.url}/api/v1.0/predictions",
                json=seldon_message(case, case.rows, form),
                timeout=60,
            )
            assert response.status_code == 200, response.text
            answer = response.json()
            assert answer["meta"]["tags"]["model_version"] == "7"
            found = (
                as_columns(answer["jsonData"]["predictions"])
                if form == "jsonData"
                else arrays(case, answer["data"], form)
            )
            assert_golden(case, found)
        assert_without_rights(container)
        assert_ends_when_told(container)


def assert_without_rights(container: Container) -> None:
    assert container.exec("id", "-u").stdout.strip() == "10001"
    written = container.exec("sh", "-c", "touch /opt/evergreen/new", check=False)
    assert written.returncode != 0
    for program in ("pip", "gcc", "uv"):
        assert container.exec("sh", "-c", f"command -v {program}", check=False).returncode != 0
    check = container.inspect()["Config"]["Healthcheck"]["Test"]
    assert container.exec(*check[1:]).returncode == 0


def assert_ends_when_told(container: Container) -> None:
    podman("stop", "--time", "60", container.name)
    assert container.inspect()["State"]["ExitCode"] == 0, container.logs()
