"""Seeing to it that a canary goes back by itself, also where nobody else is there.

One process of a server looks whether a canary is in force, and while it is runs its controller,
`evergreen.promotion.canary`, as a process of its own: that one needs MLflow and SciPy, which no
serving process imports. Controllers of several servers do not get into each other's way.
"""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Final

from evergreen.errors import EvergreenError
from evergreen.serving.challenger import read_plan
from evergreen.serving.options import REGISTRY_VARIABLE, ServerOptions
from evergreen.serving.registry_reader import look, open_registry

INTERVAL: Final = 3.0  # seconds between looks at the plan
RETRY: Final = 30.0  # seconds between two starts of a controller
PATIENCE: Final = 15.0  # seconds that it gets to end; a decision under way is carried out first
LOG_VARIABLE: Final = "EVERGREEN_PREDICTION_LOG"
_CONTROLLER: Final = ("-m", "evergreen.promotion.canary")
_NICE: Final = 5  # requests come first

logger = logging.getLogger(__name__)


class CanaryGuard:
    """Runs a canary's controller while one is in force.

    Raises
    ------
    InputError
        If the registry's address is of a kind that cannot be used.
    """

    def __init__(self, options: ServerOptions, interval: float = INTERVAL) -> None:
        self._name = str(options.model)
        self._registry = open_registry(options.registry_uri)
        self._interval = interval
        # Addresses may hold passwords: not on a command line, where everybody sees them.
        self._environment = {
            **os.environ,
            REGISTRY_VARIABLE: options.registry_uri,
            LOG_VARIABLE: options.log_url,
            "EVERGREEN_HOME": str(options.home.root),
        }
        self._process: subprocess.Popen[bytes] | None = None
        self._not_before = 0.0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="canary-guard", daemon=True)

    def start(self) -> None:
        """Look every few seconds from now on."""
        self._thread.start()

    def close(self) -> None:
        """Look no more, and end the controller; a canary goes on where another server runs it."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(PATIENCE)
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def check(self) -> None:
        """Look once, and start the controller where it is needed."""
        if self._process is not None and self._process.poll() is None:
            return
        needed = self._needed()
        if self._process is not None:
            if needed:
                self._complain(self._process.returncode)
            self._process = None
        if needed and time.monotonic() >= self._not_before:
            self._not_before = time.monotonic() + RETRY
            self._start()

    def _start(self) -> None:
        self._process = subprocess.Popen(  # noqa: S603  (our own module)
            [sys.executable, *_CONTROLLER, "--model", self._name],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, self._process.pid, _NICE)

    def _needed(self) -> bool:
        try:
            plan = read_plan(look(self._registry, self._name))
        except EvergreenError:
            return False  # the watcher says so
        return plan is not None and plan.mode == "canary"

    def _complain(self, code: int) -> None:
        """Say that a controller ended before its canary did."""
        logger.error(
            "The controller of the canary of %r ended with code %d, so it may not be sent back by "
            "itself; trying again in %g s. By hand, where everything is installed: "
            "python -m evergreen.promotion.canary --model %s",
            self._name,
            code,
            RETRY,
            self._name,
        )

    def _run(self) -> None:
        while not self._stopping.wait(self._interval):
            try:
                self.check()
            except Exception:  # the thread must go on
                logger.exception("Looking after the canary of %r failed", self._name)


@contextlib.contextmanager
def guarding(options: ServerOptions) -> Iterator[None]:
    """Guard canaries in the block, where the server follows a champion and so may follow one."""
    if options.bundle is not None or options.version is not None or options.alias != "champion":
        yield
        return
    with contextlib.closing(CanaryGuard(options)) as guard:
        guard.start()
        yield
