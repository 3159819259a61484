"""What Dask workers do in tests: they fall over, as a test asks them to."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from evergreen.data.dataset import Dataset
from evergreen.errors import InputError


def square(number: int) -> int:
    return number * number


def refuse(number: int) -> int:
    if number == 2:
        raise InputError("two is refused")
    return number


def fall_once(piece: tuple[Path, int]) -> int:
    """Kill the worker the first time that somebody asks for three."""
    folder, number = piece
    mark = folder / "fallen"
    if number == 3 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def fall_always(number: int) -> int:
    if number == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def fall_once_on(table: Dataset, item: tuple[Path, str]) -> float:
    """Count a column's rows; kill the worker the first time that somebody is asked for `b`."""
    folder, name = item
    mark = folder / "fallen"
    if name == "b" and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return float(len(table.read([name])))


def fall_in_a_worker(table: Dataset, item: int) -> int:
    from distributed import get_worker

    try:
        get_worker()
    except ValueError:
        return item
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("still alive")
