"""A small server that answers once its prediction log has taken the request, and its clients.

Run as a program it serves: ``logged_server.py SPOOL URL [durable]``; it prints its port.
"""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


class Load:
    """Clients that note when each request was acknowledged (Unix seconds)."""

    def __init__(self, port: int, clients: int = 4, pause: float = 0.01) -> None:
        self.acknowledged: dict[str, float] = {}
        self.slowest = 0.0
        self.failed: list[str] = []
        self._port, self._pause = port, pause
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(n,)) for n in range(clients)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def wait_for(self, requests: int, patience: float = 30.0) -> None:
        """Return when so many requests were acknowledged."""
        end = time.monotonic() + patience
        while len(self.acknowledged) < requests:
            assert time.monotonic() < end
            time.sleep(0.02)

    def _run(self, client: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        with closing(connection):
            self._ask(connection, client)

    def _ask(self, connection: http.client.HTTPConnection, client: int) -> None:
        number = 0
        while not self._stopping.is_set():
            number += 1
            name = f"{os.getpid()}-{id(self)}-{client}-{number}"
            started = time.monotonic()
            try:
                connection.request("POST", f"/{name}", b"{}")
                answer = connection.getresponse()
                answer.read()
            except (OSError, http.client.HTTPException):
                return  # the server is gone
            if answer.status != 200:
                self.failed.append(f"{answer.status} {answer.reason}")
                continue
            self.acknowledged[name] = time.time()
            self.slowest = max(self.slowest, time.monotonic() - started)
            self._stopping.wait(self._pause)


@contextmanager
def logged_server(
    spool: Path, url: str, *, durable: bool = False
) -> Iterator[tuple[int, subprocess.Popen[str]]]:
    """Run the server; yield its port and process. It is killed at the end if it still runs."""
    command = [sys.executable, __file__, str(spool), url, *(["durable"] if durable else [])]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline()), process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        process.stdout.close()


def main(spool: str, url: str, *modes: str) -> None:
    """Serve until SIGTERM."""
    import uvicorn

    from evergreen.errors import UnreachableError
    from evergreen.serving.prediction_log import PredictionLog
    from evergreen.serving.records import PredictionRecord

    log = PredictionLog(url, "load", spool=Path(spool), durable="durable" in modes)

    async def application(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            log.close()
            await send({"type": "lifespan.shutdown.complete"})
            return
        while (await receive()).get("more_body"):
            pass
        status = 200
        try:
            log.record(
                [
                    PredictionRecord(
                        request_id=scope["path"][1:],
                        version="1",
                        inputs={"alcohol": 13.2, "region": "Douro"},
                        prediction="class_1",
                    )
                ]
            )
            await log.safe()
        except UnreachableError:
            status = 503
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})

    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    signal.signal(signal.SIGTERM, lambda *_: None)
    config = uvicorn.Config(application, log_level="critical", lifespan="on", access_log=False)
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main(*sys.argv[1:])
