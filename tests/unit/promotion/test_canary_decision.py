"""A canary's decisions: each guardrail fires where it must, and hardly ever where it must not."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest

from evergreen.promotion.canary_decision import FIRST_LOOK, Arm, decide
from evergreen.serving.traffic import CanaryConfig, Guardrails

CONFIG = CanaryConfig()
LONG = timedelta(hours=1)
ALIKE = (0.5, 0.3, 0.2)


def arm(seed, rows, *, fail=0.0, slow=1.0, labels=ALIKE):
    """Requests in the order of their times; the latencies are log-normal, in milliseconds."""
    rng = np.random.default_rng(seed)
    failed = rng.random(rows) < fail
    codes = rng.choice(len(labels), rows, p=labels).astype(np.int64)
    return Arm(
        times=np.sort(rng.random(rows)),
        failed=failed,
        latencies=np.where(failed, np.nan, slow * rng.lognormal(0, 0.5, rows)),
        codes=np.where(failed, -1, codes),
        kinds=len(labels),
    )


def numbers(seed, rows, *, shift=0.0):
    rng = np.random.default_rng(seed)
    return Arm(
        times=np.sort(rng.random(rows)),
        failed=np.zeros(rows, dtype=bool),
        latencies=rng.lognormal(0, 0.5, rows),
        numbers=rng.normal(shift, 1, rows),
    )


def judged(challenger, champion=None, *, step=0, held=LONG, config=CONFIG):
    champion = arm(99, 3000) if champion is None else champion
    return decide(config, step, held, champion, challenger)


def test_a_challenger_like_the_champion_steps_up_and_is_promoted_last():
    found = judged(arm(1, 400))
    assert (found.action, found.cause) == ("step", "passed")
    assert found.reasons[0] == "the challenger had 400 requests, the champion 3,000 requests"
    assert judged(arm(1, 400), step=1).action == "step"
    assert judged(arm(1, 400), step=2).action == "promote"


@pytest.mark.parametrize(
    ("challenger", "champion", "guardrail", "words"),
    [
        (arm(1, 400, fail=0.1), None, "error_rate", "failures: the challenger failed"),
        (arm(1, 400, slow=5), None, "latency_ratio", "times as long, surely"),
        (arm(1, 400, labels=(0.05, 0.05, 0.9)), None, "prediction_shift", "total variation"),
        (numbers(1, 400, shift=1.5), numbers(2, 3000), "prediction_shift", "Kolmogorov-Smirnov"),
    ],
    ids=["failures", "latency", "labels", "numbers"],
)
def test_each_guardrail_fires_alone(challenger, champion, guardrail, words):
    found = judged(challenger, champion)
    assert (found.action, found.cause) == ("roll_back", "guardrail")
    assert [each.name for each in found.guardrails if each.exceeded] == [guardrail]
    assert len(found.reasons) == 1
    assert words in found.reasons[0]


@pytest.mark.parametrize(
    ("challenger", "champion"),
    [
        (arm(1, 400, fail=0.005), None),
        (arm(1, 400, slow=1.5), None),
        (arm(1, 400, labels=(0.42, 0.34, 0.24)), None),
        (numbers(1, 400, shift=0.2), numbers(2, 3000)),
    ],
    ids=["failures", "latency", "labels", "numbers"],
)
def test_no_guardrail_fires_within_its_limit(challenger, champion):
    found = judged(challenger, champion)
    assert not any(each.exceeded for each in found.guardrails)
    assert found.action == "step"


def test_a_broken_challenger_goes_back_after_a_few_requests_and_at_once():
    found = judged(arm(1, FIRST_LOOK, fail=1.0), arm(2, 380), held=timedelta(seconds=2))
    assert found.action == "roll_back"
    assert "failed 20 of 20 requests (100.0%)" in found.reasons[0]


def test_beyond_the_limit_but_not_surely_holds():
    found = judged(arm(3, 200, fail=0.03))
    assert (found.action, found.cause) == ("hold", "unsure")
    assert "more requests will tell" in found.reasons[0]


def test_too_early_and_too_few_hold():
    early = judged(arm(1, 400), held=timedelta(minutes=4))
    assert (early.action, early.cause) == ("hold", "time")
    assert early.reasons == ("the step takes 10 min, and began 4 min ago",)
    few = judged(arm(1, 199))
    assert (few.action, few.cause) == ("hold", "rows")
    assert judged(arm(1, 400), arm(2, 199)).cause == "rows"


def test_no_requests_hold_however_long():
    found = judged(arm(1, 0), held=timedelta(days=30))
    assert (found.action, found.cause) == ("hold", "rows")
    assert "do servers run" in found.reasons[0]
    assert judged(arm(1, 400), arm(2, 0), held=timedelta(days=30)).action == "hold"


def test_what_is_not_measured_holds():
    some = arm(1, 400)
    unknown = Arm(some.times, some.failed, np.full(400, np.nan), some.codes, kinds=3)
    found = judged(unknown)
    assert (found.action, found.cause) == ("hold", "unmeasurable")
    assert found.reasons == ("latency: it is not known of both, so they cannot be compared",)


def test_a_champion_that_fails_as_often_is_no_reason():
    found = judged(arm(1, 1000, fail=0.1), arm(2, 3000, fail=0.1))
    assert not any(each.exceeded for each in found.guardrails)


def test_looking_again_at_the_same_requests_changes_nothing():
    """A look is at fixed requests: those after it have no say, however often one looks."""
    champion, challenger = arm(1, 2000), arm(2, 300, fail=0.08)
    whole = decide(CONFIG, 0, LONG, champion, challenger)
    moment = float(challenger.times[159])  # the fourth look
    then = decide(CONFIG, 0, LONG, champion.until(moment), challenger.until(moment))
    assert whole.guardrails[0].surely == then.guardrails[0].surely


def false_alarms(config, runs, **truth):
    """Share of canaries at the very limit that are sent back within four looks."""
    sent_back = 0
    for seed in range(runs):
        champion, challenger = arm(2 * seed, 1600), arm(2 * seed + 1, 160, **truth)
        found = decide(config, 0, LONG, champion, challenger)
        sent_back += found.action == "roll_back"
    return sent_back / runs


@pytest.mark.parametrize(
    "truth",
    [{}, {"fail": 0.05}, {"slow": 2.0}, {"labels": (0.3, 0.3, 0.4)}],
    ids=["alike", "failures", "latency", "labels"],
)
def test_false_alarms_stay_below_what_is_promised(truth):
    """Even at the limits themselves; with a confidence of only 0.8, so that there are some."""
    rails = Guardrails(error_rate=0.05, confidence=0.8)
    config = CanaryConfig(steps=(10,), guardrails=rails)
    # 60 canaries at a chance of 0.2: 20 or more would come about once in 300 times.
    assert false_alarms(config, 60, **truth) < 20 / 60
