"""Micro-batching: rows that wait for a busy native model are predicted together.

scikit-learn takes nearly as long for one row as for fifty. Nobody waits for a batch to fill: a row
that finds the model idle is predicted at once, and those that come meanwhile go together, next.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from evergreen.serving.parsing.rows import Inputs
    from evergreen.serving.runtime import Outputs, Runtime


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A row, the model it is for, and what is told of it."""

    runtime: Runtime
    inputs: Inputs
    answer: asyncio.Future[Outputs]


class MicroBatcher:
    """Predicts single rows, of one event loop, in as few calls of the model as it can.

    Parameters
    ----------
    in_thread
        Runs a function beside the event loop.
    rows
        At most so many are predicted at once.
    """

    def __init__(self, in_thread: Callable[..., Awaitable[Any]], rows: int) -> None:
        self._in_thread, self._rows = in_thread, rows
        self._waiting: list[_Waiting] = []
        self._running: asyncio.Task[None] | None = None

    async def predict(self, runtime: Runtime, inputs: Inputs) -> Outputs:
        """Return what ``runtime`` says of one row; raise what it raises."""
        waiting = _Waiting(runtime, inputs, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._run())
        return await waiting.answer

    async def _run(self) -> None:
        """Predict whatever waits, until nothing does."""
        while self._waiting:
            await self._predict(self._take())

    def _take(self) -> list[_Waiting]:
        """Return the rows that go next: those that want the model which the first one wants."""
        first = self._waiting[0].runtime
        taken: list[_Waiting] = []
        left: list[_Waiting] = []
        for one in self._waiting:
            fits = one.runtime is first and len(taken) < self._rows
            (taken if fits else left).append(one)
        self._waiting = left
        return taken

    async def _predict(self, batch: list[_Waiting]) -> None:
        batch = [one for one in batch if not one.answer.cancelled()]
        if len(batch) == 1:
            return await self._alone(batch[0])
        if not batch:
            return None
        try:
            outputs = await self._in_thread(_together, batch)
        except Exception:  # one row's fault is not the others'
            for one in batch:
                await self._alone(one)
            return None
        for row, one in enumerate(batch):
            if not one.answer.done():
                one.answer.set_result(outputs.part(row, row + 1))
        return None

    async def _alone(self, one: _Waiting) -> None:
        try:
            outputs = await self._in_thread(one.runtime.predict, one.inputs)
        except Exception as error:
            if not one.answer.done():
                one.answer.set_exception(error)
        else:
            if not one.answer.done():
                one.answer.set_result(outputs)


def _together(batch: list[_Waiting]) -> Outputs:
    names = batch[0].inputs
    return batch[0].runtime.predict(
        {name: np.concatenate([one.inputs[name] for one in batch]) for name in names}
    )
