"""Requests that are answered in place: the same answers as uvicorn's way, whatever arrives."""

from __future__ import annotations

import json
import re
import socket
from contextlib import closing
from urllib.parse import urlsplit

import httpx
import pytest

from tests.support.models import write_small_bundle
from tests.support.serving import BOAT, serving

GOOD = json.dumps(BOAT).encode()


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    bundle = write_small_bundle(tmp_path_factory.mktemp("bundle") / "boats")
    with serving(tmp_path_factory.mktemp("home"), "--bundle", bundle.folder) as server:
        yield server.url


@pytest.fixture
def connection(url):
    with closing(socket.create_connection((urlsplit(url).hostname, urlsplit(url).port), 30)) as one:
        yield one


def request(body: bytes = GOOD, *more: str, path: str = "/predict") -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: here", "Content-Type: application/json", *more]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body


def answer(connection: socket.socket) -> tuple[int, dict[str, str], dict]:
    """Return the next answer: status, headers, body."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += _more(connection)
    head, _, body = data.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    while len(body) < int(headers["content-length"]):
        body += _more(connection)
    assert len(body) == int(headers["content-length"])
    return int(status.split()[1]), headers, json.loads(body)


def _more(connection: socket.socket) -> bytes:
    data = connection.recv(65536)
    assert data, "the connection was closed"
    return data


def counted(url: str) -> float:
    text = httpx.get(f"{url}/metrics", timeout=30).text
    found = re.search(r'evergreen_requests_total\{route="/predict",status="200"\} (\S+)', text)
    return float(found[1]) if found else 0.0


def test_both_ways_answer_alike_and_are_counted(url, connection):
    before = counted(url)
    found = []
    for _ in range(3):  # the first one is uvicorn's, the others are answered in place
        connection.sendall(request())
        found.append(answer(connection))
    identities = [body.pop("request_id") for _, _, body in found]
    assert [headers.pop("x-request-id") for _, headers, _ in found] == identities
    assert len(set(identities)) == 3
    assert found[0] == found[1] == found[2]
    assert found[0][0] == 200
    assert counted(url) == before + 3


def test_what_is_wrong_is_explained_on_the_same_connection(connection):
    connection.sendall(request())
    assert answer(connection)[0] == 200
    for bad, status in [(b" " * len(GOOD), 400), (b"[" * len(GOOD), 400)]:
        connection.sendall(request(bad))  # a head that was seen, with another body
        found, headers, problem = answer(connection)
        assert (found, headers["content-type"]) == (status, "application/problem+json")
        assert problem["status"] == status
    connection.sendall(request())
    assert answer(connection)[0] == 200


def test_requests_may_come_in_pieces_and_in_packs(connection):
    connection.sendall(request())
    assert answer(connection)[0] == 200
    whole = request()
    for cut in (1, 20, len(whole) - len(GOOD), len(whole) - 1):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(whole[:cut])
        connection.settimeout(0.2)
        with pytest.raises(TimeoutError):
            connection.recv(1)
        connection.settimeout(30)
        connection.sendall(whole[cut:])
        assert answer(connection)[0] == 200
    connection.sendall(whole)
    assert answer(connection)[0] == 200


def test_a_request_to_be_closed_after_is_closed_after(connection):
    for _ in range(2):
        connection.sendall(request())
        assert answer(connection)[0] == 200
    connection.sendall(request(GOOD, "Connection: close"))
    assert answer(connection)[0] == 200
    assert connection.recv(1) == b""


def test_a_quiet_connection_is_closed(connection):
    for _ in range(3):
        connection.sendall(request())
        assert answer(connection)[0] == 200
    connection.settimeout(30)
    assert connection.recv(1) == b""


def test_a_head_of_another_path_is_not_mistaken(connection):
    for path, status in (("/predict", 200), ("/explode", 404), ("/predict", 200)):
        connection.sendall(request(path=path))
        assert answer(connection)[0] == status
