"""What the stages of a run take: seconds, and memory at its highest."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

from evergreen.values import Value

_STATUS: Final = Path("/proc/self/status")


class StageCost(Value):
    """What one stage took. ``peak_bytes`` is the highest of this and all earlier stages.

    It is this process's memory, without that of helper processes; None where it is not known.
    """

    stage: str
    seconds: float
    peak_bytes: int | None


class Meter:
    """Takes down when stages begin; one ends where the next one begins."""

    def __init__(self) -> None:
        self._ended: list[StageCost] = []
        self._open: tuple[str, float] | None = None

    def begin(self, stage: str) -> None:
        """Let a stage begin now."""
        self._end()
        self._open = stage, time.monotonic()

    def costs(self) -> tuple[StageCost, ...]:
        """Return the stages that have ended."""
        return tuple(self._ended)

    def _end(self) -> None:
        if self._open is not None:
            stage, started = self._open
            seconds = time.monotonic() - started
            self._ended.append(StageCost(stage=stage, seconds=seconds, peak_bytes=peak_memory()))


def peak_memory() -> int | None:
    """Return the most memory that this process has had so far, in bytes; None if unknown.

    `getrusage` would count who started it, too.
    """
    try:
        lines = _STATUS.read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return None
