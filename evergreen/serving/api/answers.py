"""What the API answers; the documentation is made from the same types."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

Scalar = str | int | float | bool


class ClassAnswer(msgspec.Struct, gc=False, kw_only=True):
    """A predicted class."""

    prediction: Scalar  # the class, in its own type
    label: str  # the class as text
    probabilities: dict[str, float] | None
    flags: Sequence[str]
    model: str
    model_version: str | None
    request_id: str


class NumberAnswer(msgspec.Struct, gc=False, kw_only=True):
    """A predicted number; the interval is null where the model has none."""

    prediction: float
    interval: Sequence[float] | None
    flags: Sequence[str]
    model: str
    model_version: str | None
    request_id: str


class ClassRow(msgspec.Struct, gc=False, kw_only=True):
    """A predicted class, one of many."""

    row: int
    prediction: Scalar
    label: str
    probabilities: dict[str, float] | None
    flags: Sequence[str] = ()


class NumberRow(msgspec.Struct, gc=False, kw_only=True):
    """A predicted number, one of many."""

    row: int
    prediction: float
    interval: Sequence[float] | None
    flags: Sequence[str] = ()


class Contribution(msgspec.Struct, gc=False):
    """What one field did to the prediction: SHAP values, one per output."""

    field: str
    value: Any
    contributions: Sequence[float]


class Explanation(msgspec.Struct, kw_only=True):
    """The SHAP values of one row, the greatest first.

    ``outputs`` names what the values belong to: the second class of two, every class of more, or
    the target of a regression.
    """

    prediction: Scalar
    outputs: Sequence[str]
    fields: Sequence[Contribution]
    model: str
    model_version: str | None


class FeedbackReceipt(msgspec.Struct):
    """How many true labels were taken."""

    accepted: int


class Health(msgspec.Struct, kw_only=True):
    """How the server is. ``status`` is ok, degraded (it answers, but …) or unavailable."""

    status: str
    model: str | None
    model_version: str | None
    problems: Sequence[str]
