"""The helper process of a search: ``python -m evergreen.training.helper_main``.

It reads a `SearchTask` and then `Order` lines from standard input, and writes `Message`
lines. When its input ends, or the parent is gone, it ends at once.
"""

from __future__ import annotations

import os
import queue
import signal
import sys
import threading
import traceback
from typing import TextIO

from evergreen.errors import EvergreenError
from evergreen.training.candidate_search import CandidateSearch
from evergreen.training.search_task import Message, Order, SearchTask


def main() -> None:
    """Serve one parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what Ctrl-C means
    channel = _own_channel()

    def tell(message: Message) -> None:
        channel.write(message.model_dump_json() + "\n")
        channel.flush()

    task = SearchTask.model_validate_json(sys.stdin.readline())
    orders = _orders()
    try:
        search = CandidateSearch(task)
        tell(Message(kind="ready"))
        while True:
            order = orders.get()
            result = search.search(
                order.candidate,
                lambda progress: tell(Message(kind="progress", progress=progress)),
                kept=order.kept,
                on_trial=lambda outcome: tell(Message(kind="trial", trial=outcome)),
            )
            tell(Message(kind="result", result=result))
    except EvergreenError as error:
        tell(Message(kind="fault", error=type(error).__name__, text=str(error)))
    except Exception:
        tell(Message(kind="fault", text=traceback.format_exc()))


def _own_channel() -> TextIO:
    """Keep standard output for messages; what libraries print there goes to standard error."""
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return channel


def _orders() -> queue.SimpleQueue[Order]:
    """Return the queue of candidates to search, which a thread fills from standard input."""
    orders: queue.SimpleQueue[Order] = queue.SimpleQueue()

    def read() -> None:
        for line in sys.stdin:
            orders.put(Order.model_validate_json(line))
        os._exit(0)  # also in the middle of a search: nobody waits for it any more

    threading.Thread(target=read, daemon=True).start()
    return orders


if __name__ == "__main__":
    main()
