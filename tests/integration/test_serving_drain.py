"""A server that ends tells its busy clients, so that none loses a request on an open connection."""

from __future__ import annotations

import json
import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection
from threading import Barrier
from urllib.parse import urlsplit

import pytest

from tests.support.models import write_small_bundle
from tests.support.serving import BOAT, serving

CLIENTS = 4


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return write_small_bundle(tmp_path_factory.mktemp("bundle") / "boats").folder


def ask_until_told(address: str, path: str, busy: Barrier) -> tuple[int, set[int]]:
    """Send requests over one connection until an answer says that it is the last."""
    body = json.dumps(BOAT if path == "/predict" else [BOAT])
    statuses: list[int] = []
    with closing(HTTPConnection(address, timeout=60)) as connection:
        while True:
            connection.request("POST", path, body, {"content-type": "application/json"})
            answer = connection.getresponse()
            answer.read()
            statuses.append(answer.status)
            if answer.will_close:
                return len(statuses), set(statuses)
            if len(statuses) == 3:
                busy.wait(60)


@pytest.mark.parametrize("workers", [1, 2])
def test_busy_clients_are_told_before_they_lose_their_connection(bundle, tmp_path, workers):
    with serving(tmp_path, "--bundle", bundle, "--workers", str(workers)) as server:
        address = urlsplit(server.url).netloc
        quiet = HTTPConnection(address, timeout=60)
        quiet.request("GET", "/health/live")
        quiet.getresponse().read()
        busy = Barrier(CLIENTS + 1)
        with ThreadPoolExecutor(CLIENTS) as pool:
            paths = ["/predict", "/predict", "/predict/batch", "/predict"]
            clients = [pool.submit(ask_until_told, address, path, busy) for path in paths]
            busy.wait(60)
            server.process.send_signal(signal.SIGTERM)
            told = [client.result(60) for client in clients]
        assert all(count > 3 and statuses == {200} for count, statuses in told), told
        assert server.process.wait(60) == 0
        quiet.close()
