"""When turns of the loop begin: every so often, or by a cron expression (POSIX crontab), in UTC."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger

from evergreen.durations import read_span
from evergreen.errors import InputError

FIELDS: Final = ("minute", "hour", "day of the month", "month", "day of the week")
DAYS: Final = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")  # as cron numbers them
_PART: Final = re.compile(r"(\*|([0-7]|[a-z]{3})(?:-([0-7]|[a-z]{3}))?)(?:/([1-9][0-9]?))?")


def interval_trigger(text: str) -> BaseTrigger:
    """Return when turns begin for a span such as ``15m``: every so often from now on.

    Raises
    ------
    InputError
        If it is no time span.
    """
    span: timedelta = read_span(text, "--every")
    return IntervalTrigger(seconds=int(span.total_seconds()), timezone=UTC)


def cron_trigger(text: str, option: str = "--schedule") -> BaseTrigger:
    """Return when turns begin for a cron expression of five fields, in UTC.

    Raises
    ------
    InputError
        If it is none, never comes, or gives both days of the month and of the week, which cron
        joins by `or` and nobody expects.
    """
    fields = text.lower().split()
    if len(fields) != len(FIELDS):
        raise _unreadable(
            option, text, f"it has {len(fields)} fields, not five ({', '.join(FIELDS)})"
        )
    minute, hour, day, month, weekday = fields
    if day != "*" and weekday != "*":
        raise _unreadable(option, text, "give days of the month or days of the week, not both")
    try:
        trigger: BaseTrigger = CronTrigger(
            minute=minute,
            hour=hour,
            day=day,
            month=month,
            day_of_week=weekdays(weekday),
            timezone=UTC,
        )
    except ValueError as error:
        raise _unreadable(option, text, str(error)) from error
    if trigger.get_next_fire_time(None, datetime.now(UTC)) is None:
        raise _unreadable(option, text, "no such day ever comes")
    return trigger


def named_days(text: str) -> str:
    """Return a readable cron expression with the days of the week as names, one by one.

    Kubernetes knows no day 7.
    """
    *others, weekday = text.lower().split()
    return " ".join([*others, weekdays(weekday)])


def weekdays(field: str) -> str:
    """Return cron's days of the week, where 0 and 7 are Sunday, by their names.

    Raises
    ------
    ValueError
        If they cannot be read.
    """
    if field == "*":
        return field
    found: list[str] = []
    for part in field.split(","):
        read = _PART.fullmatch(part)
        if read is None:
            raise ValueError(f"{part!r} is no day of the week: 0 to 7, or sun to sat")
        if read[1] == "*":
            first, last = 0, 6
        else:
            first = _day(read[2])
            last = _day(read[3]) if read[3] else 6 if read[4] else first
        if last < first:
            last += 7
        found += [DAYS[number % 7] for number in range(first, last + 1, int(read[4] or 1))]
    return ",".join(dict.fromkeys(found))


def _day(text: str) -> int:
    if text.isdigit():
        return int(text)
    if text in DAYS:
        return DAYS.index(text)
    raise ValueError(f"{text!r} is no day of the week: 0 to 7, or sun to sat")


def _unreadable(option: str, text: str, why: str) -> InputError:
    return InputError(
        f"{option} {text!r} is no cron expression: {why}. Write five fields, such as "
        '"0 */6 * * *" for every six hours or "30 2 * * mon-fri" for working days at 02:30 UTC.'
    )
