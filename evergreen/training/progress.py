"""What a search tells while it runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """How far one candidate has come: after each of its trials, and once more when it is done."""

    candidate: str
    title: str
    trial: int  # finished trials
    trials: int  # planned ones
    score: float | None  # of the latest trial; None: it failed or was given up
    best: float | None  # of this candidate so far
    done: bool = False
    error: str | None = None  # why the candidate has no score


OnProgress = Callable[[Progress], None]
