"""A client of a Dask cluster: one of this machine's own, or one that runs."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from evergreen.dask.background import in_thread
from evergreen.dask.fitness import require_fitting
from evergreen.dask.own_cluster import own_cluster
from evergreen.dask.settings import DaskConfig
from evergreen.errors import InputError, UnreachableError

if TYPE_CHECKING:
    from distributed import Client

CONNECT_SECONDS: Final = 15  # for a scheduler to answer
START_SECONDS: Final = 120  # for workers to be there
FREE_SECONDS: Final = 10  # for workers to end what is no longer wanted


@contextmanager
def connected(config: DaskConfig, section: str = "training.dask") -> Iterator[Client]:
    """Yield a client of the cluster, with at least one worker; the workers suit this process.

    A cluster that was started for it ends with the block, or with that of
    `evergreen.dask.own_cluster.kept_clusters`. ``section`` is where the use case names
    the cluster.

    Raises
    ------
    InputError
        If a worker's Python, libraries or Evergreen are others than here, or a worker does not see
        the files of this process.
    UnreachableError
        If the scheduler does not answer, has no workers, or processes cannot be started.
    """
    with ExitStack() as stack:
        if config.scheduler is None:
            client = stack.enter_context(own_cluster(config, section))
        else:
            client = stack.enter_context(_client_of(config.scheduler, section))
        _await_workers(client, config, section)
        if config.scheduler is not None:
            require_fitting(client)
        yield client


def require_cluster(config: DaskConfig) -> None:
    """Raise what `connected` would, where the cluster is there already.

    For the beginning of a run, whose work would otherwise be in vain.
    """
    if config.scheduler is not None:
        with connected(config):
            pass


def _await_workers(client: Client, config: DaskConfig, section: str) -> None:
    """Wait until one worker is there, or all of a cluster of one's own."""
    wanted = config.workers or 1
    try:
        client.wait_for_workers(wanted, timeout=START_SECONDS)
    except TimeoutError as error:
        if config.scheduler is None:
            raise UnreachableError(
                f"Of {wanted} Dask workers on this machine {len(workers_of(client))} have started "
                f"within {START_SECONDS} s; lower {section}.workers, or free memory"
            ) from error
        if halted := halted_workers(client):
            raise WorkersPausedError(halted) from error
        raise UnreachableError(
            f"The Dask scheduler {config.scheduler} has no workers; start some: "
            f"dask worker {config.scheduler}"
        ) from error


def workers_of(client: Client) -> list[str]:
    """Return the addresses of the workers that are there now, in the order of their names."""
    found = client.sync(client.scheduler.identity)["workers"]
    return sorted(found, key=lambda address: (str(found[address]["name"]), address))


class WorkersPausedError(UnreachableError):
    """Workers take no tasks because their memory is nearly full."""

    def __init__(self, workers: Iterable[str]) -> None:
        self.workers = tuple(workers)
        super().__init__(
            f"Dask has paused {', '.join(self.workers)}: so much of the memory is taken that "
            "nothing begins there any more, and the others would wait forever. Give workers more "
            "memory, or take more of them, and start them with "
            "DASK_DISTRIBUTED__WORKER__MEMORY__PAUSE=False"
        )


def halted_workers(client: Client) -> list[str]:
    """Return the workers that are paused and do nothing; what is given to them waits."""
    found = client.sync(client.scheduler.identity)["workers"]
    return sorted(
        address
        for address, worker in found.items()
        if worker["status"] == "paused" and not worker["metrics"].get("executing")
    )


def free_workers(client: Client, workers: Iterable[str], task: str) -> list[str]:
    """Free workers from tasks whose names begin so; return those that stay with them.

    A task cannot be stopped: the process is started anew, if there is a nanny to do that.
    """

    def busy(task: str, dask_worker: Any) -> bool:  # Dask gives the worker by this name
        return any(str(each.key).startswith(task) for each in dask_worker.state.executing)

    held = list(workers)
    deadline = time.monotonic() + FREE_SECONDS
    while held and time.monotonic() < deadline:
        told = client.run(busy, task, workers=held, on_error="return")
        held = [worker for worker, answer in told.items() if answer is True]
        time.sleep(0.5)
    if not held:
        return []
    known = client.sync(client.scheduler.identity)["workers"]
    watched = [worker for worker in held if known.get(worker, {}).get("nanny")]
    if watched:
        client.restart_workers(watched, timeout=START_SECONDS, raise_for_error=False)
    return [worker for worker in held if worker not in watched]


@contextmanager
def _client_of(address: str, section: str) -> Iterator[Client]:
    from evergreen.dask.client import TidyClient

    try:
        # Not all of it keeps to the timeout: something silent at the address would hold it forever.
        began = in_thread(partial(TidyClient, address, timeout=CONNECT_SECONDS))
        client = began.result(2 * CONNECT_SECONDS)
    except (OSError, RuntimeError) as error:  # a timeout is an OSError
        reason = f": {error}" if str(error) else ""
        raise UnreachableError(
            f"The Dask scheduler {address} does not answer{reason}. See that it runs, with the "
            f"versions of requirements.txt, and that {section}.scheduler is its address"
        ) from error
    except TypeError as error:  # Dask's words for it speak of its inner arguments
        raise InputError(
            f"{section}.scheduler is {address}, but Dask has no certificates to speak TLS "
            "with; name them by DASK_DISTRIBUTED__COMM__TLS__CA_FILE and its neighbours"
        ) from error
    with client:
        yield client
