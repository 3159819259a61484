"""A Dask cluster that this machine starts, and ends again.

It speaks TLS with keys made for it alone: whoever reaches a scheduler can run code on it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Final

from evergreen.dask.background import in_thread
from evergreen.dask.settings import DaskConfig
from evergreen.data.size import memory_limit
from evergreen.errors import UnreachableError
from evergreen.resources import memory_in_bytes
from evergreen.scratch import working_folder

if TYPE_CHECKING:
    from distributed import Client, LocalCluster

_OWN: Final = {
    # What a lost worker did is not tried on the others: whoever asked for it begins anew.
    "distributed.scheduler.allowed-failures": 0,
    # XGBoost needs its rows in memory: where they do not fit, a worker is to be ended and told of,
    # not to wait forever with its task.
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    # Nobody looks at its pages.
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
}


class _Kept:
    """The clusters of a block of `kept_clusters`."""

    def __init__(self) -> None:
        self._begun: dict[DaskConfig, Future[_Running]] = {}
        self._ending: list[Future[None]] = []

    def begin(self, config: DaskConfig, section: str, modules: Sequence[str] = ()) -> None:
        if config not in self._begun:
            self._begun[config] = in_thread(partial(_Running, config, section, modules))

    def take(self, config: DaskConfig, section: str) -> LocalCluster:
        self.begin(config, section)
        begun = self._begun[config]
        if begun.exception() is not None:
            del self._begun[config]
        return begun.result().cluster

    def end(self, config: DaskConfig) -> Future[None] | None:
        if config not in self._begun:
            return None
        self._ending.append(in_thread(partial(_end, self._begun.pop(config))))
        return self._ending[-1]

    def end_all(self) -> None:
        for config in list(self._begun):
            self.end(config)
        with ExitStack() as stack:
            for ending in self._ending:
                stack.callback(ending.result)


class _Running:
    """A cluster that runs until it is closed."""

    def __init__(self, config: DaskConfig, section: str, modules: Sequence[str]) -> None:
        with ExitStack() as stack:
            self.cluster = stack.enter_context(_started(config, section, modules))
            for module in modules:
                import_module(module)  # here, too, while nobody waits for it
            self.close = stack.pop_all().close


_kept: ContextVar[_Kept | None] = ContextVar("kept_clusters", default=None)


@contextmanager
def kept_clusters() -> Iterator[None]:
    """Let a cluster that is started in the block serve all who ask for it, until the block ends.

    Otherwise each of them starts its own, which takes seconds.
    """
    kept = _Kept()
    token = _kept.set(kept)
    try:
        yield
    finally:
        _kept.reset(token)
        kept.end_all()


def _end(begun: Future[_Running]) -> None:
    if begun.exception() is None:  # waits: what is half there cannot be ended
        begun.result().close()


def begin_cluster(config: DaskConfig, section: str, modules: Sequence[str]) -> None:
    """Start a cluster of one's own in the background, in a block of `kept_clusters`.

    Whoever asks for it later waits for the rest. Its workers and this process import ``modules``
    meanwhile. That it cannot be started is told to those who ask.
    """
    if (kept := _kept.get()) is not None and config.workers is not None:
        kept.begin(config, section, modules)


def end_cluster(config: DaskConfig) -> None:
    """End a kept cluster that nobody will ask for, in the background; others stay."""
    if (kept := _kept.get()) is not None:
        kept.end(config)


@contextmanager
def own_cluster(config: DaskConfig, section: str) -> Iterator[Client]:
    """Yield a client of a cluster of one's own, which ends with the block where nobody keeps it.

    Where the block fails, it ends as well: its workers may still be at what has failed.

    Raises
    ------
    UnreachableError
        If processes cannot be started, or the kept cluster is gone.
    """
    kept = _kept.get()
    with ExitStack() as stack:
        if kept is None:
            cluster = stack.enter_context(_started(config, section))
        else:
            cluster = kept.take(config, section)
            stack.push(partial(_end_if_failed, kept, config))
        yield stack.enter_context(_client_of(cluster, section))


def _end_if_failed(kept: _Kept, config: DaskConfig, kind: type | None, *_: object) -> None:
    if kind is not None and (ending := kept.end(config)) is not None:
        ending.result()


@contextmanager
def _client_of(cluster: LocalCluster, section: str) -> Iterator[Client]:
    from evergreen.dask.client import TidyClient

    with ExitStack() as stack:
        try:
            client = stack.enter_context(TidyClient(cluster))
        except (OSError, RuntimeError) as error:
            raise _not_started(error, section) from error
        yield client


@contextmanager
def _started(
    config: DaskConfig, section: str, modules: Sequence[str] = ()
) -> Iterator[LocalCluster]:
    import dask
    import joblib
    from distributed import LocalCluster

    workers = config.workers or 1
    memory = memory_limit() // workers
    if config.memory is not None:
        memory = int(memory_in_bytes(config.memory))
    with ExitStack() as stack:
        try:
            folder = stack.enter_context(working_folder("dask-"))
            stack.enter_context(dask.config.set(_OWN))
            cluster = stack.enter_context(
                LocalCluster(
                    n_workers=workers,
                    threads_per_worker=max(1, joblib.cpu_count() // workers),
                    memory_limit=memory,
                    host="127.0.0.1",
                    security=True,
                    dashboard_address="127.0.0.1:0",
                    local_directory=str(folder),
                    preload=list(modules),
                )
            )
        except (OSError, RuntimeError) as error:
            raise _not_started(error, section) from error
        yield cluster


def _not_started(error: Exception, section: str) -> UnreachableError:
    return UnreachableError(
        f"Dask workers cannot be started on this machine: {error}; "
        f"lower {section}.workers, or free memory and processes"
    )
