"""How running steps tell whoever watches what they are doing.

Steps of the local orchestrator run in the process that started the pipeline, so a listener set
there hears them. Elsewhere nobody listens, and the words go to the step's log, from which whoever
started the pipeline may read them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Final

from zenml.logger import get_logger

from evergreen.batch.outcome import RowProgress
from evergreen.costs import Meter, StageCost
from evergreen.training.progress import Progress

News = str | Progress | RowProgress
Listener = Callable[[News], None]

_MARK: Final = "progress: "
_KINDS: Final = {kind.__name__: kind for kind in (Progress, RowProgress)}

logger = get_logger(__name__)
_listeners: list[Listener] = []
_meters: list[Meter] = [Meter()]


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Let ``listener`` hear every announcement made inside the block."""
    _listeners.append(listener)
    _meters[0] = Meter()
    try:
        yield
    finally:
        _listeners.remove(listener)


def announce(news: News) -> None:
    """Tell the listeners what happens now: a stage's title, or how far it has come."""
    if isinstance(news, str):
        _meters[0].begin(news)
    if not _listeners:
        logger.info("%s", written(news))
    for listener in _listeners:
        listener(news)


def costs() -> tuple[StageCost, ...]:
    """Return what the stages took that this process has announced and ended in this run."""
    return _meters[0].costs()


def written(news: News) -> str:
    """Return news as a line of a log."""
    if isinstance(news, str):
        return news
    return _MARK + json.dumps({"kind": type(news).__name__, **asdict(news)})


def read_news(line: str) -> Progress | RowProgress | None:
    """Return the progress that a line of a log tells of; None where it tells of none."""
    _, mark, told = line.partition(_MARK)
    if not mark or not told.startswith("{"):
        return None
    try:
        content, _ = json.JSONDecoder().raw_decode(told)
        return _KINDS[content.pop("kind")](**content)
    except (KeyError, TypeError, ValueError):
        return None
