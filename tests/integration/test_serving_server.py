"""The server as users start it: from the command line, with real models and real signals."""

from __future__ import annotations

import os
import re
import signal
import socket
import sqlite3
import threading
import time
from pathlib import Path

import httpx
import pytest

from evergreen.paths import Home
from evergreen.promotion.promotion_log import PromotionLog
from evergreen.promotion.registry import Registry
from evergreen.promotion.store import prepare_store
from evergreen.serving.keys import KeyRing
from tests.support.models import write_small_bundle
from tests.support.serving import BOAT, refused, serving

HEAVY = ("zenml", "sklearn", "pandas", "mlflow", "scipy", "shap", "matplotlib", "pyarrow.pandas")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    found = write_small_bundle(tmp_path_factory.mktemp("bundle") / "boats")
    assert found.manifest.runtime == "onnx"
    return found


@pytest.fixture(scope="module")
def home(tmp_path_factory, bundle):
    """A state folder with two versions of a model, of which the first one is champion."""
    home = Home(tmp_path_factory.mktemp("home"))
    experiment = prepare_store(home, "boats")
    registry = Registry(home.mlflow_uri, PromotionLog(home.database_url), home.locks)
    run = registry.client.create_run(experiment).info.run_id
    other = write_small_bundle(home.root / "other", seed=3, training_key="key-3")
    for number, one in enumerate((bundle, other), 1):
        assert registry.register("boats", one, run) == str(number)
    registry.client.set_registered_model_alias("boats", "champion", "1")
    registry.client.create_registered_model("ferries")
    return home


def logged(home: Path) -> set[str]:
    with sqlite3.connect(home / "predictions.db") as connection:
        found = [row[0] for row in connection.execute("SELECT request_id FROM predictions")]
    assert len(found) == len(set(found))
    return set(found)


def test_it_says_where_it_serves_and_stays_small(bundle, tmp_path, record_property):
    with serving(tmp_path, "--bundle", bundle.folder) as server:
        record_property("seconds to ready", server.seconds)
        assert "Serving boats, from" in server.said
        assert "on ONNX Runtime" in server.said
        answer = httpx.post(f"{server.url}/predict", json=BOAT).json()
        assert answer["prediction"] in ("calm", "gale", "storm")
        (memory,) = re.findall(r"VmRSS:\s+(\d+) kB", _status(server.process.pid))
        record_property("resident MB", int(memory) / 1024)
        assert int(memory) / 1024 < 200
        assert server.stop() == 0
    assert logged(tmp_path) == {answer["request_id"]}
    assert server.errors.read_text() == ""
    readable = (tmp_path / "logs" / "serving-boats-1.log").read_text()
    assert f"request {answer['request_id']}" in readable


def _status(process: int) -> str:
    return Path(f"/proc/{process}/status").read_text()


def test_nothing_heavy_is_imported(bundle, tmp_path):
    with serving(tmp_path, "--bundle", bundle.folder, python=("-X", "importtime")) as server:
        with httpx.Client(base_url=server.url) as client:
            for path in ("/", "/docs", "/openapi.json", "/health", "/contract", "/model/info"):
                assert client.get(path).is_success, path
            assert client.get("/metrics").is_success
            answer = client.post("/predict", json=BOAT)
            assert answer.is_success
            assert client.post("/predict/batch", json=[BOAT, BOAT]).is_success
            label = {"request_id": answer.json()["request_id"], "label": "calm"}
            assert client.post("/feedback", json=label).is_success
        assert server.stop() == 0
    lines = server.errors.read_text().splitlines()
    imported = {line.rsplit("|", 1)[1].strip() for line in lines if line.startswith("import time:")}
    assert "onnxruntime" in imported
    assert "sqlalchemy" in imported
    assert not imported & set(HEAVY)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_sigterm_under_load_loses_nothing(bundle, tmp_path, workers):
    acknowledged: list[str] = []
    gone = threading.Event()

    def ask() -> None:
        with httpx.Client(base_url=server.url, timeout=10) as client:
            while not gone.is_set():
                try:
                    answer = client.post("/predict", json=BOAT)
                except httpx.HTTPError:
                    return
                assert answer.status_code == 200
                acknowledged.append(answer.json()["request_id"])

    with serving(tmp_path, "--bundle", bundle.folder, "--workers", workers) as server:
        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        end = time.monotonic() + 30
        while len(acknowledged) <= 50:
            assert time.monotonic() < end
            time.sleep(0.05)
        assert server.stop() == 0
        gone.set()
        for thread in threads:
            thread.join()
    assert set(acknowledged) <= logged(tmp_path)
    assert list(tmp_path.rglob("*.spool")) == []


@pytest.mark.parametrize("workers", ["1", "2"])
def test_ctrl_c_has_an_exit_code_of_its_own(bundle, tmp_path, workers):
    with serving(tmp_path, "--bundle", bundle.folder, "--workers", workers) as server:
        answer = httpx.post(f"{server.url}/predict", json=BOAT).json()
        os.killpg(server.process.pid, signal.SIGINT)  # as a terminal does
        assert server.process.wait(30) == 130
    assert answer["request_id"] in logged(tmp_path)
    said = server.errors.read_text()
    assert said.endswith("Stopped; every answered prediction is kept.\n")
    assert "Traceback" not in said


def test_a_redacted_column_must_be_one(bundle, tmp_path):
    config = tmp_path / "boats.yaml"
    data = "data: {source: boats.csv, target: wind}"
    redact = "serving: {log: {redact: {HARBOUR: hash}}}"
    config.write_text(f"task: classification\n{data}\n{redact}\n")
    arguments = ("--config", config, "--bundle", bundle.folder, "--port", "0")
    code, said = refused(tmp_path, *arguments)
    assert code == 2
    assert "serving.log.redact names 'HARBOUR', which is no field of the model. Did" in said
    config.write_text(config.read_text().replace("HARBOUR", "harbour"))
    with serving(tmp_path, "--config", config, "--bundle", bundle.folder) as server:
        assert httpx.post(f"{server.url}/predict", json=BOAT).is_success
        assert server.stop() == 0
    with sqlite3.connect(tmp_path / "predictions.db") as connection:
        ((inputs,),) = connection.execute("SELECT inputs FROM predictions")
    assert "Kiel" not in inputs
    assert '"harbour":{"hash":"' in inputs


def test_workers_add_up_and_are_replaced(bundle, tmp_path):
    with serving(tmp_path, "--bundle", bundle.folder, "--workers", "2") as server:
        assert ", 2 workers; ready after" in server.said
        for _ in range(20):  # a connection each, so that both get some
            assert httpx.post(f"{server.url}/predict", json=BOAT).is_success
        end = time.monotonic() + 20
        while _predictions(server.url) < 20:  # a worker tells its numbers every second
            assert time.monotonic() < end
            time.sleep(0.1)
        assert _predictions(server.url) == 20
        children = _children(server.process.pid)
        os.kill(children[0], signal.SIGKILL)
        end = time.monotonic() + 20
        while len(set(_children(server.process.pid)) - set(children)) < 1:
            assert time.monotonic() < end
            time.sleep(0.1)
        assert httpx.post(f"{server.url}/predict", json=BOAT, timeout=20).is_success
        assert server.stop() == 0


def _predictions(url: str) -> float:
    text = httpx.get(f"{url}/metrics").text
    found = re.findall(r'requests_total\{route="/predict",status="200"\} (\S+)', text)
    return sum(map(float, found))


def _children(process: int) -> list[int]:
    """Return the worker processes (and not Python's helper that watches over shared memory)."""
    found = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    return [
        int(child)
        for child in found
        if "spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes().decode()
    ]


def test_a_moved_alias_is_followed_without_a_failed_request(home, tmp_path):
    registry = Registry(home.mlflow_uri, PromotionLog(home.database_url), home.locks)
    versions: list[str] = []
    with serving(tmp_path, "--model", "boats", "--registry", home.mlflow_uri) as server:
        assert "Serving boats, version 1 (champion), on ONNX Runtime" in server.said
        registry.client.set_registered_model_alias("boats", "champion", "2")
        try:
            end = time.monotonic() + 15
            with httpx.Client(base_url=server.url) as client:
                while "2" not in versions[-1:]:
                    assert time.monotonic() < end
                    answer = client.post("/predict", json=BOAT)
                    assert answer.status_code == 200
                    versions.append(answer.json()["model_version"])
                assert client.get("/model/info").json()["version"] == "2"
                assert "evergreen_model_swaps 1.0" in client.get("/metrics").text
        finally:
            registry.client.set_registered_model_alias("boats", "champion", "1")
        assert server.stop() == 0
    assert versions[0] == "1"
    assert sorted(versions) == versions
    assert "Version 2 of 'boats' serves now, after version 1" in server.errors.read_text()


def test_a_broken_version_leaves_the_old_one_and_shows_in_health(home, bundle, tmp_path):
    registry = Registry(home.mlflow_uri, PromotionLog(home.database_url), home.locks)
    run = registry.version("boats", "1").run_id
    broken = registry.register("boats", bundle, run)
    source = registry.client.get_model_version("boats", broken).source
    Path(source.removeprefix("file://"), "model.onnx").write_bytes(b"no graph")
    with serving(tmp_path, "--model", "boats", "--registry", home.mlflow_uri) as server:
        registry.client.set_registered_model_alias("boats", "champion", broken)
        try:
            end = time.monotonic() + 15
            while (health := httpx.get(f"{server.url}/health").json())["status"] == "ok":
                assert time.monotonic() < end
                time.sleep(0.1)
        finally:
            registry.client.set_registered_model_alias("boats", "champion", "1")
        assert health["model_version"] == "1"
        assert httpx.post(f"{server.url}/predict", json=BOAT).json()["model_version"] == "1"
        assert server.stop() == 0
    assert server.errors.read_text().count("damaged: model.onnx is not the file") == 1


def test_a_fixed_version_and_another_alias(home, tmp_path):
    arguments = ("--model", "boats", "--registry", home.mlflow_uri)
    with serving(tmp_path, *arguments, "--version", "2") as server:
        assert "Serving boats, version 2, on" in server.said
    code, said = refused(tmp_path, *arguments, "--alias", "champoin")
    assert (code, "Did you mean 'champion'?" in said) == (2, True)


def test_elsewhere_than_here_keys_are_asked_for(bundle, tmp_path):
    code, said = refused(tmp_path, "--bundle", bundle.folder, "--host", "0.0.0.0", "--port", "0")
    assert code == 2
    assert "python -m evergreen.serving.keys create" in said
    _, secret = KeyRing(tmp_path / "serving" / "keys.json").create("shop")
    with serving(tmp_path, "--bundle", bundle.folder, "--require-keys") as server:
        assert httpx.post(f"{server.url}/predict", json=BOAT).status_code == 401
        headers = {"Authorization": f"Bearer {secret}"}
        assert httpx.post(f"{server.url}/predict", json=BOAT, headers=headers).is_success


def test_a_taken_port_is_named(bundle, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, said = refused(tmp_path, "--bundle", bundle.folder, "--port", str(port))
    assert code == 3
    assert said.startswith(f"Port {port} on 127.0.0.1 cannot be opened: Address already in use.")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ((), 2, "Say what to serve: --model NAME, --config FILE or --bundle FOLDER."),
        (("--model", "boots"), 2, "no model 'boots' in the registry"),
        (("--model", "ferries"), 2, "No version of 'ferries' is 'champion' yet"),
        (("--model", "boats", "--version", "99"), 2, "no version '99'"),
        (("--model", "boats", "--registry", "http://127.0.0.1:1"), 3, "cannot be reached"),
        (("--model", "boats", "--registry", "sqlite:////nowhere/x.db"), 3, "no such file"),
        (("--bundle", "/nowhere"), 2, "There is no bundle folder /nowhere."),
        (("--config", "wien"), 2, "wine"),
        (("--model", "boats", "--host", "nowhere.invalid"), 2, "no address of this machine"),
        (("--model", "boats", "--host", "203.0.113.7"), 3, "cannot be opened: Cannot assign"),
        (("--model", "boats", "--port", "99999"), 2, "no port"),
    ],
)
def test_what_cannot_be_served_is_one_message(home, tmp_path, arguments, code, message):
    if "--registry" not in arguments and "--model" in arguments:
        arguments = (*arguments, "--registry", home.mlflow_uri)
    if "--port" not in arguments:
        arguments = (*arguments, "--port", "0")
    found, said = refused(tmp_path, *arguments)
    assert (found, message in said) == (code, True), said
    assert "Traceback" not in said
