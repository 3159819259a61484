"""The parts of a date, as expressions: one definition for NumPy and for any other runtime.

A moment is split into ``day``, the whole days since 1970-01-01, and ``time``, the microseconds
since that day began; both are exact as float64. The calendar is the proleptic Gregorian one, by
the arithmetic of H. Hinnant, chrono-Compatible Low-Level Date Algorithms (2021): years begin in
March, so that a leap day is a year's last.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from evergreen.expressions import Expression, parse_derived

MICROSECONDS_PER_DAY: Final = 86_400_000_000

# Names with an underscore in front only serve the others.
_CALENDAR: Final = {
    "_era": "floor((day + 719468) / 146097)",  # 400 years each, counted from 0000-03-01
    "_day_of_era": "day + 719468 - 146097 * _era",
    "_year_of_era": (
        "floor((_day_of_era - floor(_day_of_era / 1460) + floor(_day_of_era / 36524)"
        " - floor(_day_of_era / 146096)) / 365)"
    ),
    "_day_of_march_year": (
        "_day_of_era - (365 * _year_of_era + floor(_year_of_era / 4) - floor(_year_of_era / 100))"
    ),
    "_march_month": "floor((5 * _day_of_march_year + 2) / 153)",  # March is 0
    "_leap": "year % 4 == 0 and year % 100 != 0 or year % 400 == 0",
    "year": "_year_of_era + 400 * _era + (_march_month >= 10)",
    "month": "_march_month - 9 if _march_month >= 10 else _march_month + 3",
    "day_of_month": "_day_of_march_year - floor((153 * _march_month + 2) / 5) + 1",
    "day_of_year": (
        "_day_of_march_year - 305 if _march_month >= 10 else _day_of_march_year + 60 + _leap"
    ),
    "weekday": "(day + 3) % 7",  # 1970-01-01 was a Thursday; Monday is 0
    "hour": "floor(time / 3600000000)",
    "epoch_days": "day + time / 86400000000",
}
# ``day`` is the input; as a part it is the day of the month.
_NAMES: Final = {"day": "day_of_month"}


def date_parts(parts: Iterable[str]) -> Mapping[str, Expression]:
    """Return the expressions that these parts need, each after those that it reads.

    The key of a part is given by `part_key`. The inputs are ``day`` and ``time``.
    """
    every = _calendar()
    needed = {part_key(part) for part in parts}
    for name in reversed(list(every)):
        if name in needed:
            needed.update(every[name].columns)
    return {name: expression for name, expression in every.items() if name in needed}


def part_key(part: str) -> str:
    """Return the name under which `date_parts` gives a part."""
    return _NAMES.get(part, part)


def split_moments(moments: npt.NDArray[Any]) -> dict[str, npt.NDArray[np.float64]]:
    """Split datetime64 values into ``day`` and ``time``; a missing one gives NaN in both."""
    moments = moments.astype("datetime64[us]")
    days, time = np.divmod(moments.view(np.int64), MICROSECONDS_PER_DAY)
    missing = np.isnat(moments)
    return {"day": np.where(missing, np.nan, days), "time": np.where(missing, np.nan, time)}


@cache
def _calendar() -> Mapping[str, Expression]:
    return MappingProxyType(parse_derived(_CALENDAR, ("day", "time")))
