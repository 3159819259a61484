"""The arms of a server, champion and challenger, and which of them answers a caller.

The choice depends on the plan and on the caller alone, so that all workers and servers of a model
decide alike without asking each other. A caller has a fixed place in [0, 100); the challenger
answers those whose place is below the plan's percent. Raising the percent therefore never moves a
caller from the challenger back to the champion.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from evergreen.serving.holder import Served
    from evergreen.serving.traffic import TrafficPlan

# What the prediction log's column ``arm`` may hold.
CHAMPION: Final = "champion"
CHALLENGER: Final = "challenger"
SHADOW: Final = "shadow"  # was logged, never answered
CHALLENGER_FAILED: Final = "challenger_failed"  # the flag of a champion's row that stood in

_BITS: Final = 48  # few enough that every place below 100 is a float below 100


def place(salt: str, caller: bytes) -> float:
    """Return a caller's place in [0, 100): evenly spread over callers, fixed for each.

    The hash is BLAKE2b (RFC 7693). Another ``salt`` gives everybody another place.
    """
    digest = blake2b(salt.encode() + b"\0" + caller, digest_size=_BITS // 8).digest()
    return int.from_bytes(digest, "big") * (100 / 2**_BITS)


@dataclass(frozen=True)
class Arms:
    """What answers at one moment, exchanged as a whole.

    ``challenger`` and ``plan`` are both there or both None. ``alone`` is what the prediction log
    calls an arm that answers without the other: the champion, or a challenger asked for by number.
    """

    champion: Served
    challenger: Served | None = None
    plan: TrafficPlan | None = None
    alone: str = CHAMPION
    _header: bytes | None = field(init=False, default=None, repr=False)
    _field: str | None = field(init=False, default=None, repr=False)

    def __post_init__(self) -> None:
        if (self.challenger is None) != (self.plan is None):
            raise ValueError("a challenger needs a plan, and a plan a challenger")
        if self.plan is not None and self.plan.sticky is not None:
            kind, name = self.plan.sticky.split(":", 1)
            if kind == "header":
                object.__setattr__(self, "_header", name.lower().encode("ascii"))
            else:
                object.__setattr__(self, "_field", name)

    @property
    def shadowing(self) -> bool:
        """Whether the challenger scores beside the champion and answers nobody."""
        return self.plan is not None and self.plan.mode == "shadow"

    @property
    def percent(self) -> float:
        """The share of requests that the challenger answers."""
        return 0.0 if self.plan is None or self.shadowing else self.plan.percent

    def named(self, version: str) -> Arms | None:
        """Return the arm of a version alone; None where no answer comes from it."""
        if self.champion.version == version:
            return Arms(self.champion)
        if self.challenger is None or self.challenger.version != version or self.shadowing:
            return None
        return Arms(self.challenger, alone=CHALLENGER)

    def arm(self, served: Served) -> str:
        """Return what the prediction log calls the arm that answered."""
        return CHALLENGER if served is self.challenger else self.alone

    def choose(
        self, headers: Mapping[bytes, bytes], inputs: Mapping[str, Any], request_id: str
    ) -> Served:
        """Return what answers a request.

        Parameters
        ----------
        headers
            The request's, by lower-case name.
        inputs
            What was read, an array per field; of several rows the first one counts.
        request_id
            Decides for requests without what the plan sticks to.
        """
        if self.challenger is None or self.plan is None or self.shadowing:
            return self.champion
        caller = self._caller(headers, inputs) or request_id.encode()
        chosen = place(self.plan.salt, caller) < self.plan.percent
        return self.challenger if chosen else self.champion

    def _caller(self, headers: Mapping[bytes, bytes], inputs: Mapping[str, Any]) -> bytes | None:
        if self._header is not None:
            return headers.get(self._header)
        values = None if self._field is None else inputs.get(self._field)
        if values is None or not len(values):
            return None
        value = values[0]
        if value is None or value != value:  # noqa: PLR0124  (NaN and NaT differ from themselves)
            return None
        return str(value).encode("utf-8", "surrogatepass")
