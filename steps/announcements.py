"""How running steps tell whoever watches what they are doing.

Steps of the local orchestrator run in the process that started the pipeline, so a listener set
there hears them. Elsewhere nobody listens, and the words go to the step's log.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from zenml.logger import get_logger

from evergreen.batch.outcome import RowProgress
from evergreen.training.progress import Progress

News = str | Progress | RowProgress
Listener = Callable[[News], None]

logger = get_logger(__name__)
_listeners: list[Listener] = []


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Let ``listener`` hear every announcement made inside the block."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


def announce(news: News) -> None:
    """Tell the listeners what happens now: a stage's title, or how far it has come."""
    if not _listeners:
        logger.info("%s", news)
    for listener in _listeners:
        listener(news)
