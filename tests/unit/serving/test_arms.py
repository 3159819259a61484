"""Which arm answers: evenly drawn, the same for the same caller, never back as the share grows."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evergreen.serving.arms import Arms, place
from tests.support.arms import plan_of

CHAMPION = SimpleNamespace(version="3")
CHALLENGER = SimpleNamespace(version="4")
percents = st.floats(0, 100)
callers = st.binary(min_size=1, max_size=40)
salts = st.text(max_size=20)


def arms(**changed):
    return Arms(CHAMPION, CHALLENGER, plan_of(**changed))


def answers(found, caller=None, inputs=None, request_id="r1"):
    headers = {b"accept": b"*/*", **({} if caller is None else {b"x-client-id": caller})}
    return found.choose(headers, inputs or {}, request_id).version


@settings(deadline=None)
@given(percent=percents, salt=salts)
def test_the_share_is_as_stated(percent, salt):
    callers = 2000
    chosen = sum(place(salt, b"caller-%d" % number) < percent for number in range(callers))
    share = percent / 100
    # Six standard deviations of a binomial distribution, and one caller for the tails.
    assert abs(chosen - callers * share) <= 6 * math.sqrt(callers * share * (1 - share)) + 1


@settings(deadline=None)
@given(caller=callers, salt=salts)
def test_a_place_is_below_100(caller, salt):
    assert 0 <= place(salt, caller) < 100
    assert place(salt, caller) == place(salt, caller)


@settings(deadline=None)
@given(caller=callers, salt=salts, low=percents, high=percents)
def test_raising_the_percent_never_moves_a_caller_back(caller, salt, low, high):
    low, high = sorted((low, high))
    before = answers(arms(percent=low, salt=salt), caller)
    after = answers(arms(percent=high, salt=salt), caller)
    assert (before, after) != ("4", "3")


@settings(deadline=None)
@given(caller=callers, percent=percents, one=st.text(min_size=1), other=st.text(min_size=1))
def test_a_caller_stays_with_one_arm(caller, percent, one, other):
    found = arms(percent=percent)
    assert answers(found, caller, request_id=one) == answers(found, caller, request_id=other)


def test_nothing_and_everything():
    for number in range(200):
        assert answers(arms(percent=0), b"%d" % number) == "3"
        assert answers(arms(percent=100), b"%d" % number) == "4"
        assert answers(arms(mode="shadow"), b"%d" % number) == "3"
        assert answers(Arms(CHAMPION), b"%d" % number) == "3"


def test_another_salt_draws_other_callers():
    first = {n for n in range(1000) if place("first", b"%d" % n) < 10}
    second = {n for n in range(1000) if place("second", b"%d" % n) < 10}
    assert len(first & second) < 40  # 10 are to be expected by chance


@pytest.mark.parametrize("sticky", ["header:X-Client-Id", None, "field:crew"])
def test_without_what_it_sticks_to_requests_are_split_one_by_one(sticky):
    found = arms(sticky=sticky)
    inputs = {"crew": np.array([math.nan])}
    seen = {answers(found, inputs=inputs, request_id=f"r{number}") for number in range(100)}
    assert seen == {"3", "4"}


def test_the_header_decides_whatever_its_case():
    found = arms(sticky="header:X-Client-Id")
    seen = [answers(found, b"ada", request_id=f"r{number}") for number in range(50)]
    assert len(set(seen)) == 1


@pytest.mark.parametrize(
    "values",
    [
        np.array([4.0, 5.0]),
        np.array(["Åbo", None], dtype=object),
        np.array(["1999-03-01T12:30"], dtype="datetime64[us]"),
        np.array(["\ud800"], dtype=object),
    ],
)
def test_a_field_decides_by_the_first_row(values):
    found = arms(sticky="field:one")
    versions = {
        answers(found, inputs={"one": values}, request_id=f"r{number}") for number in range(50)
    }
    assert len(versions) == 1


@pytest.mark.parametrize("missing", [None, np.datetime64("NaT", "us"), math.nan])
def test_a_missing_value_decides_nothing(missing):
    values = np.array([missing], dtype=object if missing is None else None)
    found = arms(sticky="field:one")
    seen = {answers(found, inputs={"one": values}, request_id=f"r{n}") for n in range(100)}
    assert seen == {"3", "4"}


def test_a_version_can_be_asked_for_by_its_number():
    found = arms(percent=1)
    assert found.named("3").champion is CHAMPION
    alone = found.named("4")
    assert alone.champion is CHALLENGER
    assert (alone.arm(CHALLENGER), found.arm(CHALLENGER)) == ("challenger", "challenger")
    assert found.arm(CHAMPION) == "champion"
    assert found.named("5") is None
    assert arms(mode="shadow").named("4") is None  # its answers go nowhere
    assert Arms(CHAMPION).named("4") is None


def test_a_challenger_needs_a_plan():
    with pytest.raises(ValueError, match="a challenger needs a plan"):
        Arms(CHAMPION, CHALLENGER)
    with pytest.raises(ValueError, match="a challenger needs a plan"):
        Arms(CHAMPION, plan=plan_of())
