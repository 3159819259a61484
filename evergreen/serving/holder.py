"""What is being served at the moment, exchanged as a whole.

A request takes `ModelHolder.arms` (or the champion alone, `ModelHolder.current`) once and answers
from it, so that models, contracts, versions, the traffic plan and whatever was prepared for them
always belong together, however often they are exchanged.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from evergreen.errors import InputError, UnreachableError
from evergreen.serving.arms import CHALLENGER, Arms

if TYPE_CHECKING:
    from evergreen.data.contract import Contract
    from evergreen.serving.runtime import Runtime
    from evergreen.serving.traffic import TrafficPlan

VERSION_HEADER: Final = b"x-model-version"


@dataclass(frozen=True)
class Served:
    """A model as it is served.

    ``version`` and ``alias`` are the registry's; both are None for a bundle folder. ``prepared``
    is what the holder's ``prepare`` made of the runtime (request types, documents).
    """

    runtime: Runtime
    name: str
    version: str | None = None
    alias: str | None = None
    since: datetime = field(default_factory=lambda: datetime.now(UTC))
    prepared: Any = None

    @property
    def contract(self) -> Contract:
        """What every column promises."""
        return self.runtime.contract

    @cached_property
    def headers(self) -> tuple[tuple[bytes, bytes], ...]:
        """What an answer's head says of the model: its version, where it has one."""
        if self.version is None:
            return ()
        return ((VERSION_HEADER, self.version.encode("latin-1", "replace")),)


@dataclass(frozen=True)
class SwapFailure:
    """Why another version is not served."""

    time: datetime
    version: str | None  # None where not even that could be found out
    reason: str


class ModelHolder:
    """Holds what is served. Reading is free of locks; exchanging is one assignment.

    Parameters
    ----------
    prepare
        Called with the runtime of every model before it becomes current; what it returns is
        `Served.prepared`. Where it raises, the former model stays.
    """

    def __init__(self, prepare: Callable[[Runtime], Any] | None = None) -> None:
        self.prepare = prepare
        self.swaps = 0  # exchanges of one model for another; the first one is none
        self.failure: SwapFailure | None = None
        self.challenger_failure: SwapFailure | None = None  # why a plan is not in force
        self._arms: Arms | None = None
        self._lock = threading.Lock()

    @property
    def ready(self) -> bool:
        """Whether there is a model to answer with."""
        return self._arms is not None

    @property
    def arms(self) -> Arms:
        """What answers now: the champion, and a challenger where a traffic plan is in force.

        Raises
        ------
        UnreachableError
            If no model was loaded yet.
        """
        if self._arms is None:
            raise UnreachableError("No model is loaded yet; try again in a moment.")
        return self._arms

    @property
    def current(self) -> Served:
        """The champion; raises as `arms` does."""
        return self.arms.champion

    def swap(
        self, runtime: Runtime, version: str | None = None, alias: str | None = None
    ) -> Served:
        """Serve ``runtime`` from now on; requests under way end with the model they began with.

        ``runtime`` has been verified by whoever loaded it.

        Raises
        ------
        InputError
            If clients of the present model could not go on: another use case, other fields or
            other labels. The present model stays.
        """
        with self._lock:
            former = self._arms
            if former is not None:
                require_compatible(former.champion.contract, runtime.contract)
            served = self._served(runtime, version, alias)
            self._arms = Arms(served) if former is None else _with_champion(former, served)
            self.swaps += former is not None
            self.failure = None
            return served

    def offer(self, runtime: Runtime, version: str) -> Served:
        """Prepare a challenger, without giving it any traffic yet.

        Raises
        ------
        InputError
            If clients of the champion could not be answered by it.
        """
        require_compatible(self.current.contract, runtime.contract)
        return self._served(runtime, version, CHALLENGER)

    def direct(self, challenger: Served, plan: TrafficPlan) -> bool:
        """Split the traffic between the champion and a challenger; say whether that is new.

        Raises
        ------
        InputError
            If clients of the champion, which may have changed, could not be answered by it. Then
            the champion answers everything.
        """
        with self._lock:
            former = self.arms
            if former.challenger is challenger and former.plan == plan:
                return False
            self._arms = Arms(former.champion)
            require_compatible(former.champion.contract, challenger.contract)
            self._arms = Arms(former.champion, challenger, plan)
            return True

    def undirect(self) -> bool:
        """Let the champion answer everything; say whether that is new."""
        with self._lock:
            former = self.arms
            self._arms = Arms(former.champion)
            return former.challenger is not None

    def _served(self, runtime: Runtime, version: str | None, alias: str | None) -> Served:
        prepared = None if self.prepare is None else self.prepare(runtime)
        return Served(runtime, runtime.contract.use_case, version, alias, prepared=prepared)

    def report(self, version: str | None, reason: str) -> None:
        """Write down why a version is not served; the next success clears it."""
        self.failure = SwapFailure(datetime.now(UTC), version, reason)

    def refuse_challenger(self, version: str | None, reason: str) -> None:
        """Write down why a traffic plan is not in force."""
        self.challenger_failure = SwapFailure(datetime.now(UTC), version, reason)

    def clear_failure(self) -> None:
        """Forget the last failure: what was wrong has passed."""
        self.failure = None


def _with_champion(former: Arms, champion: Served) -> Arms:
    """Return arms with another champion; the challenger goes on where it still can."""
    challenger = former.challenger
    if challenger is None or challenger.version == champion.version:
        return Arms(champion)
    try:
        require_compatible(champion.contract, challenger.contract)
    except InputError:
        return Arms(champion)
    return Arms(champion, challenger, former.plan)


def require_compatible(served: Contract, offered: Contract) -> None:
    """Check that requests which suit one contract suit another: name, task, fields, labels.

    Ranges, categories and examples may differ; they change with the table.

    Raises
    ------
    InputError
        If they do not.
    """
    if offered.use_case != served.use_case:
        raise InputError(
            f"The bundle is of {offered.use_case!r}, and this server serves {served.use_case!r}."
        )
    if offered.task != served.task:
        raise InputError(f"The model does {offered.task}; the one that is served, {served.task}.")
    fields = {column.name: column.type for column in served.features}
    others = {column.name: column.type for column in offered.features}
    if difference := _difference(fields, others):
        raise InputError(
            f"The model takes other fields than the one that is served: {difference}. "
            "Restart the server to serve it, once its clients know."
        )
    if offered.labels != served.labels:
        raise InputError(
            f"The model knows the labels {_listed(offered.labels)}; the one that is served, "
            f"{_listed(served.labels)}. Restart the server to serve it, once its clients know."
        )


def _difference(fields: dict[str, Any], others: dict[str, Any]) -> str | None:
    parts = [f"{name!r} is new" for name in others if name not in fields]
    parts += [f"{name!r} is gone" for name in fields if name not in others]
    parts += [
        f"{name!r} is {others[name]}, was {kind}"
        for name, kind in fields.items()
        if name in others and others[name] != kind
    ]
    if not parts and list(fields) != list(others):
        return "they stand in another order"
    return "; ".join(parts[:5]) or None


def _listed(labels: tuple[Any, ...] | None) -> str:
    return "none" if labels is None else ", ".join(repr(label) for label in labels[:10])
