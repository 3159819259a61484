"""The API server may be away for a while."""

from __future__ import annotations

import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

pytest.importorskip("kubernetes")
from kubernetes.client import ApiClient, Configuration, CoreV1Api
from urllib3.exceptions import MaxRetryError
from zenml.integrations.kubernetes.orchestrators import KubernetesOrchestrator

from stacks.kubernetes_orchestrator import NAME, PatientKubernetesFlavor
from tests.support.postgres import free_port

PODS = b'{"apiVersion": "v1", "kind": "PodList", "items": []}'


class ApiServer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(PODS)

    def log_message(self, *_) -> None:
        pass


def clients(port: int, monkeypatch) -> tuple[ApiClient, ApiClient]:
    """Return ZenML's client and ours of an API server."""
    configuration = Configuration(host=f"http://127.0.0.1:{port}")
    theirs = ApiClient(configuration)
    monkeypatch.setattr(KubernetesOrchestrator, "get_kube_client", lambda *_: theirs)
    flavor = PatientKubernetesFlavor()
    orchestrator = flavor.implementation_class.__new__(flavor.implementation_class)
    return theirs, orchestrator.get_kube_client()


def test_it_waits_for_an_api_server_that_comes_back(monkeypatch):
    port = free_port()
    theirs, ours = clients(port, monkeypatch)
    theirs.configuration.retries = None
    with pytest.raises(MaxRetryError):
        CoreV1Api(ApiClient(Configuration(host=f"http://127.0.0.1:{port}"))).list_namespaced_pod(
            "n"
        )

    started: list[HTTPServer] = []

    def come_back() -> None:
        time.sleep(1.5)
        started.append(HTTPServer(("127.0.0.1", port), ApiServer))
        started[0].serve_forever()

    thread = threading.Thread(target=come_back)
    thread.start()
    try:
        assert CoreV1Api(ours).list_namespaced_pod("n").items == []
    finally:
        started[0].shutdown()
        started[0].server_close()
        thread.join()


def test_its_settings_are_those_of_zenml():
    flavor = PatientKubernetesFlavor()
    assert flavor.name == NAME
    assert issubclass(flavor.implementation_class, KubernetesOrchestrator)
    assert "kubernetes_namespace" in flavor.config_class.model_fields
