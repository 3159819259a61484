"""A table that the workers of a Dask cluster go through, each by row groups or columns of it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pandas as pd

from evergreen.dask.cluster import connected
from evergreen.dask.pieces import map_pieces_or_do_them
from evergreen.dask.settings import DaskConfig
from evergreen.data.dataset import Dataset
from evergreen.data.passes import Passes
from evergreen.errors import InputError, UnreachableError
from evergreen.scratch import working_folder

if TYPE_CHECKING:
    from distributed import Client

Item = TypeVar("Item")
Made = TypeVar("Made")


class DaskPasses(Passes):
    """Lets workers go through a table; what they lack the memory for is done here."""

    def __init__(self, client: Client, places: ExitStack) -> None:
        self._client, self._places = client, places
        self._shared: dict[Path, Dataset] = {}

    def over_rows(self, function: Callable[[pd.DataFrame], Made], table: Dataset) -> Iterator[Made]:
        """Yield what a function makes of each row group, in order."""
        return self.each(partial(_of_row_group, function), table, range(len(table.row_groups())))

    def each(
        self, function: Callable[[Dataset, Item], Made], table: Dataset, items: Sequence[Item]
    ) -> Iterator[Made]:
        """Yield what a function makes of the table and each item, in order."""
        if (shared := self._shared.get(table.path)) is None:
            shared = self._places.enter_context(where_workers_see_it(table))
            self._shared[table.path] = shared
        return map_pieces_or_do_them(self._client, partial(_of_same, function, shared), items)


def goes_to_workers(table: Dataset, config: DaskConfig) -> bool:
    """Tell whether a cluster goes through a table: one that runs, where the engine is that.

    Processes of this machine have the cores that this one's threads have. They would gain nothing,
    and take seconds to start, to import and to be told.
    """
    return table.engine.name == "dask" and config.elsewhere


@contextmanager
def passes_of(table: Dataset, config: DaskConfig) -> Iterator[Passes]:
    """Yield who goes through a table: a cluster, if it `goes_to_workers`, or this process.

    Raises
    ------
    InputError, UnreachableError
        As `evergreen.dask.cluster.connected` does.
    """
    if not goes_to_workers(table, config):
        yield Passes()
        return
    with ExitStack() as places, connected(config) as client:
        yield DaskPasses(client, places)


@contextmanager
def where_workers_see_it(table: Dataset) -> Iterator[Dataset]:
    """Give a table a place in the state folder; on the same disk it is not copied.

    Raises
    ------
    UnreachableError
        If it cannot be copied.
    """
    with working_folder("shared-") as folder:
        for name, file in table.files("table.parquet").items():
            _give_a_place(file, folder / name)
        yield replace(table, path=folder / "table.parquet")


def _give_a_place(file: Path, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(file, path)
    except OSError:
        try:
            shutil.copyfile(file, path)
        except OSError as error:
            raise UnreachableError(
                f"Cannot copy the table to {path}, where workers see it: {error.strerror}"
            ) from error


def require_same(table: Dataset) -> None:
    """Raise `InputError` where a worker finds another table than the run has."""
    if Dataset.open(table.path).fingerprint != table.fingerprint:
        raise InputError(f"{table.path} holds another table here than where the run began")


def _of_same(function: Callable[[Dataset, Any], Made], table: Dataset, item: Any) -> Made:
    require_same(table)
    return function(table, item)


def _of_row_group(function: Callable[[pd.DataFrame], Made], table: Dataset, number: int) -> Made:
    return function(table.read_row_group(number))
