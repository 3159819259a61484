"""The part of Kubernetes's API that keeps SeldonDeployments: in memory, over HTTP.

It stores and merges as an API server does, and validates nothing: that is what the tests on a real
cluster are for.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

GROUP = "machinelearning.seldon.io"


@dataclass
class SeldonApi:
    """What is stored, by name, and whether the resource is installed at all."""

    url: str = ""
    installed: bool = True
    stored: dict[str, dict[str, Any]] = field(default_factory=dict)
    writes: list[str] = field(default_factory=list)

    def act(self, name: str, **status: Any) -> None:
        """Write a status, as an operator does."""
        self.stored[name]["status"] = {"conditions": [], **status}

    def answer(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        if path == "/apis":
            return 200, {"groups": [{"name": GROUP}] if self.installed else []}
        parts = path.strip("/").split("/")
        if parts[1] != GROUP or not self.installed:
            return 404, {"reason": "NotFound"}
        if len(parts) == 6:
            if method == "GET":
                return 200, {"items": list(self.stored.values())}
            if body["metadata"]["name"] in self.stored:
                return 409, {"reason": "AlreadyExists"}
            self.stored[body["metadata"]["name"]] = body
            self.writes.append("create")
            return 201, body
        name = parts[6]
        if name not in self.stored:
            return 404, {"reason": "NotFound"}
        if method == "DELETE":
            return 200, self.stored.pop(name)
        if method == "PATCH":
            self.stored[name] = merged(self.stored[name], body)
            self.writes.append("patch")
        return 200, self.stored[name]


def merged(old: Any, new: Any) -> Any:
    """Return a merge patch applied (RFC 7396)."""
    if not isinstance(new, dict) or not isinstance(old, dict):
        return new
    both = {**old, **{key: merged(old.get(key), value) for key, value in new.items()}}
    return {key: value for key, value in both.items() if value is not None}


@contextmanager
def seldon_api() -> Iterator[SeldonApi]:
    """Serve until the block ends."""
    api = SeldonApi()

    class Handler(BaseHTTPRequestHandler):
        def handle_any(self) -> None:
            length = int(self.headers.get("content-length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            status, content = api.answer(self.command, self.path.partition("?")[0], body)
            data = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PATCH = do_DELETE = handle_any  # noqa: N815

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        api.url = f"http://127.0.0.1:{server.server_address[1]}"
        try:
            yield api
        finally:
            server.shutdown()
            thread.join()
