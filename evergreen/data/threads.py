"""Work shared among threads: what Arrow and NumPy do at length, they do without Python's lock."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Made = TypeVar("Made")


def cores() -> int:
    """Return how many cores this process may use (affinity, container limits)."""
    import joblib

    return int(joblib.cpu_count())


def made_ahead(items: Iterable[Item]) -> Iterator[Item]:
    """Yield items, of which a thread makes the next one while the caller works at one."""
    rest = iter(items)
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(list, islice(rest, 1))
        while made := coming.result():
            coming = pool.submit(list, islice(rest, 1))
            yield made.pop()


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
