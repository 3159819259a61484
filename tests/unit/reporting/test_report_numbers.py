from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evergreen.reporting import numbers
from evergreen.training.results import Interval


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.97223, "0.972"),
        (12345.6, "12,346"),
        (53.6213, "53.6"),
        (1.0, "1.00"),
        (0.0, "0"),
        (-0.5, "−0.500"),
        (1e-9, "1.00 × 10⁻⁹"),
        (2.5e14, "2.50 × 10¹⁴"),
        (None, "not measurable"),
        (float("nan"), "not measurable"),
        (float("inf"), "not measurable"),
    ],
)
def test_number(value, text):
    assert numbers.number(value) == text


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_a_number_never_reads_nan_and_never_shows_a_negative_zero(value):
    text = numbers.number(value)
    assert "nan" not in text and "inf" not in text and "-" not in text
    assert not (text.startswith("−") and not text.strip("−0.,"))


@given(st.floats(1e-6, 1e9))
def test_a_number_keeps_three_significant_digits(value):
    read = float(numbers.number(value).replace(",", "").replace(" × 10⁻", "e-").translate(DIGITS))
    assert abs(read - value) <= 0.00501 * value


DIGITS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789")


def test_bounds_share_the_decimals_of_their_estimate():
    value = Interval(estimate=0.97223, low=0.9, high=1.0)
    assert numbers.interval(value) == "0.972 (0.900 to 1.000)"
    assert numbers.estimate_and_bounds(value) == ("0.972", "0.900 to 1.000")


def test_a_difference_near_zero_is_rounded_by_its_width():
    value = Interval(estimate=0.0001, low=-0.1, high=0.1)
    assert numbers.interval(value) == "0.000 (−0.100 to 0.100)"


def test_an_estimate_without_bounds_says_so():
    assert numbers.interval(Interval(estimate=1.0, low=None, high=None)) == "1.00 (no interval)"


@pytest.mark.parametrize("estimate", [None, float("nan")])
def test_an_unmeasured_interval_says_so(estimate):
    value = Interval(estimate=estimate, low=None, high=None)
    assert numbers.interval(value) == "not measurable"
    assert numbers.interval(None) == "not measurable"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0%"),
        (1.0, "100%"),
        (0.5, "50%"),
        (0.9999, ">99.9%"),
        (0.0001, "<0.1%"),
        (0.275, "27.5%"),
        (None, "not measurable"),
    ],
)
def test_share(value, text):
    assert numbers.share(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.034, "0.034 s"), (3.33, "3.3 s"), (59.4, "59 s"), (75, "1 min 15 s"), (7800, "2 h 10 min")],
)
def test_seconds(value, text):
    assert numbers.seconds(value) == text


def test_a_moment_is_told_in_utc():
    east = datetime(2026, 3, 7, 1, 3, tzinfo=timezone(timedelta(hours=2)))
    assert numbers.moment(east) == "6 March 2026, 23:03 UTC"
    assert numbers.moment(datetime(2026, 3, 7, 14, 3, tzinfo=UTC)) == "7 March 2026, 14:03 UTC"
    assert numbers.moment(None) == "not recorded"


def test_small_words():
    assert numbers.plural(1, "row") == "1 row"
    assert numbers.plural(12000, "class", "classes") == "12,000 classes"
    assert numbers.correlation(-0.414) == "−0.41"
    assert numbers.plain(30.0) == "30"
    assert numbers.plain(1680.0) == "1,680"
    assert numbers.with_deviation(0.107, 0.0744) == "0.107 ± 0.074"
    assert numbers.parameters({"a": 0.1, "b": None, "c": True}) == "a = 0.1, b = none, c = True"
    assert numbers.parameters({}) == "defaults"


def test_a_listing_tells_how_many_it_leaves_out():
    assert numbers.listing([]) == ""
    assert numbers.listing(["a"]) == "a"
    assert numbers.listing("abc") == "a, b and c"
    assert numbers.listing("abcdefgh", 4) == "a, b, c and 5 more"


@given(st.text(max_size=80), st.integers(4, 60))
def test_a_shortened_name_fits_and_a_short_one_stays(text, length):
    short = numbers.shorten(text, length)
    assert len(short) <= length
    assert short == text or "…" in short
