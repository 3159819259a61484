"""A private NATS server with JetStream, in a temporary folder, on a free port."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import shutil
import subprocess
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nats
from nats.js import JetStreamContext

from tests.support.lacking import lacking
from tests.support.waiting import wait_until

PASSWORD = "p@ss/w:rd%41"
VARIABLES = {"NATS_USER": "writer", "NATS_PASSWORD": PASSWORD}


def program() -> str:
    """Return the path of the broker, which Debian and Ubuntu have as a package.

    Where there is none, the test is skipped, but in continuous integration it fails.
    """
    # Debian's is among the system's programs, which are not on everybody's path.
    found = shutil.which("nats-server", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if found is None:
        lacking("needs nats-server (apt-get install nats-server)")
    return found


def _permitted() -> str:
    """Return what docs/guide.md says that a reader needs, of a stream ORDERS."""
    names = ("STREAM.INFO.ORDERS", "CONSUMER.*.ORDERS.>", "CONSUMER.MSG.NEXT.ORDERS.>")
    return ", ".join(f"'$JS.API.{name}'" for name in names)


@dataclass
class NatsServer:
    """A running server with a user who may do all, one who may read ORDERS, and one who may not."""

    folder: Path
    tls: Path | None = None
    jetstream: bool = True
    port: int = 0
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def start(self) -> None:
        """Start it on a free port, with the streams that it had before."""
        storage = f"jetstream {{store_dir: '{self.folder}/streams'}}" if self.jetstream else ""
        secured = f"tls {{cert_file: '{self.tls}', key_file: '{self.tls}'}}" if self.tls else ""
        ports = self.folder / secrets.token_hex(4)
        ports.mkdir()
        settings = self.folder / "server.conf"
        settings.write_text(
            f"listen: '127.0.0.1:-1'\nports_file_dir: '{ports}'\n{storage}\n{secured}\n"
            f"authorization {{users: [{{user: writer, password: '{PASSWORD}'}},"
            f" {{user: reader, password: '{PASSWORD}', permissions: {{publish: [{_permitted()}],"
            f" subscribe: ['_INBOX.>']}}}},"
            f" {{user: stranger, password: '{PASSWORD}', permissions: {{publish: nothing}}}}]}}\n"
        )
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen([program(), "-c", settings], stderr=log)
        wait_until(lambda: any(ports.glob("*.ports")))
        (file,) = ports.glob("*.ports")
        self.port = int(json.loads(file.read_text())["nats"][0].rpartition(":")[2])

    def kill(self) -> None:
        """End it at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def url(self, stream: str, user: str = "${NATS_USER}", scheme: str = "nats") -> str:
        """Return a stream's address as a use case has it."""
        return f"{scheme}://{user}:${{NATS_PASSWORD}}@127.0.0.1:{self.port}/{stream}"

    def act(self, action: Callable[[JetStreamContext], Awaitable[Any]]) -> Any:
        """Do something with the streams."""

        async def done() -> Any:
            client = await nats.connect(
                f"nats://127.0.0.1:{self.port}", user="writer", password=PASSWORD
            )
            try:
                return await action(client.jetstream())
            finally:
                await client.close()

        return asyncio.run(done())

    def make(self, stream: str, **settings: Any) -> None:
        """Make a stream that takes every subject below its name in lower case."""
        subjects = [f"{stream.lower()}.>"]
        self.act(lambda js: js.add_stream(name=stream, subjects=subjects, **settings))

    def publish(self, stream: str, records: Iterable[Any], subject: str = "all") -> None:
        """Append records, and wait until the stream has them; bytes are taken as they are."""

        async def send(js: JetStreamContext) -> None:
            before = (await js.stream_info(stream)).state.last_seq
            number = 0
            for record in records:
                text = record if isinstance(record, bytes) else json.dumps(record).encode()
                await js._nc.publish(f"{stream.lower()}.{subject}", text)
                number += 1
            await js._nc.flush()
            while (await js.stream_info(stream)).state.last_seq < before + number:
                await asyncio.sleep(0.01)

        self.act(send)


@contextmanager
def running_nats(folder: Path, **settings: Any) -> Iterator[NatsServer]:
    """Run a server with its files in ``folder`` until the block ends."""
    server = NatsServer(folder, **settings)
    server.start()
    try:
        yield server
    finally:
        server.kill()
