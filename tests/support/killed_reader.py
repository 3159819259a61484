"""Readers of a stream that are killed: a process that forks one for each line that it is told.

A line is ``replace 3`` (killed in place of the third renaming of a file), ``replaced 3`` (right
after it), ``unlink 2`` (before the second removal), or ``seconds 0.01`` (at that moment, from
outside). The answer is the signal that ended the reader, or 0.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from evergreen.data.source_config import NatsSource
from evergreen.data.sources import read_source


def _die_at(name: str, number: int, *, after: bool) -> None:
    """Let the process be killed at a call of one of `Path`'s methods."""
    method: Callable[..., Any] = getattr(Path, name)
    calls = 0

    def deadly(self: Path, *arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += self.exists()
        if calls == number and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        result = method(self, *arguments, **options)
        if calls == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(Path, name, deadly)


def _read(source: NatsSource, how: str, when: str) -> None:
    if how != "seconds":
        name = how.removesuffix("d") if how == "replaced" else how
        _die_at(name, int(when), after=how == "replaced")
    read_source(source)


def main() -> None:
    """Serve the lines of standard input."""
    # Imported here once, not by each reader.
    import evergreen.data.sources.nats_source  # noqa: F401

    source = NatsSource.model_validate(json.loads(sys.argv[1]))
    print("ready", flush=True)
    for line in sys.stdin:
        how, when = line.split()
        child = os.fork()
        if not child:
            try:
                _read(source, how, when)
            finally:
                os._exit(0)
        if how == "seconds":
            time.sleep(float(when))
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        print(os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0, flush=True)


if __name__ == "__main__":
    main()
