"""Ctrl-C that ends a command wherever it is.

Some libraries drop the exception that Ctrl-C raises: Python itself in destructors, pydantic while
it builds a validator, at imports and as a step begins. The command would go on as if nothing was
asked.

Who tidies up after it does so in `finally`, `except` or `__exit__`: elsewhere it looks dropped.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

AGAIN: Final = 1.0  # seconds from one look whether Ctrl-C got through to the next


@contextmanager
def interrupted_at_once() -> Iterator[None]:
    """Let Ctrl-C raise `KeyboardInterrupt` wherever a step is, and again if that was dropped.

    ZenML's own handler first logs and asks the database. Where Ctrl-C comes while the same thread
    does just that, it may wait for itself forever.
    """
    from zenml.orchestrators import signal_handler

    handled = signal_handler._SIGNALS
    signal_handler._SIGNALS = tuple(each for each in handled if each != signal.SIGINT)
    try:
        with persistent_ctrl_c():
            yield
    finally:
        signal_handler._SIGNALS = handled


@contextmanager
def persistent_ctrl_c() -> Iterator[None]:
    """Let Ctrl-C raise `KeyboardInterrupt`, and again where that was dropped.

    What else goes wrong because of it is told as `KeyboardInterrupt`, too. A handler of somebody
    else's stays.
    """
    before = signal.getsignal(signal.SIGINT)
    main = threading.current_thread() is threading.main_thread()
    if before is not signal.default_int_handler or not main:
        yield
        return
    ctrl_c = _CtrlC()
    looks = threading.Thread(target=ctrl_c.look_again, daemon=True)
    looks.start()
    signal.signal(signal.SIGINT, ctrl_c.raise_it)
    try:
        yield
    except Exception as error:
        if ctrl_c.came:
            raise KeyboardInterrupt from error
        raise
    finally:
        ctrl_c.ended.set()
        looks.join()
        signal.signal(signal.SIGINT, before)


class _CtrlC:
    """A handler of SIGINT that sees to it that its exception gets through."""

    def __init__(self) -> None:
        self.came = False
        self.ended = threading.Event()
        self._looking = False

    def raise_it(self, number: int, frame: FrameType | None) -> None:
        """Raise `KeyboardInterrupt`, unless this is a look while that is on its way already."""
        looking, self._looking = self._looking, False
        if looking and (self.ended.is_set() or _on_its_way(sys.exc_info()[1])):
            return
        self.came = True
        raise KeyboardInterrupt

    def look_again(self) -> None:
        """Ask again and again, once Ctrl-C came, whether its exception is on its way."""
        main = threading.main_thread().ident
        while not self.ended.wait(AGAIN) and main is not None:
            if self.came:
                self._looking = True
                signal.pthread_kill(main, signal.SIGINT)


def _on_its_way(error: BaseException | None) -> bool:
    """Tell whether somebody tidies up after Ctrl-C, judging by what is being handled."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, KeyboardInterrupt):
            return True
        seen.add(id(error))
        error = error.__context__
    return False
