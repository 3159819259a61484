"""Work shared among threads: what Arrow and NumPy do at length, they do without Python's lock."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Made = TypeVar("Made")


def cores() -> int:
    """Return how many cores this process may use (affinity, container limits)."""
    import joblib

    return int(joblib.cpu_count())


def in_threads(function: Callable[[Item], Made], items: Iterable[Item]) -> Iterator[Made]:
    """Yield what a function makes of each item, in order, of as many at once as there are cores.

    No more results wait than that, however slowly they are taken.
    """
    threads = cores()
    waiting: deque[Future[Made]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                if len(waiting) == threads:
                    yield waiting.popleft().result()
                waiting.append(pool.submit(function, item))
            while waiting:
                yield waiting.popleft().result()
        finally:
            for each in waiting:
                each.cancel()
