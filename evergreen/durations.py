"""Spans of time as they are written: 90d, 6h, 30m, 45s."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, TypeAdapter, ValidationError

from evergreen.errors import InputError

DURATION = re.compile(r"([0-9]{1,9})\s*([smhdw])")


def _duration(value: Any) -> Any:
    """Read ``90d``, ``6h``, ``30m`` or ``45s`` as a time span; leave the rest to Pydantic."""
    units = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
    if isinstance(value, int | float):
        raise ValueError("needs a unit, such as 90d, 6h, 30m or 45s")  # noqa: TRY004  (Pydantic)
    if isinstance(value, str) and (written := DURATION.fullmatch(value)):
        try:
            return timedelta(**{units[written[2]]: int(written[1])})
        except OverflowError:
            raise ValueError("is longer than a calendar can hold") from None
    return value


def _positive_duration(value: timedelta) -> timedelta:
    if value <= timedelta(0):
        raise ValueError("must be longer than nothing, such as 90d, 6h, 30m or 45s")
    return value


Duration = Annotated[
    timedelta,
    BeforeValidator(
        _duration,
        json_schema_input_type=Annotated[
            str, Field(pattern=f"^{DURATION.pattern}$", examples=["90d", "6h", "30m", "45s"])
        ],
    ),
    AfterValidator(_positive_duration),
]


def read_span(text: str, option: str) -> timedelta:
    """Read the time span that an option of the command line gives.

    Raises
    ------
    InputError
        If it is none.
    """
    try:
        return TypeAdapter(Duration).validate_python(text)
    except ValidationError as error:
        raise InputError(
            f"{option} {text!r} is no time span; write a number and a unit, such as 90d, 6h, 30m "
            "or 45s."
        ) from error
