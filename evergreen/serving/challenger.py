"""Following the traffic plan: the challenger is loaded beside the champion and gets its share.

Whatever is wrong with plan or challenger, the champion answers everything.
"""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from evergreen.errors import EvergreenError, InputError, UnreachableError
from evergreen.serving.holder import ModelHolder, Served
from evergreen.serving.loading import Load, load_version
from evergreen.serving.registry_reader import ModelState, RegistryReader, locate
from evergreen.serving.traffic import TAG, TrafficPlan

RETRY: Final = 60.0  # seconds until a bundle that was no good is tried again

logger = logging.getLogger(__name__)


class ChallengerFollower:
    """Keeps a holder's challenger at what the traffic plan says.

    Why a plan is not in force stands in `ModelHolder.challenger_failure` and, once, in the log.
    """

    def __init__(
        self, holder: ModelHolder, registry: RegistryReader, name: str, load: Load, cache: Path
    ) -> None:
        self.holder = holder
        self.registry = registry
        self.name = name
        self._load = load
        self._cache = cache
        self._ready: Served | None = None  # the challenger that was loaded last
        self._refused: tuple[str, str, float] | None = None  # version, why, when

    def follow(self, state: ModelState) -> None:
        """Make what the registry says true; failures are reported only."""
        version = None
        try:
            plan = read_plan(state)
            if plan is None:
                self._stand_down()
                return
            version = plan.challenger
            challenger = self._challenger(plan, state)
            _require_field(plan, challenger)
            if self.holder.direct(challenger, plan):
                logger.warning("%s", _said(self.name, plan))
        except Exception as error:  # the champion must go on, whatever a plan or bundle does
            self.holder.undirect()
            if not isinstance(error, EvergreenError | OSError):
                logger.exception("The challenger %s of %r failed", version, self.name)
            self._report(version, str(error) or type(error).__name__)
        else:
            self.holder.challenger_failure = None

    def _challenger(self, plan: TrafficPlan, state: ModelState) -> Served:
        version = plan.challenger
        if self._ready is not None and self._ready.version == version:
            return self._ready
        if self._refused is not None:
            refused, reason, moment = self._refused
            if refused == version and time.monotonic() < moment + RETRY:
                raise InputError(reason)
        try:
            located = locate(self.registry, self.name, version=version, state=state)
            runtime = load_version(self.registry, located, self._load, self._cache)
            self._ready = self.holder.offer(runtime, version)
        except (UnreachableError, OSError):
            raise  # it may be there the next time
        except Exception as error:
            reason = str(error) or type(error).__name__
            self._refused = (version, reason, time.monotonic())
            raise
        self._refused = None
        return self._ready

    def _stand_down(self) -> None:
        self._ready = None
        if self.holder.undirect():
            logger.warning("The champion of %r answers everything again", self.name)
        self.holder.challenger_failure = None

    def _report(self, version: str | None, reason: str) -> None:
        known = self.holder.challenger_failure
        if known is None or (known.version, known.reason) != (version, reason):
            logger.error("The challenger gets no traffic: %s", reason)
        self.holder.refuse_challenger(version, reason)


def read_plan(state: ModelState) -> TrafficPlan | None:
    """Return the plan that a registry's tag holds, None where there is none.

    Raises
    ------
    InputError
        If it cannot be read, or is for a version that is not the challenger.
    """
    if state.traffic is None:
        return None
    try:
        plan = TrafficPlan.model_validate_json(state.traffic)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "its text"
        raise InputError(
            f"The traffic plan (the model's tag {TAG}) cannot be read: {where}: {first['msg']}. "
            "Set it anew, or delete the tag."
        ) from None
    waiting = state.aliases.get("challenger")
    if plan.challenger != waiting:
        present = "no version is" if waiting is None else f"version {waiting} is"
        raise InputError(
            f"The traffic plan is for version {plan.challenger}, but {present} challenger; it is "
            "void."
        )
    if plan.challenger == state.aliases.get("champion"):
        raise InputError(f"The traffic plan is for version {plan.challenger}, which is champion.")
    return plan


def _require_field(plan: TrafficPlan, challenger: Served) -> None:
    """Refuse to stick to a field that is none: the traffic would be split at random."""
    kind, _, name = (plan.sticky or "header:").partition(":")
    known = [column.name for column in challenger.contract.features]
    if kind == "field" and name not in known:
        raise InputError(
            f"The traffic plan sticks to the field {name!r}, which the model does not have; it "
            f"has: {', '.join(known)}."
        )


def _said(name: str, plan: TrafficPlan) -> str:
    if plan.mode == "shadow":
        return f"Version {plan.challenger} of {name!r} scores in the shadow of the champion"
    return (
        f"Version {plan.challenger} of {name!r} answers {plan.percent:g} % of the requests "
        f"({plan.mode})"
    )
