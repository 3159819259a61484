"""A process with a ceiling of memory and of time: what it took, and how it ended."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

LOOK_EVERY = 0.05  # seconds
COUNT_EVERY = 0.5  # the processes that it started are looked for


@dataclass
class Ended:
    """How a process ended: ``outcome`` is done, out of memory, timed out, or failed.

    ``peak`` is the most memory, in bytes, that it and those it started had at once (resident
    sets); ``cpu`` the processor seconds of all of them.
    """

    outcome: str
    seconds: float
    cpu: float
    peak: int
    out: str
    err: str


def run_within(
    words: Sequence[str],
    *,
    cwd: Path,
    environment: Mapping[str, str],
    ceiling: int,
    timeout: float,
    good: Sequence[int] = (0,),
) -> Ended:
    """Run a program to its end, or until it has more memory or time than it may.

    At the ceiling it is killed as the kernel would kill it; so a program that runs out of memory
    is a result, and neither the machine nor the benchmark goes with it.
    """
    start = time.perf_counter()
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        process = subprocess.Popen(
            list(words), cwd=cwd, env=dict(environment), stdout=out, stderr=err
        )
        watch = _Watch(process.pid)
        outcome = None
        try:
            while True:
                pid, status, usage = os.wait4(process.pid, os.WNOHANG)
                if pid:
                    break
                if outcome is None and watch.look() > ceiling:
                    outcome = "out of memory"
                    watch.kill()
                elif outcome is None and time.perf_counter() - start > timeout:
                    outcome = "timed out"
                    watch.kill()
                time.sleep(LOOK_EVERY)
            process.returncode = os.waitstatus_to_exitcode(status)
        finally:
            watch.kill()
        seconds = time.perf_counter() - start
        out.seek(0)
        err.seek(0)
        said, complained = out.read(), err.read()
    if outcome is None:
        outcome = _outcome(process.returncode, good, complained)
    cpu = usage.ru_utime + usage.ru_stime
    return Ended(outcome, seconds, cpu, watch.peak, said, complained)


def _outcome(code: int, good: Sequence[int], complained: str) -> str:
    if code in good:
        return "done"
    # Killed by the kernel, or refused by the allocator.
    memory = code == -9 or "MemoryError" in complained or "bad_alloc" in complained
    return "out of memory" if memory else "failed"


class _Watch:
    """Follows the memory of a process and of those that it started."""

    def __init__(self, pid: int) -> None:
        self.pid, self.peak = pid, 0
        self._first = psutil.Process(pid)
        self._others: list[psutil.Process] = []
        self._counts = [pid]
        self._counted = 0.0

    def look(self) -> int:
        """Return the bytes that they have now."""
        if time.monotonic() - self._counted > COUNT_EVERY:
            self._counted = time.monotonic()
            known = {other.pid for other in self._others}
            with suppress(psutil.Error):
                self._others = self._first.children(recursive=True)
            # One that was just forked still shares all of its pages: it counts a look later.
            self._counts = [self.pid, *(o.pid for o in self._others if o.pid in known)]
        now = sum(_kilobytes(pid, "VmRSS:") for pid in self._counts) * 1024
        self.peak = max(self.peak, now, self._highest())
        return now

    def kill(self) -> None:
        """End those that still run."""
        with suppress(psutil.Error):
            self._others += self._first.children(recursive=True)
        for one in (*self._others, self._first):
            with suppress(psutil.Error):  # it has ended; psutil knows who else got its number
                one.kill()

    def _highest(self) -> int:
        """Return the most that the first process ever had, which falls between no two looks."""
        return _kilobytes(self.pid, "VmHWM:") * 1024


def _kilobytes(pid: int, name: str) -> int:
    """Return what the kernel says of a process's memory; 0 of one that is gone."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(name):
                return int(line.split()[1])
    return 0
