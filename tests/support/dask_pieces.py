"""What Dask workers do in tests: they fall over, as a test asks them to."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

from evergreen.data.dataset import Dataset
from evergreen.data.passes import Passes
from evergreen.errors import InputError

Item = TypeVar("Item")
Made = TypeVar("Made")


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


def fall_in_any_worker(function: Callable[[Item], Made], item: Item) -> Made:
    """Kill whatever worker is asked; elsewhere, do what is to be done."""
    from distributed import get_worker

    try:
        get_worker()
    except ValueError:
        return function(item)
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("still alive")


def fall_in_a_worker(table: Dataset, item: int) -> int:
    return fall_in_any_worker(int, item)


def fall_at_a_file(mark: Path, function: Callable[[Item], Made], item: Item) -> Made:
    """Kill the worker the first time that somebody is asked for a file but the first one."""
    file = getattr(item, "file", None)
    if file is not None and not file.name.startswith("00000") and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return function(item)


class FallingOnce(Passes):
    """Goes through a table as another does; the worker that is asked for the second item falls."""

    def __init__(self, way: Passes, folder: Path) -> None:
        self.way, self.mark = way, folder / "fallen"

    def each(
        self, function: Callable[[Dataset, Item], Made], table: Dataset, items: Sequence[Item]
    ) -> Iterator[Made]:
        numbered = list(enumerate(items))
        return self.way.each(partial(_fall_first, self.mark, function), table, numbered)


def _fall_first(
    mark: Path, function: Callable[[Dataset, Item], Made], table: Dataset, item: tuple[int, Item]
) -> Made:
    number, asked = item
    if number == 1 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return function(table, asked)
