"""A broker that the tests of a file share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.nats_server import NatsServer, running_nats


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[NatsServer]:
    """A server that every test gives a stream of its own."""
    with running_nats(tmp_path_factory.mktemp("nats")) as running:
        yield running


@pytest.fixture
def stream(server, request) -> Iterator[str]:
    """The name of an empty stream."""
    name = request.node.name.partition("[")[0].upper()[:32]
    server.make(name)
    yield name
    server.act(lambda js: js.delete_stream(name))
