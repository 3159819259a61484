"""Fitting on a Dask cluster, whose workers read the table's row groups themselves.

Each row group becomes features on one worker and stays in its memory; the library's own Dask
interface learns from there. XGBoost's workers agree on every split; their bins are those of one
machine where some rows tell them, else those of a distributed weighted quantile sketch of all rows
(Chen & Guestrin 2016, section 3.3). Of LightGBM's, each finds the bins of some features in its own
rows, and all sum up histograms (its data-parallel learner). A worker that is lost takes its rows
and the trees so far with it, so the training begins anew.
"""

from __future__ import annotations

import concurrent.futures
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any, Final, Literal, cast

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.pipeline import Pipeline

from evergreen.dask.background import in_thread
from evergreen.dask.cluster import (
    WorkersPausedError,
    connected,
    free_workers,
    halted_workers,
    workers_of,
)
from evergreen.dask.own_cluster import begin_cluster, end_cluster
from evergreen.dask.settings import DaskConfig
from evergreen.dask.tables import require_same, where_workers_see_it
from evergreen.data.conform import model_frame, target_values
from evergreen.data.contract import Contract
from evergreen.data.dataset import Dataset
from evergreen.data.memory import give_back_freed_memory
from evergreen.errors import UnreachableError
from evergreen.features.in_memory import features_of
from evergreen.training.bins import BinSample, Look
from evergreen.training.learners import Learner, SharedRows, label_weights, learner_of
from evergreen.training.target import class_codes, classes_of, read_target

if TYPE_CHECKING:
    from distributed import Client, Future

ATTEMPTS: Final = 3
MODULES: Final = (  # that workers of the run's own load while they start
    "evergreen.dask.worker_memory",
    "evergreen.training.dask_matrix",
    "evergreen.training.on_dask",
)
WATCH_SECONDS: Final = 2.0  # between looks at who is there
NOTICE_SECONDS: Final = 5.0  # in which a scheduler notices that a worker is gone
PAUSE_SECONDS: Final = 60.0  # that a worker may do nothing because its memory is short

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Recipe:
    """What a worker needs to make one row group into what an estimator learns from.

    ``labels`` are those of a classification, in order, ``weights`` those of their rows. Features
    ``by_columns`` come as a frame, whose columns each lie together in memory.
    """

    table: Dataset
    contract: Contract
    transform: Pipeline
    labels: npt.NDArray[Any] | None = None
    weights: npt.NDArray[np.float32] | None = None
    by_columns: bool = False

    def part(self, number: int) -> dict[str, npt.NDArray[np.float32] | pd.DataFrame]:
        """Return data (rows × features) and label of a row group, and weight where rows have one.

        Raises
        ------
        InputError
            If the file is damaged, or not the one that the recipe was made for.
        UnreachableError
            If the file is gone.
        """
        require_same(self.table)
        names = [column.name for column in self.contract.features]
        inputs = model_frame(self.table.read_row_group(number, names), self.contract)
        order: Literal["C", "F"] = "F" if self.by_columns else "C"
        data = features_of(self.transform, inputs, np.float32, order)
        part = {"data": pd.DataFrame(data, copy=False) if self.by_columns else data}
        if self.labels is None:
            target = self.table.read_row_group(number, [self.contract.target])
            return part | {"label": target_values(target, self.contract).astype(np.float32)}
        known = class_codes(np.array(self.contract.labels), self.labels)
        codes = known[classes_of(self.table, number, self.contract)]
        part["label"] = codes.astype(np.float32)
        if self.weights is not None:
            part["weight"] = self.weights[codes]
        return part


def await_learning(config: DaskConfig) -> None:
    """Let a cluster of the run's own start, which will learn; nobody waits for it yet."""
    begin_cluster(config, "training.dask", MODULES)


def learn_on_dask(
    estimator: Any, train: Dataset, contract: Contract, transform: Pipeline, config: DaskConfig
) -> None:
    """Fit an estimator of XGBoost or LightGBM on what a fitted ``transform`` makes of all rows.

    Raises
    ------
    InputError
        If the cluster does not suit this process; see `evergreen.dask.cluster.connected`.
    UnreachableError
        If there is no cluster, its workers are lost again and again, or one is paused.
    """
    target = labels = weights = None
    if contract.labels is not None:
        target = cast("pd.Categorical[Any]", read_target(train, contract))
        labels = np.asarray(target.categories)
        if estimator.class_weight is not None:
            weights = label_weights(np.bincount(target.codes))
    learner = learner_of(estimator, target)
    give_back_freed_memory()
    with where_workers_see_it(train) as table:
        recipe = Recipe(table, contract, transform, labels, weights, learner.by_columns)
        learned = _persistently(recipe, learner, config)
    end_cluster(config)  # its memory is wanted by what follows
    learner.adopt(learned)


def spread(rows: tuple[int, ...], workers: list[str]) -> list[str]:
    """Return for each row group the worker that gets it: the one with the fewest rows so far."""
    load = dict.fromkeys(workers, 0)
    homes = []
    for count in rows:
        home = min(workers, key=load.__getitem__)
        load[home] += count
        homes.append(home)
    return homes


class WorkersLostError(Exception):
    """Workers of an attempt are gone."""

    def __init__(self, workers: Sequence[str]) -> None:
        super().__init__(", ".join(workers))
        self.workers = workers


def _persistently(recipe: Recipe, learner: Learner, config: DaskConfig) -> Any:
    """Train, anew with the workers that are left where some were lost."""
    stuck: list[str] = []
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with connected(config) as client:
                workers = [worker for worker in workers_of(client) if worker not in stuck]
                if not workers:
                    raise UnreachableError(
                        f"On {config.title}, {', '.join(stuck)} still wait for a worker that was "
                        "lost. Start them anew; with a nanny, the run would have done so"
                    )
                train = partial(_train, client, workers, recipe, learner)
                try:
                    return _watched(client, workers, train)
                except (WorkersLostError, WorkersPausedError) as error:
                    if config.scheduler is not None:
                        left = set(workers) - set(error.workers)
                        stuck += free_workers(client, left, learner.part)
                    raise  # a cluster of the run's own ends with it
        except WorkersLostError as error:
            lost = error
        told = f"{len(lost.workers)} of {len(workers)} Dask workers, {lost}"
        logger.warning("Attempt %d of %d to learn on Dask lost %s", attempt, ATTEMPTS, told)
    raise UnreachableError(
        f"Each of {ATTEMPTS} attempts to learn on {config.title} lost workers, the last one "
        f"{told}. If they ran out of memory, give them more, or take more of them: each needs "
        "eight bytes for every value of its share of the features. Their logs tell what ended them"
    ) from lost


def _watched(client: Client, workers: Sequence[str], work: Callable[[], Any]) -> Any:
    """Return what ``work`` returns, in a thread that is left alone when a worker is lost.

    It may wait forever then: for a task that Dask gives to another worker, whose only thread waits
    for the one that is gone. It ends with the client.
    """
    outcome = in_thread(work)
    moved = time.monotonic()
    while not concurrent.futures.wait([outcome], WATCH_SECONDS).done:
        if lost := _gone(client, workers):
            raise WorkersLostError(lost)
        if not (idle := halted_workers(client)):
            moved = time.monotonic()
        elif time.monotonic() - moved > PAUSE_SECONDS:
            raise WorkersPausedError(idle)
    try:
        return outcome.result()
    except Exception as error:
        deadline = time.monotonic() + NOTICE_SECONDS
        while not (lost := _gone(client, workers)) and time.monotonic() < deadline:
            time.sleep(0.25)
        if lost:
            raise WorkersLostError(lost) from error
        raise


def _gone(client: Client, workers: Sequence[str]) -> list[str]:
    try:
        there = workers_of(client)
    except (OSError, RuntimeError):  # the scheduler itself does not answer
        return list(workers)
    return [worker for worker in workers if worker not in there]


def _train(client: Client, workers: list[str], recipe: Recipe, learner: Learner) -> Any:
    """Return what the workers learn together."""
    rows = recipe.table.row_groups()
    homes = spread(rows, workers)
    fields = _fields(client, recipe, homes)
    width = client.submit(np.shape, fields["data"][0]).result()[1]
    sample = learner.sample(sum(rows), width)
    if sample is not None:
        _show(client, sample, fields["data"], rows, homes)
    if recipe.by_columns:
        data = _frames(fields["data"], width)
    else:
        data = _whole(fields["data"], [(count, width) for count in rows])
    shared = SharedRows(
        data,
        _whole(fields["label"], [(count,) for count in rows]),
        _whole(fields["weight"], [(count,) for count in rows]) if "weight" in fields else None,
        sample,
    )
    del fields  # the arrays keep them now
    return learner.learn(client, shared)


def _show(
    client: Client,
    sample: BinSample,
    parts: Sequence[Future],
    rows: Sequence[int],
    homes: Sequence[str],
) -> None:
    """Show a sample the features, each part where it is."""
    spans = list(pairwise([0, *accumulate(rows)]))
    looks = [
        client.submit(Look.at, part, sample.places_in(*span), workers=[home], pure=False)
        for part, span, home in zip(parts, spans, homes, strict=True)
    ]
    for (first, last), look in zip(spans, client.gather(looks), strict=True):
        sample.add(first, last, look)


def _frames(parts: Sequence[Future], width: int) -> Any:
    """Return Dask's frame of parts that are frames."""
    from dask import dataframe

    like = pd.DataFrame(np.empty((0, width), dtype=np.float32))
    return dataframe.from_delayed(list(parts), meta=like, verify_meta=False)


def _whole(parts: Sequence[Future], shapes: Sequence[tuple[int, ...]]) -> Any:
    """Return Dask's array of parts whose shapes are known."""
    from dask import array

    arrays = (
        array.from_delayed(part, shape, dtype=np.float32)
        for part, shape in zip(parts, shapes, strict=True)
    )
    return array.concatenate(list(arrays))


def _fields(client: Client, recipe: Recipe, homes: list[str]) -> dict[str, list[Future]]:
    """Let the workers make their parts; return data, label and weight of each."""
    from distributed import as_completed

    # Nowhere else: Dask would give a part to whoever is idle, and another model would be learned.
    shared = client.scatter(recipe, hash=False)
    parts = [
        client.submit(Recipe.part, shared, number, workers=[home], pure=False)
        for number, home in enumerate(homes)
    ]
    for part in as_completed(parts):
        if part.status != "finished":
            part.result()  # raises
    names = ["data", "label", *(["weight"] if recipe.weights is not None else [])]
    return {
        name: [
            client.submit(dict.__getitem__, part, name, workers=[home], pure=False)
            for part, home in zip(parts, homes, strict=True)
        ]
        for name in names
    }
