"""Putting a server together: model, watcher, prediction log and application."""

from __future__ import annotations

import asyncio
import contextlib
import difflib
import logging
import sys
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from evergreen.errors import InputError
from evergreen.serving.holder import ModelHolder, Served
from evergreen.serving.log_process import LogProcess, Task
from evergreen.serving.options import ServerOptions
from evergreen.serving.prediction_log import DRAINING, PredictionLog, folder_for
from evergreen.serving.readable_log import Events, ReadableLog
from evergreen.serving.redaction import Redaction, redaction_key
from evergreen.serving.registry_reader import open_registry
from evergreen.serving.runtime import load_runtime
from evergreen.serving.watcher import Watcher, load_folder

if TYPE_CHECKING:
    from fastapi import FastAPI

    from evergreen.data.contract import Contract
    from evergreen.serving.keys import KeyRing


@dataclass(frozen=True)
class Loaded:
    """A model that is ready, and what keeps it up to date."""

    holder: ModelHolder
    watcher: Watcher | None

    @property
    def served(self) -> Served:
        """What is served."""
        return self.holder.current


def load(options: ServerOptions) -> Loaded:
    """Load what is to be served.

    Raises
    ------
    InputError
        If there is no such model, version, alias or bundle, or the bundle is no good.
    UnreachableError
        If registry or files cannot be reached.
    """
    holder = ModelHolder()
    if options.bundle is not None:
        load_folder(holder, options.bundle, load_runtime, options.model)
        return Loaded(holder, None)
    watcher = Watcher(
        holder,
        open_registry(options.registry_uri),
        str(options.model),
        load_runtime,
        cache=options.home.root / "serving" / "bundles",
        alias=options.alias,
        version=options.version,
        memory=options.memory,
    )
    watcher.load_first()
    return Loaded(holder, watcher)


def open_log(options: ServerOptions, contract: Contract) -> PredictionLog:
    """Open the prediction log of this process.

    Raises
    ------
    InputError
        If its address is unusable, or it is to redact a column that is none.
    UnreachableError
        If the readable log or the redaction key cannot be used.
    """
    settings = options.settings.log
    _require_known(settings.redact, contract)
    hashes = "hash" in settings.redact.values()
    key = redaction_key(options.home.root / "redaction.key") if hashes else b""
    model = contract.use_case
    retain = None if settings.retention is None else settings.retention.total_seconds()
    readable = ReadableLog(options.home.logs, f"serving-{model}", retain=retain)
    start_logging(readable)
    return PredictionLog(
        options.log_url,
        model,
        spool=options.home.root / "spool",
        durable=settings.durable,
        redaction=Redaction(settings.redact, key),
        retain=retain,
        readable=readable,
        server=options.log_server,
    )


def log_process(options: ServerOptions, contract: Contract) -> LogProcess:
    """Return what brings the rows of ``options.log_server`` to the database; it is not started."""
    settings = options.settings.log
    retain = None if settings.retention is None else settings.retention.total_seconds()
    return LogProcess(
        Task(
            url=options.log_url,
            model=contract.use_case,
            folder=str(folder_for(options.home.root / "spool", options.log_url)),
            server=str(options.log_server),
            durable=settings.durable,
            retain=retain,
            patience=DRAINING,
        )
    )


def make_app(options: ServerOptions, loaded: Loaded | None = None) -> FastAPI:
    """Return the application of one process; what it opened is closed when it shuts down.

    Raises as `load` and `open_log` do.
    """
    from evergreen.serving.api import create_app

    start_logging()
    loaded = load(options) if loaded is None else loaded
    log = open_log(options, loaded.served.contract)
    app = create_app(
        loaded.holder,
        log,
        options.settings,
        auth=key_ring(options),
        monitoring=options.home.database_url,
    )
    _close_at_the_end(app, loaded.watcher, log)
    return app


def key_ring(options: ServerOptions) -> KeyRing | None:
    """Return the API keys, or None where this machine alone can reach the server.

    Raises
    ------
    InputError
        If keys are needed and there are none, or their file is damaged.
    UnreachableError
        If it cannot be read.
    """
    if options.on_loopback and not options.require_keys:
        return None
    from evergreen.serving.keys import KeyRing, key_of

    given = () if options.given_key is None else (key_of(options.given_key, "given", ("admin",)),)
    ring = KeyRing(options.key_file, given)
    if not len(ring):
        file = "" if options.keys is None else f"--file {options.keys} "
        raise InputError(
            f"Others can reach {options.host}, so callers need an API key, and there is none yet. "
            f"Make one: python -m evergreen.serving.keys {file}create --name NAME; or serve this "
            "machine alone: --host 127.0.0.1"
        )
    return ring


def start_logging(readable: ReadableLog | None = None) -> None:
    """Bring what the server has to say to standard error, and to the readable log."""
    logger = logging.getLogger("evergreen.serving")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    if not any(isinstance(handler, _Console) for handler in logger.handlers):
        console = _Console(sys.stderr)
        console.setLevel(logging.WARNING)
        console.setFormatter(logging.Formatter("%(message)s"))
        logger.addHandler(console)
    if readable is not None:
        logger.addHandler(Events(readable))


class _Console(logging.StreamHandler[Any]):
    """Standard error."""


def _close_at_the_end(app: FastAPI, watcher: Watcher | None, log: PredictionLog) -> None:
    """Start the watcher with the application; stop it and flush the log after the last answer."""
    inner = app.router.lifespan_context

    @contextlib.asynccontextmanager
    async def lifespan(application: Any) -> AsyncIterator[Any]:
        if watcher is not None:
            watcher.start()
        try:
            async with inner(application) as state:
                yield state
        finally:
            if watcher is not None:
                watcher.stop()
            await asyncio.to_thread(log.close)

    app.router.lifespan_context = lifespan


def _require_known(redact: Iterable[str], contract: Contract) -> None:
    """Refuse to redact a column that is none: the one that was meant would be written down."""
    known = {column.name.casefold(): column.name for column in contract.features}
    for name in redact:
        if name not in known.values():
            close = difflib.get_close_matches(name.casefold(), known, n=1)
            hint = f" Did you mean {known[close[0]]!r}?" if close else ""
            raise InputError(
                f"serving.log.redact names {name!r}, which is no field of the model.{hint} "
                f"It has: {', '.join(known.values())}."
            )
