"""Plans for a challenger's traffic, and what is said of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from pydantic import ValidationError

from evergreen.promotion.traffic import initial_plan, make_plan, next_step, same_wish
from evergreen.promotion.traffic_wording import described, waiting_message
from evergreen.serving.traffic import CanaryConfig, TrafficConfig, TrafficPlan

NOW = datetime(2026, 5, 1, tzinfo=UTC)
CONFIG = TrafficConfig(challenger="split", percent=20)


def test_plans_are_as_configured():
    split = make_plan("split", CONFIG, "2", "ada", now=NOW)
    assert (split.challenger, split.percent, split.sticky) == ("2", 20, "header:x-client-id")
    assert (split.since, split.who, split.canary) == (NOW, "ada", None)
    assert make_plan("split", CONFIG, "2", "ada", 35).percent == 35
    assert make_plan("shadow", CONFIG, "2", "ada").percent == 0
    canary = make_plan("canary", CONFIG, "2", "ada")
    assert (canary.percent, canary.canary) == (5, CONFIG.canary)
    assert canary.salt != split.salt  # another plan draws other callers


def test_a_plan_survives_being_written_down():
    plan = make_plan("canary", CONFIG, "2", "ada")
    assert TrafficPlan.model_validate_json(plan.model_dump_json()) == plan


def test_a_canary_climbs_with_the_same_callers_and_ends():
    plan = make_plan("canary", CONFIG, "2", "ada", now=NOW)
    later = NOW + timedelta(hours=1)
    second = next_step(plan, later)
    assert (second.step, second.percent, second.since) == (1, 25, later)
    assert second.salt == plan.salt
    third = next_step(second, later)
    assert third.percent == 50
    assert next_step(third, later) is None
    assert next_step(make_plan("split", CONFIG, "2", "ada"), later) is None


def test_what_asks_for_the_same():
    plan = make_plan("canary", CONFIG, "2", "ada")
    assert same_wish(next_step(plan, NOW), make_plan("canary", CONFIG, "2", "bob"))
    assert not same_wish(plan, make_plan("canary", CONFIG, "3", "ada"))
    assert not same_wish(plan, make_plan("shadow", CONFIG, "2", "ada"))
    split = make_plan("split", CONFIG, "2", "ada")
    assert not same_wish(split, make_plan("split", CONFIG, "2", "ada", 21))
    other = CONFIG.model_copy(update={"sticky": None})
    assert not same_wish(split, make_plan("split", other, "2", "ada"))


def test_the_plan_of_a_version_that_passed_the_gate():
    assert initial_plan("manual", TrafficConfig(), "2", "ada", None) is None
    assert initial_plan("manual", CONFIG, "2", "ada", None).mode == "split"
    assert initial_plan("canary", TrafficConfig(), "2", "ada", None).mode == "canary"
    under_way = next_step(make_plan("canary", CONFIG, "2", "ada"), NOW)
    assert initial_plan("canary", CONFIG, "2", "bob", under_way) == under_way
    assert initial_plan("canary", CONFIG, "3", "bob", under_way).step == 0


def test_a_canary_may_not_take_everything():
    with pytest.raises(ValidationError, match="to below 100"):
        CanaryConfig(steps=(50, 100))


def test_plans_in_words():
    canary = make_plan("canary", CONFIG, "2", "ada")
    ramps = "version 2 of 'wine' ramps as a canary: 5 %, 25 %, 50 %, then champion"
    assert described("wine", canary) == f"{ramps}."
    assert described("wine", next_step(canary, NOW)) == f"{ramps}; it is at 25 %."
    split = described("wine", make_plan("split", CONFIG, "2", "ada"))
    assert split == "version 2 of 'wine' answers 20 % of the requests, by the header 'x-client-id'."
    assert "answers none" in described("wine", make_plan("shadow", CONFIG, "2", "ada"))
    message = waiting_message("wine", "2", canary)
    assert "ramps as a canary: 5 %, 25 %, 50 %, then champion" in message
    assert "--approve wine" in message
    assert "shadowing" in waiting_message("wine", "2", make_plan("shadow", CONFIG, "2", "ada"))
