"""Running the server: the socket, the processes, the signals.

uvicorn with uvloop and httptools does the serving, with a short way for single rows
(`evergreen.serving.protocol`); docs/decisions.md says what was compared.
"""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import uvicorn
from prometheus_client.multiprocess import mark_process_dead
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors.multiprocess import Multiprocess

from evergreen.errors import EvergreenError, InputError, UnreachableError
from evergreen.serving.assembly import Loaded, key_ring, load, log_process, make_app
from evergreen.serving.canary_guard import guarding
from evergreen.serving.log_process import new_server
from evergreen.serving.options import ServerOptions
from evergreen.serving.protocol import ServerProtocol

BACKLOG: Final = 2048
SWITCHING: Final = 0.0005  # seconds that one thread may keep the interpreter from another
DRAINING: Final = 20  # seconds that requests under way get at the end
# Seconds that a worker may be silent, its start included; on a busy machine that takes a while.
SILENCE: Final = 60
_SHARED_METRICS: Final = "PROMETHEUS_MULTIPROC_DIR"


def serve(options: ServerOptions, announce: Callable[[str], None]) -> None:
    """Serve until a signal says stop; then answer what is under way and flush the log.

    ``announce`` is called once, with what is served and where, when requests are answered.

    Raises
    ------
    InputError
        If what is to be served is unknown or no good, or an API key is lacking.
    UnreachableError
        If the port is taken, or registry or files cannot be reached.
    """
    started = time.perf_counter()
    with closing(_listen(options.host, options.port)) as listener, guarding(options):
        key_ring(options)
        loaded = load(options)
        options = replace(options, log_server=new_server())
        rows = log_process(options, loaded.served.contract)
        port = listener.getsockname()[1]

        def tell() -> None:
            announce(_announcement(options, loaded, port, time.perf_counter() - started))
            rows.start()

        with closing(rows):  # after the workers have handed over what they had
            if options.workers == 1:
                _serve_here(options, loaded, listener, tell)
            else:
                _serve_by_workers(options, listener, tell)


def _serve_here(
    options: ServerOptions, loaded: Loaded, listener: socket.socket, tell: Callable[[], None]
) -> None:
    app = make_app(options, loaded)
    _settle()
    server = _Server(_config(app), tell)
    # uvicorn raises the signal that stopped it once more: it has been obeyed by then.
    signal.signal(signal.SIGTERM, lambda *_: None)
    server.run(sockets=[listener])
    if not server.started:
        raise UnreachableError("The server could not start; the log says why.")


def _serve_by_workers(
    options: ServerOptions, listener: socket.socket, tell: Callable[[], None]
) -> None:
    """Run processes that share the socket. The model is known to load; each loads its own."""
    with tempfile.TemporaryDirectory(prefix="evergreen-server-") as folder:
        os.environ.setdefault(_SHARED_METRICS, folder)
        options = replace(options, memory=Path(folder, "served.json"))
        config = _config(partial(_worker_app, options), factory=True, workers=options.workers)
        supervisor = _Supervisor(config, sockets=[listener])
        tell()
        supervisor.run()
    if supervisor.interrupted:
        raise KeyboardInterrupt
    if any(process.exitcode == STARTUP_FAILURE for process in supervisor.processes):
        raise UnreachableError("A worker could not start, so the server stopped; see above.")


def _settle() -> None:
    """Spare requests what a long-lived process of several threads can do without.

    What is loaded by now stays: the collector need not look through it again. The thread that
    writes the log encodes for milliseconds; a request must not wait so long for the interpreter.
    """
    gc.collect()
    gc.freeze()
    sys.setswitchinterval(SWITCHING)


def _worker_app(options: ServerOptions) -> Any:
    """Return a worker's application; where that fails, say why and end in the agreed way."""
    try:
        app = make_app(options)
    except EvergreenError as error:
        print(error, file=sys.stderr, flush=True)
        sys.exit(STARTUP_FAILURE)
    _settle()
    return app


class _Server(uvicorn.Server):
    """Says so when it answers."""

    def __init__(self, config: uvicorn.Config, tell: Callable[[], None]) -> None:
        super().__init__(config)
        self._tell = tell

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and say so."""
        await super().startup(sockets)
        if self.started:
            self._tell()


class _Supervisor(Multiprocess):
    """Remembers that it was Ctrl-C, and forgets the gauges of workers that died."""

    interrupted = False

    def init_processes(self) -> None:
        """Start the workers; one that is not ready for signals yet must not trip over Ctrl-C."""
        handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            super().init_processes()
        finally:
            signal.signal(signal.SIGINT, handler)

    def keep_subprocess_alive(self) -> None:
        """Replace workers that died."""
        before = {process.pid for process in self.processes}
        super().keep_subprocess_alive()
        for gone in before - {process.pid for process in self.processes}:
            mark_process_dead(gone)  # type: ignore[no-untyped-call]

    def handle_int(self) -> None:
        """Stop the workers."""
        self.interrupted = True
        super().handle_int()


def _config(app: Any, **more: Any) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        loop="uvloop",
        http=ServerProtocol,
        ws="none",
        lifespan="on",
        interface="asgi3",
        access_log=False,
        log_level="warning",
        server_header=False,
        date_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_graceful_shutdown=DRAINING,
        timeout_worker_healthcheck=SILENCE,
        **more,
    )


def _listen(host: str, port: int) -> socket.socket:
    """Bind the port before anything is loaded, so that a taken one is known at once."""
    try:
        (family, kind, protocol, _, address), *_ = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except socket.gaierror as error:
        raise InputError(f"{host!r} is no address of this machine: {error.strerror}") from error
    listener = socket.socket(family, kind, protocol)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise _port_error(host, port, error) from error
    listener.set_inheritable(True)
    return listener


def _port_error(host: str, port: int, error: OSError) -> UnreachableError:
    if isinstance(error, PermissionError):
        return UnreachableError(
            f"Port {port} may not be opened by this user; choose one from 1024 on: --port 8000"
        )
    reason = error.strerror or str(error)
    return UnreachableError(
        f"Port {port} on {host} cannot be opened: {reason}. Stop what uses it, or choose another: "
        f"--port {port + 1 if port < 65535 else 8000}"
    )


def _announcement(options: ServerOptions, loaded: Loaded, port: int, seconds: float) -> str:
    served = loaded.served
    host = f"[{options.host}]" if ":" in options.host else options.host
    url = f"http://{host}:{port}"
    named = f" ({served.alias})" if served.alias else ""
    version = f"version {served.version}{named}" if served.version else f"from {options.bundle}"
    runtime = "ONNX Runtime" if served.runtime.kind == "onnx" else "scikit-learn (native)"
    workers = f", {options.workers} workers" if options.workers > 1 else ""
    return (
        f"Serving {served.name}, {version}, on {runtime}{workers}; ready after {seconds:.1f} s\n"
        f"  Try it  {url}\n"
        f"  Docs    {url}/docs\n"
        f"  Health  {url}/health\n"
        f"Ctrl-C stops it (process {os.getpid()}, Python {sys.version.split()[0]})"
    )
