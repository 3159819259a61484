"""Spans and cron expressions: when the next turns begin, and what is said of bad ones."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from evergreen.errors import InputError
from evergreen.schedule import cron_trigger, interval_trigger, weekdays
from pipelines.options import parse
from pipelines.scheduling import in_words, without_schedule

SUNDAY = datetime(2027, 3, 7, 12, 5, tzinfo=UTC)


def moments(trigger, number=3, start=SUNDAY):
    """The first turns after a moment."""
    found, now = [], start
    for _ in range(number):
        now = trigger.get_next_fire_time(found[-1] if found else None, now)
        found.append(now)
        now += timedelta(seconds=1)
    return [f"{each:%a %d %H:%M}" for each in found]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0 */6 * * *", ["Sun 07 18:00", "Mon 08 00:00", "Mon 08 06:00"]),
        ("30 2 * * mon-fri", ["Mon 08 02:30", "Tue 09 02:30", "Wed 10 02:30"]),
        ("30 2 * * 1-5", ["Mon 08 02:30", "Tue 09 02:30", "Wed 10 02:30"]),
        ("0 0 * * 0", ["Sun 14 00:00", "Sun 21 00:00", "Sun 28 00:00"]),
        ("0 0 * * 7", ["Sun 14 00:00", "Sun 21 00:00", "Sun 28 00:00"]),
        ("15,45 13 * * *", ["Sun 07 13:15", "Sun 07 13:45", "Mon 08 13:15"]),
        ("0 0 1 * *", ["Thu 01 00:00", "Sat 01 00:00", "Tue 01 00:00"]),
    ],
)
def test_turns_come_when_cron_would_begin_them(text, expected):
    assert moments(cron_trigger(text)) == expected


@pytest.mark.parametrize(
    ("field", "days"),
    [
        ("*", "*"),
        ("0", "sun"),
        ("5-7", "fri,sat,sun"),
        ("sat-mon", "sat,sun,mon"),
        ("*/2", "sun,tue,thu,sat"),
        ("1-5/2", "mon,wed,fri"),
        ("0,7,sun", "sun"),
    ],
)
def test_days_of_the_week_are_numbered_as_cron_does(field, days):
    assert weekdays(field) == days


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "0 fields"),
        ("0 6 * *", "4 fields"),
        ("0 0 6 * * *", "6 fields"),
        ("60 * * * *", "60"),
        ("* 24 * * *", "24"),
        ("x * * * *", "x"),
        ("* * * * 8", "'8' is no day of the week"),
        ("* * * * mun", "'mun' is no day of the week"),
        ("0 0 30 2 *", "no such day ever comes"),
        ("0 0 1 * mon", "not both"),
        ("*/0 * * * *", "0"),
    ],
)
def test_a_bad_cron_expression_gets_one_message(text, why):
    with pytest.raises(InputError, match="is no cron expression") as found:
        cron_trigger(text)
    assert why in str(found.value)
    assert "0 */6 * * *" in str(found.value)  # how one is written


def test_a_span_says_how_often():
    trigger = interval_trigger("15m")
    first = trigger.get_next_fire_time(None, datetime.now(UTC))
    assert trigger.get_next_fire_time(first, first) - first == timedelta(minutes=15)


@pytest.mark.parametrize("text", ["", "15", "15 minutes", "-5m", "0s", "1.5h", "m", "inf"])
def test_a_bad_span_gets_one_message(text):
    with pytest.raises(InputError, match=r"--every .* is no time span"):
        interval_trigger(text)


@pytest.mark.parametrize(
    "words",
    [
        ["--every", "15m", "--pipeline", "continuous", "--set", "a=b"],
        ["--pipeline", "continuous", "--every=15m", "--set", "a=b"],
        ["--pipeline", "continuous", "--set", "a=b", "--schedule", "0 */6 * * *"],
    ],
)
def test_a_turn_is_the_same_command_without_its_schedule(words):
    assert without_schedule(words) == ["--pipeline", "continuous", "--set", "a=b"]
    parse(words)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--pipeline", "train", "--every", "15m"], "--every goes with --pipeline monitor or"),
        (["--guard", "--schedule", "* * * * *"], "--schedule goes with --pipeline monitor or"),
        (["--pipeline", "continuous", "--every", "1h", "--schedule", "x"], "not allowed with"),
        (["--pipeline", "continuous", "--window", "log"], "--window goes with --pipeline monitor"),
    ],
)
def test_what_does_not_go_together_is_refused(words, why):
    with pytest.raises(InputError, match=why):
        parse(words)


def test_spans_are_told_in_two_units():
    assert in_words(timedelta(hours=5, minutes=59, seconds=58)) == "5 h 59 min"
    assert in_words(timedelta(seconds=45)) == "45 s"
    assert in_words(timedelta(0)) == "0 s"
